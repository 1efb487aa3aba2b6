"""Training: the loop (`fit`), its state, learning-rate schedule, optimiser step, batches, processes and memory."""
