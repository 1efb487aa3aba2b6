"""Tables of samples, and the tasks that learn from them."""
