"""Objectives on attacked or corrupted held-out samples."""
