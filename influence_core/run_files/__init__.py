"""A run folder on disk: made, sealed, listed, its progress, its tables."""
