"""Plain signals to stand beside influence: outputs, outliers, Shapley values, confident learning."""
