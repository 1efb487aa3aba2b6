"""Tiles as training samples: input, target, month and biome, the same for the same seed, tile and epoch."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError, no_split
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data
from eozoo_core.train.loading import Draw

from eozoo_prithvi_refine.coordinates import location_in, time_in
from eozoo_prithvi_refine.degradation import degrade
from eozoo_prithvi_refine.settings import BANDS, UNIT, DataSettings
from eozoo_prithvi_refine.tile_files import Tile, read_sidecar, read_stage1, read_tile

if TYPE_CHECKING:
    from eozoo_core.checking import Findings


class Tiles(Data):
    """A split of tiles: opt_v1 and target (4, h, w) float32 reflectance, month and biome (), time and location (2,) as
    in ``coordinates``; NaN = not known.

    A pixel that misses a band in input or target is NaN in both: it enters no loss and no metric. Items are whole tiles
    with a degradation fixed per tile; draws are random windows of ``tile_size``, turned, with another degradation every
    epoch. A subclass opens a tile. ``codes``, for ``check``, counts months and biomes of the items read.
    """

    what = "tiles"
    bands, units = BANDS, (UNIT,) * 4

    def __init__(self, data: DataSettings, seed: int, lenient: bool):
        self._data, self._seed = data, seed
        self.codes: Counter[str] | None = Counter() if lenient else None

    def open(self, index: int, epoch: int | None) -> tuple[str, list[np.ndarray], Arrays]:
        """Return a name that seeds what is drawn, target and, where there is one, input (4, H, W), and the rest."""
        raise NotImplementedError(f"{type(self).__name__} has no open(index, epoch)")

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        found = self._sample(index, None)
        if self.codes is not None:
            self.codes.update(f"{name} {int(found[name])}" for name in ("month", "biome"))
        return found

    def draw(self, draw: Draw) -> Arrays:
        """See `Data.draw`."""
        return self._sample(draw.index, draw.epoch)

    def count(self, batch: Arrays) -> int:
        """Tiles: each counts the same, however many of its pixels are there."""
        return len(batch["target"])

    def place(self, index: int) -> str:
        """Return the name of the place of a tile, "" where nobody says it."""
        return ""

    def _sample(self, index: int, epoch: int | None) -> Arrays:
        key, images, rest = self.open(index, epoch)
        random = np.random.default_rng((self._seed, zlib.crc32(key.encode()), 0 if epoch is None else epoch + 1))
        if epoch is not None:
            images = self._window(index, images, random)
        target = images[0]
        image = images[1] if len(images) > 1 else degrade(target, self._data.degradation, random)
        missing = ~np.isfinite(image + target).all(axis=0)
        image, target = (np.where(missing, np.float32(np.nan), a) for a in (image, target))
        if missing.all():
            raise ZooError(f"{self.name(index)}: input and target have no valid pixel in common; remove the tile")
        return {"opt_v1": image, "target": target, **rest}

    def _window(self, index: int, images: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
        """Cut a random square with at least one valid pixel and turn it; all images alike."""
        size, (height, width) = self._data.tile_size, images[0].shape[1:]
        if min(height, width) < size:
            raise ZooError(
                f"{self.name(index)}: is {height} x {width} px, data.tile_size is {size}; set data.tile_size lower"
            )
        return cut(images, size, random, self._data.use_augmentation)


class RefineTiles(Tiles):
    """NPZ tiles. ``lenient``: without stage 1 where some of its outputs are missing, which `problems` tells."""

    def __init__(
        self,
        files: list[Path],
        data: DataSettings,
        stage1_dir: Path | None = None,
        seed: int = 0,
        lenient: bool = False,
    ):
        super().__init__(data, seed, lenient)
        self.files = self.input_files = files
        self._stage1, self._missing = stage1_dir, ""
        try:
            self._check_stage1()
        except ZooError as error:
            if not lenient:
                raise
            self._stage1, self._missing = None, str(error)

    def __len__(self) -> int:
        return len(self.files)

    def open(self, index: int, epoch: int | None) -> tuple[str, list[np.ndarray], Arrays]:
        """See `Tiles.open`."""
        path, tile = self.files[index], self.tile(index)
        sidecar = path.with_suffix(".json")
        pairs = {"time": time_in(tile.meta, sidecar), "location": location_in(tile.meta, sidecar)}
        codes = {"month": np.float32(tile.month), "biome": np.float32(tile.biome)}
        rest = {**codes, **{name: np.array(pair, np.float32) for name, pair in pairs.items()}}
        return f"{path.parent.name}/{path.name}", [tile.image, *self._stage1_of(path, tile)], rest

    def tile(self, index: int) -> Tile:
        """Read one tile as it is on disk."""
        return read_tile(self.files[index], self._data.default_month, self._data.default_biome)

    def place(self, index: int) -> str:
        """Return the name of the place that a tile's sidecar gives, "" where it gives none."""
        return str(read_sidecar(self.files[index]).get("place", ""))

    def groups(self, by: str) -> list[str] | None:
        """See `Data.groups`: places by name, of tiles without one by themselves; months by their number."""
        if by == "months":
            return [str(self.tile(i).month) for i in range(len(self))]
        return [self.place(i) or str(file) for i, file in enumerate(self.files)] if by == "places" else None

    def pick(self, others: Sequence[RefineTiles], rows: np.ndarray) -> RefineTiles:
        """See `Data.pick`."""
        files = [file for one in others for file in one.files]
        return type(self)([files[row] for row in rows], self._data, self._stage1, self._seed)

    def problems(self, findings: Findings, split: str) -> None:
        """Tell which stage-1 outputs are missing and how many sidecars cannot be read."""
        if self._missing:
            findings.error(f"{split}: stage 1", self._missing)
        bad = []
        for file in self.files:
            try:
                read_sidecar(file)
            except ZooError as error:
                bad.append(str(error))
        if bad:
            findings.error(f"{split}: sidecars", f"{len(bad):,} of {len(self.files):,} cannot be read: {bad[0]}")

    def _stage1_of(self, path: Path, tile: Tile) -> list[np.ndarray]:
        return [] if self._stage1 is None else [read_stage1(self.stage1_file(path), tile.image.shape)]

    def stage1_file(self, path: Path) -> Path:
        """Return the stage-1 output of a tile: STAGE1/SPLIT/NAME.npz where it exists, else STAGE1/NAME.npz."""
        by_split = self._stage1 / path.parent.name / path.name
        return by_split if by_split.exists() else self._stage1 / path.name

    def _check_stage1(self) -> None:
        missing = [f for f in self.files if not self.stage1_file(f).exists()] if self._stage1 is not None else []
        if missing:
            raise ZooError(
                f"runtime.stage1_dir {self._stage1}: has no output for {len(missing)} of {len(self.files)} tiles, "
                f"{missing[0].name} for one; run stage 1 on them or leave runtime.stage1_dir out"
            )


