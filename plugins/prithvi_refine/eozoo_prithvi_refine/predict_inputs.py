"""What ``predict`` is given, checked and copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError

from eozoo_prithvi_refine import coordinates
from eozoo_prithvi_refine.settings import BIOMES

if TYPE_CHECKING:
    from eozoo_core.task import Arrays

_CODES = (("month", 1, 12), ("biome", 0, BIOMES - 1))
_PAIRS = ("time", "location")


def checked(batch: Arrays, takes_coordinates: bool) -> Arrays:
    """Return copies: opt_v1 float32, month and biome float64, time and location (B, 2) float64, NaN where not given.

    Raises ZooError for what is missing or impossible, and for coordinates that the model does not take.
    """
    for name in ("opt_v1", "month", "biome"):
        if name not in batch:
            raise ZooError(f"predict: has no {name!r}; give opt_v1 (B, 4, H, W), month (B,) and biome (B,)")
    image = np.array(batch["opt_v1"], np.float32)
    if image.ndim != 4 or image.shape[1] != 4 or 0 in image.shape:
        raise ZooError(f"predict: opt_v1 has shape {image.shape}, expected (B, 4, H, W): blue, green, red, NIR")
    if np.nanmax(np.abs(image), initial=0) > 100:
        raise ZooError(f"predict: opt_v1 up to {np.nanmax(image):g} is not reflectance 0..1; divide by 10000")
    codes = {name: _code(batch[name], name, low, high, len(image)) for name, low, high in _CODES}
    given = [name for name in _PAIRS if batch.get(name) is not None]
    if given and not takes_coordinates:
        raise ZooError(f"predict: this run's encoder takes no {given[0]!r}; leave it out (encoders with _tl take it)")
    return {"opt_v1": image, **codes, **{name: _pairs(batch.get(name), name, len(image)) for name in _PAIRS}}


def _code(given: object, name: str, low: int, high: int, count: int) -> np.ndarray:
    values = np.array(given, np.float64)
    if values.shape != (count,):
        raise ZooError(f"predict: {name} has shape {values.shape}, expected ({count},), one for each image")
    known = values[np.isfinite(values)]
    if ((known < low) | (known > high) | (known != np.rint(known))).any():
        raise ZooError(f"predict: {name} {known.tolist()} must be whole numbers from {low} to {high}")
    return values


def _pairs(given: object, name: str, count: int) -> np.ndarray:
    values = np.full((count, 2), np.nan) if given is None else np.array(given, np.float64)
    if values.shape != (count, 2):
        raise ZooError(f"predict: {name} has shape {values.shape}, expected ({count}, 2), a pair for each image")
    coordinates.check(values, name, "predict")
    return values
