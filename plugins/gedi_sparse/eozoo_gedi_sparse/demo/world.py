"""What is true of the synthetic landscape, before anybody measures it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class World:
    """The ground truth, every array (H, W) float32 unless said otherwise.

    height m; cover 0..1 tree cover; crop 0..1 green herb cover; built, water 0..1; moisture 0..1; elevation m.
    """

    height: np.ndarray
    cover: np.ndarray
    crop: np.ndarray
    built: np.ndarray
    water: np.ndarray
    moisture: np.ndarray
    elevation: np.ndarray
