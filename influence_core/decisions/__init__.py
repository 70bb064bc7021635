"""What people decided: the append-only log."""
