"""How a model is trained here, and what happened to each sample meanwhile."""
