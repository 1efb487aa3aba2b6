"""Tiles as registered datasets, for other tasks and loops: pixel by pixel, or whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eozoo_barlow_twins.pixels import PixelIndex, split_number
from eozoo_barlow_twins.settings import PixelData
from eozoo_barlow_twins.tiles import Tile, open_tiles


class PixelSeriesDataset:
    """Series of pixels with more than ``min_valid`` clear dates: "bands" (T, C) float32 digital numbers, "doys" (T,).

    NaN = not clear. folder: holds the tiles. tiles: names, None = all. split: "train", "val" or "test" by blocks as
    `PixelData` says by default; None = all pixels. bands: names, of the first tile where none are given.
    """

    def __init__(
        self,
        folder: str,
        tiles: Sequence[str] | None = None,
        min_valid: int = 32,
        split: str | None = None,
        bands: Sequence[str] | None = None,
    ):
        opened = open_tiles(Path(folder), None if tiles is None else tuple(tiles))
        kind = None if split is None else split_number(split)
        self.bands = tuple(bands or opened[0].band_names)
        self._index = PixelIndex(opened, PixelData(min_valid=min_valid, sample_size=2), kind)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        ((tile, _, pixels),) = self._index.groups(np.array([number]))
        chosen = self._index.tiles[tile]
        series, clear = chosen.series(pixels)
        values = series[0][:, chosen.select(self.bands)].astype(np.float32)
        return {"bands": np.where(clear[0][:, None], values, np.float32(np.nan)), "doys": chosen.doys}


class PixelTilesDataset:
    """Whole tiles: "bands" (T, H, W, C) uint16 digital numbers, "masks" (T, H, W) 1 = clear, "doys" (T,).

    The arrays are mapped, not read. folder: holds the tiles. tiles: names, None = all.
    """

    def __init__(self, folder: str, tiles: Sequence[str] | None = None):
        self._tiles = open_tiles(Path(folder), None if tiles is None else tuple(tiles))
        self.bands = self._tiles[0].band_names

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        tile: Tile = self._tiles[number]
        return {"bands": tile.bands, "masks": tile.masks, "doys": tile.doys}
