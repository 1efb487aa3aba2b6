"""Tiles as training samples: input, target, month and biome, the same for the same seed, tile and epoch."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from eozoo_core.errors import ZooError, no_split

from eozoo_prithvi_refine.coordinates import location_in, time_in
from eozoo_prithvi_refine.degradation import degrade
from eozoo_prithvi_refine.settings import DataSettings
from eozoo_prithvi_refine.tile_files import Tile, read_stage1, read_tile


class RefineTiles(torch.utils.data.Dataset):
    """A split of tiles. ``[i]`` or ``[Draw]`` -> input and target (4, h, w) float32 reflectance, month, biome, place,
    time (2,) and location (2,) as in ``coordinates``, NaN = not known.

    A pixel that misses a band in input or target is NaN in both: it enters no loss and no metric. Items by index are
    whole tiles with a degradation fixed per tile; items by Draw are random windows of ``tile_size``, turned, with
    another degradation every epoch.
    """

    def __init__(self, files: list[Path], data: DataSettings, stage1_dir: Path | None = None, seed: int = 0):
        self.files, self._data, self._stage1, self._seed = files, data, stage1_dir, seed
        if stage1_dir is not None:
            self._check_stage1()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, draw: Any) -> dict[str, Any]:
        epoch = getattr(draw, "epoch", None)
        index = getattr(draw, "index", draw)
        path = self.files[index]
        tile = self.tile(index)
        name = zlib.crc32(f"{path.parent.name}/{path.name}".encode())
        random = np.random.default_rng((self._seed, name, 0 if epoch is None else epoch + 1))
        images = [tile.image, *self._stage1_of(path, tile)]
        if epoch is not None:
            images = self._window(path, images, random)
        target = images[0]
        image = images[1] if len(images) > 1 else degrade(target, self._data.degradation, random)
        missing = ~np.isfinite(image + target).all(axis=0)
        image, target = (np.where(missing, np.float32(np.nan), a) for a in (image, target))
        if missing.all():
            raise ZooError(f"{path}: input and target have no valid pixel in common; remove the tile")
        arrays = {"image": torch.from_numpy(image), "target": torch.from_numpy(target)}
        sidecar = path.with_suffix(".json")
        arrays |= {"time": torch.tensor(time_in(tile.meta, sidecar))}
        arrays |= {"location": torch.tensor(location_in(tile.meta, sidecar))}
        return {**arrays, "month": tile.month, "biome": tile.biome, "place": str(tile.meta.get("place", ""))}

    def tile(self, index: int) -> Tile:
        """Read one tile as it is on disk."""
        return read_tile(self.files[index], self._data.default_month, self._data.default_biome)

    def _stage1_of(self, path: Path, tile: Tile) -> list[np.ndarray]:
        return [] if self._stage1 is None else [read_stage1(self.stage1_file(path), tile.image.shape)]

    def stage1_file(self, path: Path) -> Path:
        """Return the stage-1 output of a tile: STAGE1/SPLIT/NAME.npz where it exists, else STAGE1/NAME.npz."""
        by_split = self._stage1 / path.parent.name / path.name
        return by_split if by_split.exists() else self._stage1 / path.name

    def _check_stage1(self) -> None:
        missing = [f for f in self.files if not self.stage1_file(f).exists()]
        if missing:
            raise ZooError(
                f"runtime.stage1_dir {self._stage1}: has no output for {len(missing)} of {len(self.files)} tiles, "
                f"{missing[0].name} for one; run stage 1 on them or leave runtime.stage1_dir out"
            )

    def _window(self, path: Path, images: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
        """Cut a random square with at least one valid pixel and turn it; all images alike."""
        size, (height, width) = self._data.tile_size, images[0].shape[1:]
        if min(height, width) < size:
            raise ZooError(f"{path}: is {height} x {width} px, data.tile_size is {size}; set data.tile_size lower")
        stack = np.stack(images)
        valid = np.isfinite(stack).all(axis=(0, 1))
        row, col = random.integers(0, height - size + 1), random.integers(0, width - size + 1)
        if not valid[row : row + size, col : col + size].any() and valid.any():  # rare: then around a valid pixel
            r, c = np.argwhere(valid)[random.integers(valid.sum())]
            row, col = min(max(r - size // 2, 0), height - size), min(max(c - size // 2, 0), width - size)
        stack = stack[..., row : row + size, col : col + size]
        if self._data.use_augmentation:
            stack = np.rot90(stack, random.integers(4), axes=(-2, -1))
            stack = stack[..., ::-1] if random.integers(2) else stack
        return list(stack)


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples of one size; "count" is their number, known before the device."""
    batch = {key: torch.stack([s[key] for s in samples]) for key in ("image", "target", "time", "location")}
    codes = {key: torch.tensor([s[key] for s in samples]) for key in ("month", "biome")}
    return {**batch, **codes, "count": len(samples)}


def inputs(batch: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the refiner is called with: image, month, biome, time, location."""
    return tuple(batch[key] for key in ("image", "month", "biome", "time", "location"))


def find_tiles(data_dir: Path | None, split: str, limit: int | None = None) -> list[Path]:
    """Return the tiles DATA/SPLIT/**/*.npz, sorted, at most ``limit``. Raises ZooError where there are none."""
    if data_dir is None:
        raise ZooError("runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds train/, val/, test/)")
    folder = Path(data_dir) / split
    splits = [f.name for f in Path(data_dir).glob("[!.]*/")]
    if not folder.is_dir() and splits:
        raise ZooError(no_split(split, data_dir, splits))
    found = sorted(folder.rglob("*.npz")) if folder.is_dir() else []
    if not found:
        raise ZooError(f"{folder}: holds no NPZ tile; make some with 'eozoo prepare prithvi_refine tiles'")
    return found[:limit]


def split_files(data_dir: Path | None, split: str, data: DataSettings) -> list[Path]:
    """Return the tiles of a split that training uses: with ``data.max_samples`` the first, of val a quarter as many."""
    limits = {"train": data.max_samples, "val": data.max_samples and max(1, data.max_samples // 4)}
    return find_tiles(data_dir, split, limits.get(split))


def open_splits(
    data_dir: Path | None, data: DataSettings, stage1_dir: Path | None, seed: int
) -> dict[str, RefineTiles]:
    """Open train, val and, where there is one, test."""
    has_test = data_dir is not None and any((Path(data_dir) / "test").rglob("*.npz"))
    files = {name: split_files(data_dir, name, data) for name in ("train", "val", *(["test"] if has_test else []))}
    return {name: RefineTiles(found, data, stage1_dir, seed) for name, found in files.items()}


def refine_tiles(folder: str, stage1_dir: str | None = None, seed: int = 0) -> RefineTiles:
    """Build the dataset of one folder of tiles with the default settings, for use outside the task."""
    files = sorted(Path(folder).rglob("*.npz"))
    if not files:
        raise ZooError(f"{folder}: holds no NPZ tile")
    return RefineTiles(files, DataSettings(), Path(stage1_dir) if stage1_dir else None, seed)
