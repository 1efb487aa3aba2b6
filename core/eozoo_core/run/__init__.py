"""The run directory: what training leaves behind, and all that evaluation and inference may read."""
