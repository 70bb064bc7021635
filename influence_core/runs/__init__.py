"""Finished runs: their tables, and explanations of single predictions by their model."""
