"""The data set ``sparse_tiles``: patches of bands with labels in few pixels.

Missing is NaN in both arrays. A pixel where any chosen band is missing has no label: nothing there could explain it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster import open_reader
from eozoo_core.tiles import Window
from torch.utils.data import Dataset

from eozoo_gedi_sparse.pairs import Pair, Pairs, find_pairs
from eozoo_gedi_sparse.settings import DataSettings


class Draw(Protocol):
    """One training sample: which (any number from 0 on, counted round the patches) and in which epoch."""

    index: int
    epoch: int


def sparse_tiles(
    input_dir: str | Path,
    label_dir: str | Path,
    split: str = "train",
    data: DataSettings | None = None,
    seed: int = 0,
) -> SparseTiles:
    """Open the split ``input_dir/split`` with ``label_dir/split``; see ``find_pairs`` for what it raises."""
    data = data or DataSettings()
    return SparseTiles(find_pairs(Path(input_dir), Path(label_dir), split, data), data, seed)


class SparseTiles(Dataset):
    """Whole patches by number, random training windows by draw.

    ``tiles[i]``: patch i as it is. ``tiles[draw]``: a random window of patch ``draw.index % len(tiles)``, flipped and
    turned; it follows from (seed, epoch, index) alone, so neither workers nor a restart change it. Both are dicts:

    - image  float32 (C, h, w), raw band values, NaN = missing;
    - target float32 (1, h, w), in the target's unit, NaN = no label;
    - count  int64, labelled pixels in it; index int64, the number it was asked by.

    A patch smaller than the window is filled up with NaN at the right and below. ``draws`` samples make an epoch.
    """

    def __init__(self, found: Pairs, data: DataSettings, seed: int = 0):
        self.found = found
        self.data = data
        self.seed = seed
        self.draws = len(found.pairs) * data.crops_per_patch

    def __len__(self) -> int:
        return len(self.found.pairs)

    def __getitem__(self, key: int | Draw) -> dict[str, torch.Tensor]:
        if isinstance(key, int | np.integer):
            return _sample(*self.arrays(int(key)), int(key))
        return _sample(*self._training_window(key.index, key.epoch), key.index)

    def arrays(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Patch i whole, as numpy: image (C, H, W) and target (1, H, W), float32, NaN = missing."""
        pair = self.found.pairs[i]
        return self._read(pair, Window(0, 0, pair.grid.height, pair.grid.width))

    def _training_window(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch, index))
        pair = self.found.pairs[index % len(self)]
        window = self._place(pair, rng)
        image, target = self._read(pair, window)
        if self.data.crop is not None:
            image, target = _fill_up(image, self.data.crop), _fill_up(target, self.data.crop)
        if self.data.flips:
            # Quarter turns only where they keep the shape, or samples of one batch would differ in theirs.
            turns = int(rng.integers(4)) if image.shape[1] == image.shape[2] else 2 * int(rng.integers(2))
            flip = 1 - 2 * int(rng.integers(2))
            image, target = (np.rot90(a, turns, axes=(1, 2))[:, :, ::flip].copy() for a in (image, target))
        return image, target

    def _place(self, pair: Pair, rng: np.random.Generator) -> Window:
        height, width = pair.grid.height, pair.grid.width
        size = self.data.crop
        if size is None:
            return Window(0, 0, height, width)
        label = self._label_position(pair, rng) if self.data.crop_on_label else None
        rows, cols = (
            _start(length, size, None if label is None else label[axis], rng)
            for axis, length in enumerate((height, width))
        )
        return Window(rows, cols, min(size, height), min(size, width))

    def _label_position(self, pair: Pair, rng: np.random.Generator) -> tuple[int, int] | None:
        """Row and column of a random label, or None. Reads the label band alone; the bands are read by window."""
        whole = Window(0, 0, pair.grid.height, pair.grid.width)
        labelled = np.flatnonzero(np.isfinite(self._read_label(pair, whole)))
        if labelled.size == 0:
            return None
        return divmod(int(labelled[rng.integers(labelled.size)]), pair.grid.width)

    def _read(self, pair: Pair, window: Window) -> tuple[np.ndarray, np.ndarray]:
        bands = list(pair.bands) if pair.mask_band is None else [*pair.bands, pair.mask_band]
        with open_reader(pair.input) as reader:
            image = reader.read(window, bands)
        _blank(image, self.data.input_nodata)
        if pair.mask_band is not None:
            image, mask = image[:-1], image[-1]
            image[:, (mask == 0) | np.isnan(mask)] = np.nan
        target = self._read_label(pair, window)
        target[:, ~np.isfinite(image).all(axis=0)] = np.nan
        return image, target

    def _read_label(self, pair: Pair, window: Window) -> np.ndarray:
        with open_reader(pair.label) as reader:
            target = reader.read(window, [pair.target])
        _blank(target, self.data.label_nodata)
        return target


def training_arrays(tiles: SparseTiles) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield image (C, H, W) and target (1, H, W) of every patch once, for statistics; NaN = missing."""
    return (tiles.arrays(i) for i in range(len(tiles)))


def labelled_count(tiles: SparseTiles) -> int:
    """Labelled pixels of the whole split. Raises ZooError where there is none: nothing could be learned or scored."""
    count = sum(int(np.isfinite(target).sum()) for _, target in training_arrays(tiles))
    if count == 0:
        folder = tiles.found.pairs[0].label.parent
        raise ZooError(f"{folder}: none of {len(tiles)} label files has a value where the input has data")
    return count


def _sample(image: np.ndarray, target: np.ndarray, index: int) -> dict[str, torch.Tensor]:
    return {
        "image": torch.from_numpy(image),
        "target": torch.from_numpy(target),
        "count": torch.tensor(int(np.isfinite(target).sum())),
        "index": torch.tensor(index),
    }


def _start(length: int, size: int, label: int | None, rng: np.random.Generator) -> int:
    """First row or column of a window of ``size`` in ``length``: anywhere, or anywhere that holds ``label``."""
    last = max(length - size, 0)
    if label is None:
        return int(rng.integers(last + 1))
    return int(rng.integers(max(0, label - size + 1), min(label, last) + 1))


def _fill_up(array: np.ndarray, size: int) -> np.ndarray:
    short = [(0, max(0, size - length)) for length in array.shape[1:]]
    return np.pad(array, [(0, 0), *short], constant_values=np.nan) if any(b for _, b in short) else array


def _blank(array: np.ndarray, nodata: float | None) -> None:
    """Make NaN of the declared value and of infinities, in place."""
    if nodata is not None:
        array[array == np.float32(nodata)] = np.nan
    array[np.isinf(array)] = np.nan
