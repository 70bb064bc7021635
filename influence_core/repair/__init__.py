"""Changes of the training data, decided by people or by a rule, and their predicted effects."""
