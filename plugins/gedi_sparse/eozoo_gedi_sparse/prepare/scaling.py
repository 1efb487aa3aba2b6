"""Scaling of satellite bands as the document has it: Sentinel-2 to reflectance, Sentinel-1 to 0..1."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import read_info

from eozoo_gedi_sparse.prepare.settings import LayerSettings

Scale = Callable[[np.ndarray], np.ndarray]

S2_QUANTIFICATION = 10_000.0
S2_OFFSET = -1000.0  # BOA_ADD_OFFSET of processing baselines from 04.00 on (25 January 2022)
S1_RANGE = (-30.0, 0.0)  # dB; outside is noise or a point target


def make_scale(layer: LayerSettings, file: Path) -> Scale:
    """Return f(values, NaN = missing) -> scaled values for one file of a layer. Raises ZooError as ``s2_offset``."""
    if layer.scale == "s2":
        offset = s2_offset(file) if layer.s2_offset is None else layer.s2_offset
        return lambda values: reflectance(values, offset)
    if layer.scale in ("s1_db", "s1_linear"):
        return lambda values: backscatter(values, layer.scale == "s1_linear")
    return lambda values: values


def reflectance(numbers: np.ndarray, offset: float) -> np.ndarray:
    """Digital numbers to surface reflectance, (DN + offset) / 10000, not clipped; DN 0 is no data."""
    return np.where(numbers == 0, np.nan, (numbers + offset) / S2_QUANTIFICATION).astype(np.float32)


def backscatter(values: np.ndarray, linear: bool) -> np.ndarray:
    """Backscatter in dB (or linear power) to (dB + 30) / 30; NaN outside -30..0 dB."""
    low, high = S1_RANGE
    if linear:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 10 * np.log10(values)
    inside = (values >= low) & (values <= high)
    return np.where(inside, (values - low) / (high - low), np.nan).astype(np.float32)


def s2_offset(file: Path) -> float:
    """Offset of a Sentinel-2 file by its processing baseline: in the tags, or as _N0400_ in the name or its folders.

    Raises ZooError where neither says it: a wrong guess would shift every reflectance by 0.1.
    """
    baseline = read_info(file).tags.get("PROCESSING_BASELINE", "")
    if not baseline:
        found = re.findall(r"_N(\d{4})_", "_".join([*file.resolve().parts, ""]))
        baseline = found[-1] if found else ""
    digits = re.sub(r"\D", "", baseline)
    if not digits:
        raise ZooError(
            f"{file}: neither its tags nor its name (_N0400_) tell the baseline; set s2_offset of the layer, "
            "-1000 from baseline 04.00 on, else 0 (also for harmonised collections)"
        )
    return S2_OFFSET if int(digits.ljust(4, "0")) >= 400 else 0.0
