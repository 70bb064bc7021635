"""Suspicion: the probability that a given label is wrong, and the evidence for it."""
