"""The pixel-major store: one pixel's whole series is one contiguous read.

``pixels.npy`` is (H*W, T, C+1) uint16; the last channel is the mask. In bands.npy the dates of a pixel lie a whole
image apart, so that drawing random pixels reads one disk page per date; here it is one or two pages per pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.arrays import map_array
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.parsed import read_json


def open_store(folder: Path, shape: tuple[int, int, int, int]) -> np.ndarray | None:
    """Map the store of the tile at ``folder``, of ``shape`` (T, H, W, C); None where it has none.

    Raises ZooError for one that belongs to other arrays.
    """
    file = folder / "pixels.npy"
    if not file.exists():
        return None
    remedy = "delete it or make it again with 'eozoo prepare barlow_twins store'"
    t, h, w, c = shape
    array, about = map_array(file, remedy), read_json(folder / "pixels.json", remedy=remedy)
    source = about.get("source") if isinstance(about, dict) else None
    if array.shape != (h * w, t, c + 1) or array.dtype != np.uint16 or source != source_of(folder):
        raise ZooError(f"{file}: does not belong to the bands.npy and masks.npy beside it; {remedy}")
    return array


def source_of(folder: Path) -> str:
    """Return the fingerprint of the arrays that a store is made from."""
    return fingerprint([folder / "bands.npy", folder / "masks.npy"], folder)
