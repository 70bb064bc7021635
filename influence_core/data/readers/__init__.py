"""Readers of datasets, one per format."""
