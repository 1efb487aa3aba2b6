"""Anybody's pairs of images: what a dataset in the slot ``data.dataset`` becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.task import Arrays
from eozoo_core.task.data import stack
from eozoo_core.task.registered import Registered
from eozoo_core.train.loading import Draw

from eozoo_prithvi_refine.data import Tiles, cut
from eozoo_prithvi_refine.settings import BIOMES, DataSettings
from eozoo_prithvi_refine.tile_files import check_reflectance, within

if TYPE_CHECKING:
    from eozoo_core.checking import Findings
    from eozoo_core.raster.georeference import Grid


class GivenTiles(Tiles):
    """Samples of a dataset that ``data.dataset`` names: "target", its "image" as input, and what `plugin.PAIR` lists.

    Of one smaller than ``data.tile_size`` the largest square. ``most``: how many are used, None = all.
    """

    def __init__(self, samples: Registered, data: DataSettings, seed: int, lenient: bool, most: int | None):
        super().__init__(data, seed, lenient)
        self._samples, self._count = samples, min(len(samples), most or len(samples))
        self.files, self.root, self.skipped, self.what = samples.files, samples.root, samples.skipped, samples.what
        self.input_files = samples.input_files[: self._count]

    def __len__(self) -> int:
        return self._count

    def open(self, index: int, epoch: int | None) -> tuple[str, list[np.ndarray], Arrays]:
        """See `Tiles.open`. Raises ZooError for what is not reflectance, and for a sample without month or biome."""
        sample = self._samples.item(index) if epoch is None else self._samples.draw(Draw(index, epoch))
        images = [np.where(np.isfinite(sample[role]), sample[role], np.nan) for role in ("target", "image")]
        for image in images:
            check_reflectance(self.name(index), image)
        codes = {"month": self._code(index, sample, "month"), "biome": self._code(index, sample, "biome")}
        return str(index), images, {**codes, "time": sample["time"], "location": sample["location"]}

    def name(self, index: int) -> str:
        """See `Data.name`."""
        return self._samples.name(index)

    def grid(self, index: int) -> Grid | None:
        """See `Data.grid`."""
        return self._samples.grid(index)

    def problems(self, findings: Findings, split: str) -> None:
        """See `Data.problems`."""
        self._samples.problems(findings, split)

    def _code(self, index: int, sample: Arrays, name: str) -> np.float32:
        setting = f"default_{name}"
        value = float(sample[name]) if np.isfinite(sample[name]) else getattr(self._data, setting)
        if value is None:
            raise ZooError(f"{self.name(index)}: has no {name!r}; set data.{setting}")
        low, high = (1, 12) if name == "month" else (0, BIOMES - 1)
        return np.float32(within(self.name(index), name, value, low, high))

    def _window(self, index: int, images: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
        side = min(self._data.tile_size, *images[0].shape[1:])
        return cut(images, side, random, self._data.use_augmentation)

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """See `Data.batch`. Raises ZooError where images of one batch are of several sizes."""
        found = [self.draw(draw) for draw in draws]
        if len(sizes := {sample["target"].shape[1:] for sample in found}) > 1:
            told = " and ".join(f"{h} x {w}" for h, w in sorted(sizes))
            raise ZooError(
                f"{self.name(draws[0].index)}: {told} px in one batch; set data.tile_size to the smallest side"
            )
        return stack(found)
