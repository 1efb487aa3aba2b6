"""Plausible windows, as an exported graph shows them."""

from __future__ import annotations

import numpy as np
from eozoo_core import Port
from eozoo_core.task import Arrays

from eozoo_clay_ta.grid import WINDOW
from eozoo_clay_ta.sample_schema import CHANNELS


def windows_like(x: Port) -> Arrays:
    """Return four windows around the means of port ``x``, with times and places."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(4, CHANNELS, WINDOW, WINDOW)) * 0.5
    values = np.reshape(x.mean, (-1, 1, 1)) + np.reshape(x.std, (-1, 1, 1)) * noise
    values[:, -1] = random.integers(0, 2, (4, WINDOW, WINDOW))
    return {
        "x": values.astype("float32"),
        "time": np.array([1.6409952e9, 1.649e9, 1.7092e9, 1.66e9]),  # float64: float32 would round to two minutes
        "lat": np.array([35.0, 36.5, 38.0, 33.2], "float32"),
        "lon": np.array([127.0, 128.5, 126.0, 129.1], "float32"),
        "landcover": np.array([1.0, 10.0, 16.0, 0.0], "float32"),
    }
