"""Training, validation and test by place: blocks of pixels or whole tiles, never single pixels."""

from __future__ import annotations

import math
import zlib

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.tiles import Window

from eozoo_barlow_twins.permutation import key32, mix32
from eozoo_barlow_twins.settings import PixelData
from eozoo_barlow_twins.tiles import Tile

TRAIN, VAL, TEST, NEITHER = 0, 1, 2, 3
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


def block_numbers(tile: Tile, side: int, window: Window | None = None) -> np.ndarray:
    """The spatial unit of every pixel ``(H, W)`` int64, or of those in ``window``.

    blocks.npy where the tile has it, else squares of ``side``.
    """
    _, h, w, _ = tile.shape
    rows, cols = (slice(0, h), slice(0, w)) if window is None else window.slices
    if tile.has("blocks.npy"):
        return tile.layer("blocks.npy")[rows, cols].astype(np.int64)
    across = -(-w // side)
    return (np.arange(h)[rows] // side)[:, None] * across + (np.arange(w)[cols] // side)[None, :]


def split_map(tile: Tile, data: PixelData, window: Window | None = None) -> np.ndarray:
    """Which split each pixel is in, ``(H, W)`` uint8: TRAIN, VAL, TEST, or NEITHER for the buffer between them.

    Depends on the tile's name and blocks only, so that adding tiles moves nothing. The shares are of blocks, rounded
    up: a share above 0 always gets a block. ``window``: of those pixels only, the same values at less cost.
    """
    h, w = tile.shape[1:3]
    window = window or Window(0, 0, h, w)
    if tile.name in data.val_tiles:
        return np.full((window.height, window.width), VAL, np.uint8)
    if tile.name in data.test_tiles:
        return np.full((window.height, window.width), TEST, np.uint8)
    names = _block_names(tile, data.block)
    order = np.argsort(mix32(names.astype(np.uint32) ^ np.uint32(key32(zlib.crc32(tile.name.encode())))), kind="stable")
    n_test, n_val = (math.ceil(share * len(names)) for share in (data.test_share, data.val_share))
    if n_test + n_val >= len(names):
        raise ZooError(
            f"{tile.path}: has {len(names)} spatial blocks, too few for all splits; lower data.block or the shares"
        )
    kinds = np.full(len(names), TRAIN, np.uint8)
    kinds[order[:n_test]] = TEST
    kinds[order[n_test : n_test + n_val]] = VAL
    # What lies just outside the window has its buffer inside.
    top, left = max(0, window.row - data.buffer), max(0, window.col - data.buffer)
    bottom, right = (
        min(length, first + size + data.buffer)
        for length, first, size in ((h, window.row, window.height), (w, window.col, window.width))
    )
    blocks = block_numbers(tile, data.block, Window(top, left, bottom - top, right - left))
    split = kinds[np.searchsorted(names, blocks)]
    held = _grow(split != TRAIN, data.buffer)
    split = np.where((split == TRAIN) & held, NEITHER, split).astype(np.uint8)
    row, col = window.row - top, window.col - left
    return split[row : row + window.height, col : col + window.width]


def _block_names(tile: Tile, side: int) -> np.ndarray:
    """The numbers of all blocks of a tile, rising."""
    if tile.has("blocks.npy"):
        return np.unique(block_numbers(tile, side))
    _, h, w, _ = tile.shape
    return np.arange(-(-h // side) * -(-w // side))


def _grow(mask: np.ndarray, by: int) -> np.ndarray:
    """Widen a bool mask by ``by`` pixels in all eight directions."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        wide = padded[:-2] | padded[1:-1] | padded[2:]
        mask = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    return mask
