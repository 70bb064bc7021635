"""Safe reading of weight files."""
