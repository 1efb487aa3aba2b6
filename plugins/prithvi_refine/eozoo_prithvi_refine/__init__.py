"""Optical images refined by Prithvi-EO-2.0 in 8 bit with LoRA and a ConvNeXt head: the eozoo plugin."""
