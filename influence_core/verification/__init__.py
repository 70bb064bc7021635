"""Train with a repair and without, and compare."""
