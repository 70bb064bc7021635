"""Influence beyond one sweep: ensembles, layer-aware influence, the worst class."""