def cut(images: list[np.ndarray], size: int, random: np.random.Generator, turn: bool) -> list[np.ndarray]:
    """Cut the same random square of ``size`` px out of all images (4, H, W), with a valid pixel where there is one."""
    height, width = images[0].shape[1:]
    stack = np.stack(images)
    valid = np.isfinite(stack).all(axis=(0, 1))
    row, col = random.integers(0, height - size + 1), random.integers(0, width - size + 1)
    if not valid[row : row + size, col : col + size].any() and valid.any():  # rare: then around a valid pixel
        r, c = np.argwhere(valid)[random.integers(valid.sum())]
        row, col = min(max(r - size // 2, 0), height - size), min(max(c - size // 2, 0), width - size)
    stack = stack[..., row : row + size, col : col + size]
    if turn:
        stack = np.rot90(stack, random.integers(4), axes=(-2, -1))
        stack = stack[..., ::-1] if random.integers(2) else stack
    return list(stack)


def find_tiles(data_dir: Path | None, split: str, limit: int | None = None) -> list[Path]:
    """Return the tiles DATA/SPLIT/**/*.npz, sorted, at most ``limit``. Raises ZooError where there are none."""
    if data_dir is None:
        raise ZooError("runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds train/, val/, test/)")
    folder = Path(data_dir) / split
    splits = [f.name for f in Path(data_dir).glob("[!.]*/")]
    if not folder.is_dir() and splits:
        raise no_split(split, data_dir, splits)
    found = sorted(folder.rglob("*.npz")) if folder.is_dir() else []
    if not found:
        raise ZooError(f"{folder}: holds no NPZ tile; make some with 'eozoo prepare prithvi_refine tiles'")
    return found[:limit]


def split_files(data_dir: Path | None, split: str, data: DataSettings) -> list[Path]:
    """Return the tiles of a split that training uses, see `most_of`."""
    return find_tiles(data_dir, split, most_of(split, data))


def most_of(split: str, data: DataSettings) -> int | None:
    """Return how many samples of a split are used: with ``data.max_samples`` so many, of val a quarter; None = all."""
    return {"train": data.max_samples, "val": data.max_samples and max(1, data.max_samples // 4)}.get(split)


def has_tiles(data_dir: Path | None, split: str) -> bool:
    """Whether there is any tile of a split."""
    return data_dir is not None and any((Path(data_dir) / split).rglob("*.npz"))


class ImagePairs(RefineTiles):
    """Whole tiles under the roles that datasets of images have everywhere: "image" and "target"."""

    def _sample(self, index: int, epoch: int | None) -> Arrays:
        arrays = super()._sample(index, epoch)
        return {"image": arrays.pop("opt_v1"), **arrays}

    def _window(self, index: int, images: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
        return images


def refine_tiles(folder: str, stage1_dir: str | None = None, seed: int = 0, split: str = "") -> ImagePairs:
    """Open the tiles of a folder, or of FOLDER/SPLIT, with the default settings; each is whole."""
    files = find_tiles(Path(folder), split) if split else sorted(Path(folder).rglob("*.npz"))
    if not files:
        raise ZooError(f"{folder}: holds no NPZ tile")
    return ImagePairs(files, DataSettings(), Path(stage1_dir) if stage1_dir else None, seed)
