"""The data set ``sparse_tiles``: patches of bands with labels in few pixels.

Missing is NaN in both arrays. A pixel where any chosen band is missing has no label: nothing there could explain it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import open_reader
from eozoo_core.raster.tiles import Window
from torch.utils.data import Dataset

from eozoo_gedi_sparse.pairs import Pair, Pairs, find_pairs
from eozoo_gedi_sparse.settings import DataSettings

if TYPE_CHECKING:
    from eozoo_core.train.loading import Draw


def sparse_tiles(
    input_dir: str | Path, label_dir: str | Path, split: str = "train", data: DataSettings | None = None
) -> SparseTiles:
    """Open the split ``input_dir/split`` with ``label_dir/split``; see ``find_pairs`` for what it raises."""
    data = data or DataSettings()
    return SparseTiles(find_pairs(Path(input_dir), Path(label_dir), split, data), data)


class SparseTiles(Dataset):
    """Whole patches, for evaluation and statistics: ``tiles[i]`` is a dict of tensors.

    - image  float32 (C, H, W), raw band values, NaN = missing;
    - target float32 (1, H, W), in the target's unit, NaN = no label;
    - count  int64, labelled pixels in it; index int64, i.
    """

    def __init__(self, found: Pairs, data: DataSettings):
        self.found = found
        self.data = data

    def __len__(self) -> int:
        return len(self.found.pairs)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return _sample(*self.arrays(i), i)

    def arrays(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Patch i as numpy: image (C, H, W) and target (1, H, W), float32, NaN = missing."""
        return self.read(self.found.pairs[i], _whole(self.found.pairs[i]))

    def read(self, pair: Pair, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """A window of a patch as numpy; only its rows and columns are read."""
        bands = list(pair.bands) if pair.mask_band is None else [*pair.bands, pair.mask_band]
        with open_reader(pair.input) as reader:
            image = reader.read(window, bands)
        _blank(image, self.data.input_nodata)
        if pair.mask_band is not None:
            image, mask = image[:-1], image[-1]
            image[:, (mask == 0) | np.isnan(mask)] = np.nan
        target = self.read_label(pair, window)
        # One cheap pass first: a sum is finite only if all of its terms are, and most patches miss nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(image.sum(axis=0)).all()
        if suspect:
            image[np.isinf(image)] = np.nan
            target[:, np.isnan(image).any(axis=0)] = np.nan
        return image, target

    def read_label(self, pair: Pair, window: Window) -> np.ndarray:
        """The labels of a window (1, h, w), also where the input is missing."""
        with open_reader(pair.label) as reader:
            target = reader.read(window, [pair.target])
        _blank(target, self.data.label_nodata)
        target[np.isinf(target)] = np.nan
        return target


class TrainingWindows(Dataset):
    """Random windows of the patches, flipped and turned, for training: ``windows[draw]`` with ``draw.index, .epoch``.

    A sample follows from (seed, epoch, index) alone, so neither workers nor a restart change it. It is the dict that
    SparseTiles gives, of ``crop`` px (``data.crop``, at most the side of the largest patch); a smaller patch is
    filled up with NaN at the right and below. ``len`` is the number of samples in an epoch, patches x
    ``data.crops_per_patch``; sample i is of patch i modulo patches.
    """

    def __init__(self, tiles: SparseTiles, seed: int):
        self.tiles = tiles
        self.data = tiles.data
        self.seed = seed
        largest = max(max(pair.grid.height, pair.grid.width) for pair in tiles.found.pairs)
        # No larger than the largest patch: more would be filling alone.
        self.crop = None if self.data.crop is None else min(self.data.crop, largest)

    def __len__(self) -> int:
        return len(self.tiles) * self.data.crops_per_patch

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, draw.epoch, draw.index))
        pair = self.tiles.found.pairs[draw.index % len(self.tiles)]
        image, target = self.tiles.read(pair, self._place(pair, rng))
        if self.crop is not None:
            image, target = _fill_up(image, self.crop), _fill_up(target, self.crop)
        if self.data.flips:
            # Quarter turns only where they keep the shape, or samples of one batch would differ in theirs.
            turns = int(rng.integers(4)) if image.shape[1] == image.shape[2] else 2 * int(rng.integers(2))
            flip = 1 - 2 * int(rng.integers(2))
            image, target = (np.rot90(a, turns, axes=(1, 2))[:, :, ::flip].copy() for a in (image, target))
        return _sample(image, target, draw.index)

    def _place(self, pair: Pair, rng: np.random.Generator) -> Window:
        height, width = pair.grid.height, pair.grid.width
        size = self.crop
        if size is None:
            return _whole(pair)
        label = self._label_position(pair, rng) if self.data.crop_on_label else None
        rows, cols = (
            _start(length, size, None if label is None else label[axis], rng)
            for axis, length in enumerate((height, width))
        )
        return Window(rows, cols, min(size, height), min(size, width))

    def _label_position(self, pair: Pair, rng: np.random.Generator) -> tuple[int, int] | None:
        """Row and column of a random label, or None. Reads the label band alone; the bands are read by window."""
        labelled = np.flatnonzero(np.isfinite(self.tiles.read_label(pair, _whole(pair))))
        if labelled.size == 0:
            return None
        return divmod(int(labelled[rng.integers(labelled.size)]), pair.grid.width)


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


def _whole(pair: Pair) -> Window:
    return Window(0, 0, pair.grid.height, pair.grid.width)


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
    """Make NaN of the declared value, in place."""
    if nodata is not None:
        array[array == np.float32(nodata)] = np.nan
