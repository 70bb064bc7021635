"""What was decided, in files other tools read."""
