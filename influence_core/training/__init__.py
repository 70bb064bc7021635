"""Seeded training of a model, and a record of what happens to each sample meanwhile."""
