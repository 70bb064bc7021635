"""The command `influence`."""
