"""Perturbed."""
