"""From raw products to training data, one module per step: shots, labels, stack, patches; and totals of a map."""
