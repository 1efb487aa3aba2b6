"""Canopy height or biomass, with its uncertainty, from sparse GEDI shots: the eozoo plugin ``gedi_sparse``."""
