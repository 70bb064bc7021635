"""One direction."""
