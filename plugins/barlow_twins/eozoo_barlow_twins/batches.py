"""From tile folders to batches of views: shuffled over all tiles, shared by workers and processes, started anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.train.launch import loader_workers

from eozoo_barlow_twins.permutation import key32, permute
from eozoo_barlow_twins.settings import Augment, PixelData
from eozoo_barlow_twins.splits import split_map
from eozoo_barlow_twins.tiles import Tile
from eozoo_barlow_twins.views import augment, gather, random_dates

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_EPOCH, _VIEW, _AUGMENT = 11, 12, 13  # purposes, so that keys never coincide
_CHUNK = 32  # batches whose order is computed at once: small arrays cost more than their numbers
VALIDATION = 2**31  # an "epoch" that training never reaches


class PixelIndex:
    """The usable pixels of one split of some tiles, numbered 0..n-1 in the order of tiles, rows and columns.

    Usable: more than ``data.min_valid`` clear dates, in ``split``, and where ``labels`` are given (class index per tile
    ``(H, W)``, -1 = none) labelled. Holds 4 bytes per pixel; the pixels stay on disk.
    """

    def __init__(self, tiles: list[Tile], data: PixelData, split: int | None, labels: list[np.ndarray] | None = None):
        self.tiles = tiles
        self._pixels = []
        for number, tile in enumerate(tiles):
            use = tile.counts > data.min_valid
            if split is not None:
                use &= split_map(tile, data) == split
            if labels is not None:
                use &= labels[number] >= 0
            self._pixels.append(np.flatnonzero(use).astype(np.uint32))
        self._first = np.concatenate([[0], np.cumsum([len(p) for p in self._pixels])])

    def __len__(self) -> int:
        return int(self._first[-1])

    def groups(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Cut ``numbers`` (n,) by tile: yields tile number, places in ``numbers``, flat pixel numbers in the tile."""
        owner = np.searchsorted(self._first, numbers, side="right") - 1
        for tile in np.unique(owner):
            places = np.flatnonzero(owner == tile)
            yield int(tile), places, self._pixels[tile][numbers[places] - self._first[tile]].astype(np.int64)

    def spread(self, most: int) -> np.ndarray:
        """At most ``most`` pixel numbers, spread evenly over all."""
        n = len(self)
        return np.arange(n) if n <= most else np.floor((np.arange(most) + 0.5) * n / most).astype(np.int64)


@dataclass(frozen=True)
class ViewMaker:
    """Draws views of pixels.

    index: the pixels. bands: names. size: dates in a view. views: how many per pixel. statistics: (mean, std) for the
    augmentations. labels: class index per tile ``(H, W)`` or None.
    """

    index: PixelIndex
    bands: tuple[str, ...]
    size: int
    views: int
    seed: int
    augment: Augment
    statistics: tuple[np.ndarray, np.ndarray]
    labels: list[np.ndarray] | None = None

    def __call__(self, numbers: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        """Views of the pixels ``numbers`` (n,) in ``epoch``.

        bands (V, n, L, C) float32 digital numbers, doys (V, n, L) int64, and with labels: target (n,) int64.
        """
        n = len(numbers)
        bands = np.empty((self.views, n, self.size, len(self.bands)), np.float32)
        doys = np.empty((self.views, n, self.size), np.int64)
        target = np.empty(n, np.int64)
        for number, places, pixels in self.index.groups(numbers):
            tile = self.index.tiles[number]
            series, clear = tile.series(pixels)
            channels = tile.select(self.bands)
            whole = np.array_equal(channels, np.arange(series.shape[2]))
            for view in range(self.views):
                dates = random_dates(clear, self.size, key32(self.seed, epoch, _VIEW, view), numbers[places])
                values, days = gather(series, dates, tile.doys)
                bands[view, places] = values if whole else values[:, :, channels]
                doys[view, places] = days
            if self.labels is not None:
                target[places] = self.labels[number].reshape(-1)[pixels]
        for view in range(self.views if any(self.augment.model_dump(exclude={"mixup"}).values()) else 0):
            key = key32(self.seed, epoch, _AUGMENT, view)
            bands[view] = augment(bands[view], *self.statistics, self.augment, key, numbers)
        return {"bands": bands, "doys": doys} | ({"target": target} if self.labels is not None else {})


class PixelBatches:
    """Batches for ``fit``: every pixel once per epoch in a keyed random order over all tiles.

    A batch holds ``batch_size`` pixels over all processes, process r of n its r-th share; the last, smaller batch is
    left out unless it is the only one.
    """

    def __init__(self, maker: ViewMaker, batch_size: int, fabric: Fabric, runtime: Any):
        self._maker, self._fabric, samples = maker, fabric, len(maker.index)
        self._world, self._rank = fabric.world_size, fabric.global_rank
        world = self._world
        self._batch = min(batch_size, samples - samples % world)
        if self._batch // world < 2:
            raise ZooError(
                f"{samples} usable training pixels are too few for {world} process(es); "
                "lower data.min_valid or look at masks.npy"
            )
        self._workers = loader_workers(runtime, str(fabric.device))
        self._order: tuple[tuple[int, int], np.ndarray] = ((-1, -1), np.empty(0, np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes make batches; only the process of the device needs Fabric."""
        return {**self.__dict__, "_fabric": None}

    def __len__(self) -> int:
        return len(self._maker.index) // self._batch

    def numbers(self, epoch: int, batch: int) -> np.ndarray:
        """Pixel numbers of this process's share of a batch."""
        share = self._batch // self._world
        chunk, place = divmod(batch, _CHUNK)
        if self._order[0] != (epoch, chunk):
            key = key32(self._maker.seed, epoch, _EPOCH)
            first, stop = chunk * _CHUNK * self._batch, min((chunk + 1) * _CHUNK, len(self)) * self._batch
            self._order = (epoch, chunk), permute(np.arange(first, stop), len(self._maker.index), key)
        first = place * self._batch + self._rank * share
        return self._order[1][first : first + share]

    def epoch(self, number: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """Yield batches ``start``, ``start + 1`` ... of an epoch, on the device."""
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(
            _Whole(self, number),
            batch_size=None,
            sampler=range(start, len(self)),
            num_workers=self._workers,
            pin_memory=self._fabric.device.type == "cuda",
            prefetch_factor=4 if self._workers else None,
            # Without one, starting a loader draws from the global generator, and a resumed run would differ.
            generator=torch.Generator().manual_seed(0),
        )
        for batch in loader:
            yield self._fabric.to_device(batch)

    def make(self, epoch: int, batch: int) -> dict[str, np.ndarray]:
        """This process's share of one batch, as arrays."""
        return self._maker(self.numbers(epoch, batch), epoch)


class _Whole:
    """The batches of an epoch as a map-style dataset: one item is one batch."""

    def __init__(self, batches: PixelBatches, epoch: int):
        self._batches, self._epoch = batches, epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, batch: int) -> dict[str, Any]:
        import torch

        made = self._batches.make(self._epoch, batch)
        return {name: torch.from_numpy(a) if isinstance(a, np.ndarray) else a for name, a in made.items()}
