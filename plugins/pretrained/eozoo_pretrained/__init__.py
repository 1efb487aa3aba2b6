"""Published encoders with their real weights: the eozoo plugin ``pretrained``."""
