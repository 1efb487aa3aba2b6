"""Near-surface air temperature from GK-2A AMI patches with a Clay encoder: the eozoo plugin ``clay_ta``."""
