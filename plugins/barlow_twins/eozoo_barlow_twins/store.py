"""The pixel-major store: one pixel's whole series is one contiguous read.

``pixels.npy`` is (H*W, T, C+1) uint16; the last channel is the mask. In bands.npy the dates of a pixel lie a whole
image apart, so that drawing random pixels reads one disk page per date; here it is one or two pages per pixel.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run import fingerprint

from eozoo_barlow_twins.files import publish, scratch_array

if TYPE_CHECKING:
    from eozoo_barlow_twins.layout import Tile

STRIP_BYTES = 64 * 2**20


def write_store(tile: Tile) -> Path:
    """Write pixels.npy and pixels.json beside the tile's arrays, in strips of about 64 MiB; return pixels.npy."""
    t, h, w, c = tile.shape
    tile.counts  # noqa: B018 - checks the masks
    file = tile.path / "pixels.npy"
    with scratch_array(file, (h * w, t, c + 1), np.uint16) as out:
        step = max(1, STRIP_BYTES // (t * w * (c + 1) * 2))
        for row in range(0, h, step):
            stop = min(row + step, h)
            part = out[row * w : stop * w].reshape(stop - row, w, t, c + 1)
            part[..., :c] = np.moveaxis(tile.bands[:, row:stop], 0, 2)
            part[..., c] = np.moveaxis(tile.masks[:, row:stop], 0, 2)
    publish(tile.path / "pixels.json", json.dumps({"source": _source(tile)}).encode())
    return file


def open_store(tile: Tile) -> np.ndarray | None:
    """Map the tile's store, None where it has none. Raises ZooError for one that belongs to other arrays."""
    file = tile.path / "pixels.npy"
    if not file.exists():
        return None
    remedy = "delete it or make it again with 'eozoo prepare barlow_twins store'"
    t, h, w, c = tile.shape
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        source = json.loads((tile.path / "pixels.json").read_text())["source"]
    except (OSError, ValueError, KeyError) as error:
        raise ZooError(f"{file}: cannot be used ({error}); {remedy}") from None
    if array.shape != (h * w, t, c + 1) or array.dtype != np.uint16 or source != _source(tile):
        raise ZooError(f"{file}: does not belong to the bands.npy and masks.npy beside it; {remedy}")
    return array


def _source(tile: Tile) -> str:
    return fingerprint([tile.path / "bands.npy", tile.path / "masks.npy"], tile.path)
