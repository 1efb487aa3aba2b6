"""Training, validation and test by place: blocks of pixels or whole tiles, never single pixels."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from eozoo_core import ZooError
from eozoo_core.checking.design import NEITHER, TEST, TRAIN, VAL, Units, design
from eozoo_core.checking.division import Division
from eozoo_core.raster.tiles import Window
from eozoo_core.settings.splits import SplitSettings

from eozoo_barlow_twins.labels import class_layer, class_names
from eozoo_barlow_twins.permutation import key32, mix32
from eozoo_barlow_twins.settings import Labels, PixelData
from eozoo_barlow_twins.tiles import Tile

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
_ROWS = 512  # of a tile that are counted at a time


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

    Depends on the tile alone (its name, blocks, clear dates and, where ``data`` has labels, those), so that adding
    tiles moves nothing. ``window``: of those pixels only, the same values at less cost.
    """
    h, w = tile.shape[1:3]
    window = window or Window(0, 0, h, w)
    whole = {**dict.fromkeys(data.val_tiles, VAL), **dict.fromkeys(data.test_tiles, TEST)}.get(tile.name)
    if whole is not None:
        return np.full((window.height, window.width), whole, np.uint8)
    kinds, names = split_blocks(tile, data)[0], _block_names(tile, data.block)
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


def split_blocks(tile: Tile, data: PixelData) -> tuple[np.ndarray, Units]:
    """The split (n,) uint8 of every block of a tile, and the blocks with their usable pixels and classes.

    Kept with the tile. Shares are of usable pixels (with labels, of labelled ones and of each class) as nearly as whole
    blocks allow; with ``data.shares_of`` "blocks" of their number, rounded up. A share above 0 gets a block. A tile
    with too few blocks that have any pixels is trained on whole. Raises ZooError where it has too few blocks.
    """
    key = data.model_dump_json()
    if key not in tile.divided:
        units = _units(tile, data)
        if len(units.weight) < 1 + (data.val_share > 0) + (data.test_share > 0):
            raise ZooError(
                f"{tile.path}: has {len(units.weight)} spatial blocks, too few for all splits; lower data.block or the "
                "shares"
            )
        tile.divided[key] = (_by_number if data.shares_of == "blocks" else _by_pixels)(tile, data, units), units
    return tile.divided[key]


def division_of(tiles: Sequence[Tile], data: PixelData) -> Division | None:
    """What the division of tiles into blocks came to; None where only whole tiles are kept apart."""
    kept = {*data.val_tiles, *data.test_tiles}
    found = [split_blocks(tile, data) for tile in tiles if tile.name not in kept]
    if not found or data.val_share + data.test_share == 0:
        return None
    splits, units = zip(*found, strict=True)
    counts = None if units[0].counts is None else np.concatenate([one.counts for one in units])
    weight, unknown = (np.concatenate([getattr(one, name) for one in units]) for name in ("weight", "x"))
    shares = {"val": data.val_share, "test": data.test_share, "folds": data.folds, "fold": data.fold}
    how = SplitSettings(by="samples", **shares)
    names = class_names(data) if isinstance(data, Labels) else ()
    return Division(Units(unknown, unknown, weight, counts, what="blocks"), np.concatenate(splits), how, names)


def _by_pixels(tile: Tile, data: PixelData, units: Units) -> np.ndarray:
    seed = zlib.crc32(tile.name.encode()) + (data.split_seed << 32)
    how = SplitSettings(
        by="samples", val=data.val_share, test=data.test_share, seed=seed, folds=data.folds, fold=data.fold
    )
    if (units.weight > 0).sum() < sum(share > 0 for share in how.shares):
        return np.full(len(units.weight), TRAIN, np.uint8)
    return design(units, how)


def _by_number(tile: Tile, data: PixelData, units: Units) -> np.ndarray:
    """Shares of the number of blocks, whatever is in them: the rule of earlier runs."""
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
    return kinds


def _units(tile: Tile, data: PixelData) -> Units:
    """Blocks of a tile in the order of their numbers, with usable pixels and, where there are labels, classes."""
    names, (h, w) = _block_names(tile, data.block), tile.shape[1:3]
    classes = len(class_names(data)) if isinstance(data, Labels) else 1
    counts = np.zeros(len(names) * classes)
    for first in range(0, h, _ROWS):
        window = Window(first, 0, min(_ROWS, h - first), w)
        layer = class_layer(tile, data, window) if isinstance(data, Labels) else np.zeros((window.height, w), np.int16)
        use = (tile.counts[window.slices] > data.min_valid) & (layer >= 0)
        block = np.searchsorted(names, block_numbers(tile, data.block, window)[use])
        counts += np.bincount(block * classes + layer[use], minlength=len(counts))
    counts = counts.reshape(len(names), classes)
    nowhere, numbers = np.full(len(names), np.nan), np.arange(len(names))
    labelled = counts if isinstance(data, Labels) else None
    return Units(nowhere, nowhere, counts.sum(axis=1), labelled, group=numbers, what="blocks")


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
