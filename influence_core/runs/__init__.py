"""A finished run in the hand: its tables, and what can be explained with its model."""
