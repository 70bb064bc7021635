"""Verifications: trainings with a repair and without, compared."""
