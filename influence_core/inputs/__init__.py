"""A model and its dataset as one thing: opened together, described, fingerprinted, reopened."""
