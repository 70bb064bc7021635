"""Analyses: from a model and its data to a run folder."""
