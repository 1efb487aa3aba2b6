"""Scaling of satellite bands as the document has it: Sentinel-2 to reflectance, Sentinel-1 to 0..1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import Reader
from eozoo_core.raster.sentinel2 import is_reflectance, look_at, scaling_of

from eozoo_gedi_sparse.prepare.settings import LayerSettings

Scale = Callable[[np.ndarray], np.ndarray]

S1_RANGE = (-30.0, 0.0)  # dB; outside is noise or a point target
_LOOKED_AT = 256  # pixels a side


def make_scale(layer: LayerSettings, reader: Reader, bands: tuple[int, ...]) -> tuple[Scale, str]:
    """Return f(values as read, NaN = missing) -> scaled values of the ``bands`` of one file; and that rule in words.

    Raises ZooError where nothing tells the offset of a Sentinel-2 file, and where values contradict ``layer.scale``.
    """
    if layer.scale == "s2":
        source = look_at(reader, bands)
        if is_reflectance(source) and not source.packed:
            raise ZooError(f"{reader.info.path}: holds reflectance as floats already; set scale: none for its layer")
        scaling = scaling_of(source, layer.s2_offset, "s2_offset of its layer")
        return scaling, str(scaling)
    if layer.scale in ("s1_db", "s1_linear"):
        linear = layer.scale == "s1_linear"
        require_backscatter(reader, bands, linear)
        return lambda values: backscatter(
            values, linear
        ), f"backscatter in {'linear power' if linear else 'dB'}, as set"
    return lambda values: values, ""


def backscatter(values: np.ndarray, linear: bool) -> np.ndarray:
    """Backscatter in dB (or linear power) to (dB + 30) / 30; NaN outside -30..0 dB."""
    low, high = S1_RANGE
    if linear:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 10 * np.log10(values)
    inside = (values >= low) & (values <= high)
    return np.where(inside, (values - low) / (high - low), np.nan).astype(np.float32)


def require_backscatter(reader: Reader, bands: tuple[int, ...], linear: bool) -> None:
    """Raise ZooError where unit or values show that a file holds the other of dB and linear power, or neither.

    Power is never negative (noise removal leaves a few such pixels), and less than 1 over most of any scene; so dB of
    most pixels are negative.
    """
    info = reader.info
    units = {info.units[band - 1].strip().lower() for band in bands}
    for band, values in zip(bands, reader.thumbnail(_LOOKED_AT, bands), strict=True):
        name = info.path if len(bands) == 1 else f"{info.path}: band {info.descriptions[band - 1] or band}"
        _require_band(name, values[np.isfinite(values) & (values != 0)], linear, units)


def _require_band(name: str, values: np.ndarray, linear: bool, units: set[str]) -> None:
    """Judge the values (n,) of one band; a layer of several may hold one that is none."""
    if not values.size:
        return
    low, middle, high = np.percentile(values, [1, 50, 99])
    told = f"{name}: values {low:.3g} to {high:.3g}"
    if linear and (middle < 0 or "db" in units):
        raise ZooError(f"{told}{' in dB' if 'db' in units else ''} are no linear power; set scale: s1_db for its layer")
    if not linear and middle > 0:
        remedy = "set scale: s1_linear for its layer" if high <= 10 else "calibrate it to dB first"
        raise ZooError(f"{told} are not dB, which are below 0 on most of any scene; {remedy}")
    if linear and middle > 1:
        raise ZooError(f"{told} are no linear power, which is below 1 on most of any scene; calibrate it first")
