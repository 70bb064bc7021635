"""Readings: from factors to norms, products and sketches."""
