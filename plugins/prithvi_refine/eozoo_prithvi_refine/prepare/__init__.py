"""From raw products to training data, one module per step."""
