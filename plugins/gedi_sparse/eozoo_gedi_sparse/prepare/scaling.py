"""Scaling of satellite bands as the document has it: Sentinel-2 to reflectance, Sentinel-1 to 0..1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import RasterInfo
from eozoo_core.raster.sentinel2 import offset_of, reflectance

from eozoo_gedi_sparse.prepare.settings import LayerSettings

Scale = Callable[[np.ndarray], np.ndarray]

S1_RANGE = (-30.0, 0.0)  # dB; outside is noise or a point target


def make_scale(layer: LayerSettings, info: RasterInfo) -> Scale:
    """Return f(values, NaN = missing) -> scaled values for one file of a layer.

    Raises ZooError where nothing tells the offset of a Sentinel-2 file.
    """
    if layer.scale == "s2":
        offset = offset_of(Path(info.path), info.tags) if layer.s2_offset is None else layer.s2_offset
        if offset is None:
            raise ZooError(
                f"{info.path}: neither its tags nor its name (_N0400_) tell the offset of its processing baseline; set "
                "s2_offset of the layer, -1000 from baseline 04.00 on, else 0 (also for harmonised collections)"
            )
        return lambda values: reflectance(values, offset)
    if layer.scale in ("s1_db", "s1_linear"):
        return lambda values: backscatter(values, layer.scale == "s1_linear")
    return lambda values: values


def backscatter(values: np.ndarray, linear: bool) -> np.ndarray:
    """Backscatter in dB (or linear power) to (dB + 30) / 30; NaN outside -30..0 dB."""
    low, high = S1_RANGE
    if linear:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 10 * np.log10(values)
    inside = (values >= low) & (values <= high)
    return np.where(inside, (values - low) / (high - low), np.nan).astype(np.float32)
