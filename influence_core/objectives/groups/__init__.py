"""Objectives that compare groups of held-out samples."""
