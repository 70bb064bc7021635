"""Rules: from a watched operation to the factors of its per-sample gradients."""
