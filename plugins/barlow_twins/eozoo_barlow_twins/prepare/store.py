"""Step 'store': the pixel-major copy of a tile, see ``pixel_store``."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.run.writing import mapped_array
from eozoo_core.run.written import write_text

from eozoo_barlow_twins.pixel_store import open_store, source_of
from eozoo_barlow_twins.tiles import Tile

STRIP_BYTES = 64 * 2**20


def write_store(tile: Tile) -> Path:
    """Write pixels.npy and pixels.json beside the tile's arrays, in strips of about 64 MiB; return pixels.npy.

    One that belongs to the arrays stays as it is.
    """
    t, h, w, c = tile.shape
    tile.counts  # noqa: B018 - checks the masks
    file = tile.path / "pixels.npy"
    with suppress(ZooError):  # of other arrays
        if open_store(tile.path, tile.shape) is not None:
            return file
    with mapped_array(file, (h * w, t, c + 1), np.uint16) as out:
        step = max(1, STRIP_BYTES // (t * w * (c + 1) * 2))
        for row in range(0, h, step):
            stop = min(row + step, h)
            part = out[row * w : stop * w].reshape(stop - row, w, t, c + 1)
            part[..., :c] = np.moveaxis(tile.bands[:, row:stop], 0, 2)
            part[..., c] = np.moveaxis(tile.masks[:, row:stop], 0, 2)
    write_text(tile.path / "pixels.json", json.dumps({"source": source_of(tile.path)}))
    return file
