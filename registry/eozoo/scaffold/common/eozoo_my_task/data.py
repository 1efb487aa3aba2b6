"""Images and labels: which files there are, and the windows that training draws from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window
from eozoo_core.train.loading import Draw

from eozoo_my_task.objective import LABELLED, example


class Tiles:
    """The images of a split in DATA_DIR/SPLIT/image and, where the task has labels, DATA_DIR/SPLIT/label.

    Raises ZooError where there are none, or where image and label do not go together.
    """

    def __init__(self, data_dir: Path | None, split: str):
        if data_dir is None:
            raise ZooError(
                "runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds train/, val/, test/)"
            )
        self.folder = Path(data_dir) / split
        self.images = sorted((self.folder / "image").glob("*.tif"))
        if not self.images:
            raise ZooError(f"{self.folder / 'image'}: holds no .tif file")
        self.labels = [self.folder / "label" / file.name for file in self.images] if LABELLED else []
        for file in self.labels:
            if not file.exists():
                raise ZooError(f"{file}: no label for this image; add it, or take the image away")
        with RasterReader(self.images[0]) as reader:
            info = reader.info
        self.bands = tuple(name or f"band {n}" for n, name in zip(info.bands, info.descriptions, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def files(self) -> list[Path]:
        """Every file of the split."""
        return [*self.images, *self.labels]

    def arrays(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return image (C, H, W) in the file's unit and label (1, H, W) or None; float32, NaN = missing."""
        image = _read(self.images[index])
        if len(image) != len(self.bands):
            raise ZooError(f"{self.images[index]}: has {len(image)} bands, {self.images[0].name} {len(self.bands)}")
        if not self.labels:
            return image, None
        label = _read(self.labels[index])[:1]
        if label.shape[1:] != image.shape[1:]:
            raise ZooError(f"{self.labels[index]}: is {label.shape[1:]} pixels, its image {image.shape[1:]}")
        return image, label

    def require_size(self, index: int, image: np.ndarray, size: int) -> None:
        """Raise ZooError where an image (C, H, W) holds no window of ``size`` pixels."""
        if min(image.shape[1:]) < size:
            raise ZooError(f"{self.images[index]}: is smaller than data.crop={size}; lower it")


class Windows:
    """Random windows for training, one per image and epoch; the same seed and epoch give the same window."""

    def __init__(self, tiles: Tiles, size: int, seed: int):
        self._tiles, self._size, self._seed = tiles, size, seed

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        """Return image (C, size, size) and target, flipped and turned at random."""
        random = np.random.default_rng((self._seed, draw.epoch, draw.index))
        image, label = self._tiles.arrays(draw.index)
        self._tiles.require_size(draw.index, image, self._size)
        row, column = (random.integers(side - self._size + 1) for side in image.shape[1:])
        turns, flip = random.integers(4), random.integers(2)

        def cut(array: np.ndarray) -> np.ndarray:
            part = array[:, row : row + self._size, column : column + self._size]
            part = np.rot90(part, turns, axes=(1, 2))
            return np.ascontiguousarray(part[:, :, ::-1] if flip else part)

        return example(cut(image), None if label is None else cut(label), random)


def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """Stack windows to "image" (B, C, h, w) and "target"; "count" is the number of target values, a plain int."""
    image, target = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return {"image": image, "target": target, "count": int(torch.isfinite(target).sum())}


def _read(file: Path) -> np.ndarray:
    with RasterReader(file) as reader:
        return reader.read(Window(0, 0, reader.info.grid.height, reader.info.grid.width))
