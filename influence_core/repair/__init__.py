"""A change of the training data, proposed, decided or by rule, and what it is predicted to do."""
