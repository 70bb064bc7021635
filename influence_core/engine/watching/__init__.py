"""Watching: which operation of a model uses which parameter, and which axis counts samples."""
