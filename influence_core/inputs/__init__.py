"""A run's inputs, a model with its dataset: opened together, described, fingerprinted, reopened."""
