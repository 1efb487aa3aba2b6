"""Barlow Twins on Sentinel-2 pixel time series: pre-training, land cover, maps."""
