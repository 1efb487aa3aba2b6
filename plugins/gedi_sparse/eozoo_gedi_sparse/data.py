"""The data set ``sparse_tiles``: patches of bands with labels in few pixels, as training, scores and checks read it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import first_readable, open_reader, read_info, read_whole
from eozoo_core.raster.tiles import Window
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data
from eozoo_core.train.loading import Draw

from eozoo_gedi_sparse.pairs import Pair, files_of, input_bands, make_pair, patch_grids
from eozoo_gedi_sparse.settings import DataSettings

if TYPE_CHECKING:
    from eozoo_core.checking import Findings


def sparse_tiles(
    input_dir: str | Path, label_dir: str | Path, split: str = "train", data: DataSettings | None = None
) -> Patches:
    """Open the split ``input_dir/split`` with ``label_dir/split``; see `Patches` for what it raises."""
    return Patches(Path(input_dir), Path(label_dir), split, data or DataSettings())


class Patches(Data):
    """The patches ``input_dir/split/NAME`` (C, H, W) with ``label_dir/split/NAME`` (1 or more bands, H, W), by name.

    ``item`` is a whole patch, ``draw`` a random window of it, flipped and turned:

    - image  float32 (C, H, W), raw band values, NaN = missing;
    - target float32 (1, H, W), in the target's unit, NaN = no label, also where any chosen band is missing: nothing
      there could explain it.

    A draw follows from (``seed``, epoch, index) alone, so neither workers nor a restart change it. It has ``data.crop``
    px (at most the side of the largest patch; more would be filling alone); a smaller patch is filled up with NaN at
    the right and below. An epoch has patches x ``data.crops_per_patch`` draws; draw i is of patch i modulo patches.

    NAME ends in .npy, .tif or .tiff. Opening reads headers; rasters whole where ``data.on_unreadable`` is skip. Raises
    ZooError, one line naming the folder or file: no such folder, no pair, two files of one name, partners missing,
    unreadable, of other size, CRS, transform or band count. What ``data.skip_unpaired`` and ``data.on_unreadable``
    allow is left out instead and listed in ``skipped``. ``lenient``: for checks; a pair that does not fit stays, and
    reading it raises.
    """

    what = "patches"

    def __init__(
        self, input_dir: Path, label_dir: Path, split: str, data: DataSettings, seed: int = 0, lenient: bool = False
    ):
        self.settings, self.split, self._seed = data, split, seed
        self._pairs: dict[Path, Pair] = {}  # by input file
        inputs, labels = files_of(input_dir, split, "input_dir"), files_of(label_dir, split, "label_dir")
        self._labels = {inputs[n]: labels[n] for n in sorted(inputs.keys() & labels.keys())}
        lone = [f"{inputs[n]}: has no label in {label_dir / split}" for n in sorted(inputs.keys() - labels.keys())]
        lone += [f"{labels[n]}: has no input in {input_dir / split}" for n in sorted(labels.keys() - inputs.keys())]
        if lone and not (lenient or data.skip_unpaired):
            more = f" (and {len(lone) - 5} more)" if len(lone) > 5 else ""
            raise ZooError(f"{'; '.join(lone[:5])}{more}. Add the missing files or set data.skip_unpaired=true")
        self.skipped = tuple(lone) if lenient else (*lone, *self._open_all())
        if not self._labels:
            left = f" ({len(self.skipped)} left out, first: {self.skipped[0]})" if self.skipped else ""
            raise ZooError(f"{input_dir / split}: no input has a label in {label_dir / split}{left}")
        self.input_files = list(self._labels)
        self.files = [file for pair in self._labels.items() for file in pair]
        info = first_readable(self.input_files)
        numbers, self.bands = input_bands(info, data)
        self.units = tuple(info.units[b - 1] for b in numbers)
        self._places, self._misplaced = {}, ""
        try:
            self._places = patch_grids(input_dir.parent)
        except ZooError as error:
            if not lenient:
                raise
            self._misplaced = str(error)

    def __len__(self) -> int:
        return len(self._labels)

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        pair = self.pair(index)
        return self._read(pair, _whole(pair))

    @property
    def draws(self) -> int:
        """Patches times ``data.crops_per_patch``."""
        return len(self) * self.settings.crops_per_patch

    def draw(self, draw: Draw) -> Arrays:
        """See `Data.draw`."""
        rng = np.random.default_rng((self._seed, draw.epoch, draw.index))
        pair = self.pair(draw.index % len(self))
        sample = self._read(pair, *self._window(pair, rng))
        if self.crop is not None:
            sample = {name: _fill_up(array, self.crop) for name, array in sample.items()}
        if self.settings.flips:
            # Quarter turns only where they keep the shape, or samples of one batch would differ in theirs.
            height, width = sample["image"].shape[1:]
            turns = int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))
            flip = 1 - 2 * int(rng.integers(2))
            sample = {n: np.rot90(a, turns, axes=(1, 2))[:, :, ::flip].copy() for n, a in sample.items()}
        return sample

    @cached_property
    def crop(self) -> int | None:
        """Side of the windows, px; None = whole patches."""
        grids = [self.pair(i).grid for i in range(len(self))]
        largest = max(max(grid.height, grid.width) for grid in grids)
        return None if self.settings.crop is None else min(self.settings.crop, largest)

    def pair(self, index: int) -> Pair:
        """The files of a patch and their bands. Raises ZooError where they do not fit."""
        file = self.input_files[index]
        if file not in self._pairs:
            self._pairs[file] = make_pair(read_info(file), read_info(self._labels[file]), self.settings)
        return self._pairs[file]

    def grid(self, index: int) -> Grid:
        """Where a patch lies: by its own file, or by what step ``patches`` wrote beside it."""
        file = self.input_files[index]
        grid = self._pairs[file].grid if file in self._pairs else read_info(file).grid
        return grid if grid.crs is not None else self._places.get((file.parent.name, file.stem), grid)

    def pick(self, others: Sequence[Data], rows: np.ndarray) -> Patches:
        """See `Data.pick`."""
        found, labels = copy(self), {file: label for one in others for file, label in one._labels.items()}
        found.__dict__.pop("crop", None)
        found._pairs = {file: pair for one in others for file, pair in one._pairs.items()}
        files = list(labels)
        found._labels = {files[row]: labels[files[row]] for row in rows}
        found.input_files = list(found._labels)
        found.files = [file for pair in found._labels.items() for file in pair]
        return found

    def problems(self, findings: Findings, split: str) -> None:
        """Tell of files without a partner; of the training split also of its places and sizes."""
        if self.skipped:
            level = findings.warning if self.settings.skip_unpaired else findings.error
            text = f"without partner: {len(self.skipped)}, first {self.skipped[0]}"
            level(f"{split}: pairs", text, "add the missing files or set data.skip_unpaired=true")
        if split != "train":
            return
        if self._misplaced:
            findings.error("patches.csv", self._misplaced)
        sizes, crop = sorted(self._sizes()), self.settings.crop
        if crop is None and len(sizes) > 1:
            text = f"patches have {len(sizes)} sizes, {listed([f'{h} x {w} px' for h, w in sizes])}"
            findings.error("train: sizes", text, "set data.crop")
        side = max(map(max, sizes), default=0)
        if crop is not None and 0 < side < crop:
            text = f"no patch is as large as data.crop={crop} px: windows have the side of the largest, {side} px"
            findings.warning("train: sizes", text, f"set data.crop={side}")

    def _sizes(self) -> set[tuple[int, int]]:
        """Rows and columns of all patches whose header can be read."""
        found = set()
        for file in self.input_files:
            try:
                grid = read_info(file).grid
            except ZooError:  # told where the patch is read
                continue
            found.add((grid.height, grid.width))
        return found

    def _open_all(self) -> list[str]:
        """Open every pair; return a line for each file that cannot be read, where such pairs may be left out."""
        left_out, first = [], None
        for image, label in list(self._labels.items()):
            try:
                infos = read_info(image), read_info(label)
                for file in (image, label) if self.settings.on_unreadable == "skip" else ():
                    if file.suffix.lower() != ".npy":  # a raster's header can be whole while its pixels are cut off
                        read_whole(file)
            except ZooError as error:
                if self.settings.on_unreadable == "stop":
                    raise
                left_out.append(str(error))
                del self._labels[image]
                continue
            pair = self._pairs[image] = make_pair(*infos, self.settings)
            first = first or pair
            if len(pair.bands) != len(first.bands):
                counts = f"has {len(pair.bands)} bands, {first.input} has {len(first.bands)}"
                raise ZooError(f"{image}: {counts}; choose with data.bands")
        return left_out

    def _read(self, pair: Pair, window: Window, label: np.ndarray | None = None) -> Arrays:
        """A window of a patch; only its rows and columns are read. ``label``: that of the whole patch, where known."""
        bands = list(pair.bands) if pair.mask_band is None else [*pair.bands, pair.mask_band]
        with open_reader(pair.input) as reader:
            image = reader.read(window, bands)
        _blank(image, self.settings.input_nodata)
        if pair.mask_band is not None:
            image, mask = image[:-1], image[-1]
            image[:, (mask == 0) | np.isnan(mask)] = np.nan
        if label is None:
            target = self._read_label(pair, window)
        else:
            target = label[:, window.row : window.row + window.height, window.col : window.col + window.width].copy()
        # One cheap pass first: a sum is finite only if all of its terms are, and most patches miss nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(image.sum(axis=0)).all()
        if suspect:
            image[np.isinf(image)] = np.nan
            target[:, np.isnan(image).any(axis=0)] = np.nan
        return {"image": image, "target": target}

    def _read_label(self, pair: Pair, window: Window) -> np.ndarray:
        """The labels of a window (1, h, w), also where the input is missing."""
        with open_reader(pair.label) as reader:
            target = reader.read(window, [pair.target])
        _blank(target, self.settings.label_nodata)
        target[np.isinf(target)] = np.nan
        return target

    def _window(self, pair: Pair, rng: np.random.Generator) -> tuple[Window, np.ndarray | None]:
        """A random window, and the label of the whole patch where it was read to find one that holds a label."""
        height, width, size = pair.grid.height, pair.grid.width, self.crop
        if size is None:
            return _whole(pair), None
        label, at = None, (None, None)
        if self.settings.crop_on_label:
            label = self._read_label(pair, _whole(pair))
            labelled = np.flatnonzero(np.isfinite(label))
            if labelled.size:
                at = divmod(int(labelled[rng.integers(labelled.size)]), width)
        row, col = (_start(length, size, place, rng) for length, place in zip((height, width), at, strict=True))
        return Window(row, col, min(size, height), min(size, width)), label


def _whole(pair: Pair) -> Window:
    return pair.grid.whole


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
