"""Pins: what every task computes, recorded before a refactoring and compared after it. See ``tests/pins.py``."""
