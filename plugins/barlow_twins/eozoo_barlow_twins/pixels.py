"""The pixels of tiles as core trains and scores them: views of whole batches at once, shuffled over all tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.errors import NoSplit
from eozoo_core.raster.georeference import area_of
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data
from eozoo_core.task.survey import BandSurvey
from eozoo_core.train.loading import Draw
from eozoo_core.words import counted

from eozoo_barlow_twins.permutation import key32, permute
from eozoo_barlow_twins.settings import Augment, PixelData, SelectDates
from eozoo_barlow_twins.splits import SPLITS, block_numbers, split_map
from eozoo_barlow_twins.survey import UNIT, PixelSurvey
from eozoo_barlow_twins.tiles import Tile, open_tiles, pooled_statistics, processed
from eozoo_barlow_twins.views import Dates, augment, gather, random_dates

_EPOCH, _VIEW, _AUGMENT = 11, 12, 13  # purposes, so that keys never coincide
_CHUNK = 32  # slices of an order that are computed at once: small arrays cost more than their numbers
VALIDATION = 2**31  # an "epoch" that training never reaches
_LOOKED_AT = 2048  # pixels whose values are looked at for quantiles
MEASURED = 16_384  # pixels that statistics of the bands are measured on
MOST = 20_000  # labelled pixels that scores look at, spread evenly


class PixelIndex:
    """The usable pixels of one split of some tiles, numbered 0..n-1 in the order of tiles, rows and columns.

    Usable: more than ``data.min_valid`` clear dates, in ``split``, and where ``labels`` are given (class index per tile
    ``(H, W)``, -1 = none) labelled. Holds 4 bytes per pixel; the pixels stay on disk.
    """

    def __init__(self, tiles: list[Tile], data: PixelData, split: int | None, labels: list[np.ndarray] | None = None):
        self.tiles, self.labels = tiles, labels
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

    def thin(self, share: float, seed: int) -> None:
        """Keep a random ``share`` of the labelled pixels of each class in each tile, at least one."""
        if share == 1:
            return
        random = np.random.default_rng(seed)
        for i, pixels in enumerate(self._pixels):
            target, kept = self.labels[i].reshape(-1)[pixels], []
            for k in np.unique(target):
                mine = pixels[target == k]
                kept.append(random.choice(mine, max(1, round(share * len(mine))), replace=False))
            self._pixels[i] = np.sort(np.concatenate([np.empty(0, np.uint32), *kept])).astype(np.uint32)
        self._first = np.concatenate([[0], np.cumsum([len(p) for p in self._pixels])])

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

    def classes(self, numbers: np.ndarray) -> np.ndarray:
        """Class index of each of the labelled pixels ``numbers``, ``(n,)`` int64."""
        target = np.empty(len(numbers), np.int64)
        for tile, places, pixels in self.groups(numbers):
            target[places] = self.labels[tile].reshape(-1)[pixels]
        return target

    def class_counts(self, classes: int) -> np.ndarray:
        """Labelled pixels of each class, ``(classes,)`` int64."""
        found = [self.labels[i].reshape(-1)[pixels] for i, pixels in enumerate(self._pixels)]
        return sum(np.bincount(one, minlength=classes) for one in found)

    def blocks(self, numbers: np.ndarray, side: int) -> np.ndarray:
        """Number of the spatial unit of each of the pixels ``numbers``, ``(n,)`` int64; those of tiles differ."""
        blocks, base = np.empty(len(numbers), np.int64), 0
        for tile, places, pixels in self.groups(numbers):
            own = block_numbers(self.tiles[tile], side).reshape(-1)
            blocks[places] = base + own[pixels]
            base += int(own.max()) + 1
        return blocks


class Order:
    """A permutation of 0..n-1 that is computed where it is looked at: it may be sliced, and takes no memory."""

    def __init__(self, count: int, key: int):
        self._count, self._key = count, key
        self._first, self._kept = 0, np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: int | slice) -> int | np.ndarray:
        if not isinstance(at, slice):
            return int(permute(np.array([at]), self._count, self._key)[0])
        start, stop, _ = at.indices(self._count)
        if not self._first <= start <= stop <= self._first + len(self._kept):
            end = min(self._count, start + _CHUNK * max(1, stop - start))
            self._first, self._kept = start, permute(np.arange(start, end), self._count, self._key)
        return self._kept[start - self._first : stop - self._first]


@dataclass
class PixelSeries(Data):
    """Pixels of one split, two views of each, or with labels one.

    A batch has "views" (n, V, L, C) float32 digital numbers and "days" (n, V, L) int64, and with labels "target" (n,)
    int64. Draws are random dates of all pixels, the same for a seed, epoch and pixel. Items are ``scored`` pixels:
    without labels two random views that are always the same, with labels the evenly spread dates.

    augmented: what draws are changed by; with mixup they have a third view, which the step fills.
    most:      pixels that scores look at. labels: file of the labels in a tile, "" = none are needed.
    side:      of the blocks where tiles have no fields. raw: items have "raw" (n, F) too, gap-filled series.
    divided:   whether tiles have pixels of several splits. elsewhere: tiles that are whole in another split.
    """

    index: PixelIndex
    survey: PixelSurvey
    seed: int
    augmented: Augment
    most: int
    labels: str = ""
    divided: bool = True
    elsewhere: tuple[str, ...] = ()
    side: int = 16
    raw: bool = False
    what = "pixels"
    together = 2048

    @cached_property
    def scored(self) -> np.ndarray:
        """Numbers of the pixels that scores look at."""
        return self.index.spread(self.most)

    def __len__(self) -> int:
        return len(self.scored)

    @property
    def draws(self) -> int:
        """All pixels."""
        return len(self.index)

    @property
    def told(self) -> str:
        """All pixels, not only those that scores look at."""
        return f"{self.draws:,} {'labelled ' if self.labels else ''}pixels of {counted(len(self.index.tiles), 'tiles')}"

    @property
    def tiles(self) -> list[Tile]:
        """All tiles: each may have pixels of every split."""
        return self.index.tiles

    @property
    def files(self) -> Sequence[Path]:
        """Arrays of the tiles, and their labels where there are any."""
        return [f for t in self.tiles for f in (*t.files, *([t.path / self.labels] if self.labels else []))]

    @cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Mean and standard deviation ``(C,)`` of the bands over the clear dates of this split, and of how many values.

        Where whole tiles belong to it, their own statistics are pooled; else pixels are read, at most ``MEASURED``.
        """
        if not self.divided:
            tiles = [tile for tile in self.tiles if tile.name not in self.elsewhere]
            return (*pooled_statistics(tiles, self.survey.names), sum(int(t.counts.sum(dtype=np.int64)) for t in tiles))
        found = ChannelStatistics(self.survey.names)
        for number, _, pixels in self.index.groups(self.index.spread(MEASURED)):
            tile = self.tiles[number]
            for start in range(0, len(pixels), 2048):  # bounds the memory of whole series
                series, clear = tile.series(pixels[start : start + 2048])
                found.update(series[clear][:, tile.select(self.survey.names)].T)
        found.require_spread(f"{self.tiles[0].path.parent}: training pixels")
        return found.mean, found.std, int(found.count[0])

    def surveyed(self) -> tuple[BandSurvey, ...]:
        """Return the bands with their statistics over clear dates."""
        mean, std, count = self.statistics
        rows = zip(self.survey.names, mean.tolist(), std.tolist(), self.quantiles().tolist(), strict=True)
        return tuple(
            BandSurvey(name=name, unit=UNIT, mean=m, std=s, count=count, quantiles=q) for name, m, s, q in rows
        )

    def quantiles(self) -> np.ndarray:
        """Return quantiles ``(C, 9)`` over the clear dates of some pixels of the split."""
        found = ChannelStatistics(self.survey.names)
        for number, _, pixels in self.index.groups(self.index.spread(_LOOKED_AT)):
            series, clear = self.tiles[number].series(pixels)
            found.update(series[clear][:, self.tiles[number].select(self.survey.names)].T)
        return found.quantiles

    def area(self) -> list[float] | None:
        """See `Data.area`."""
        return area_of(tile.grid for tile in self.tiles)

    def order(self, seed: int, epoch: int) -> Order:
        """See `Data.order`; of any number of pixels in no memory."""
        return Order(self.draws, key32(seed, epoch, _EPOCH))

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """See `Data.batch`. The draws are of one epoch."""
        numbers = np.fromiter((draw.index for draw in draws), np.int64, len(draws))
        return self._with_target(numbers, self._random(numbers, draws[0].epoch, self.augmented))

    def items(self, indices: Sequence[int]) -> Arrays:
        """See `Data.items`."""
        numbers = self.scored[np.asarray(indices, np.int64)]
        if not self.labels:
            return self._random(numbers, VALIDATION, Augment())
        dates = Dates(self.survey.sample_size, SelectDates(passes=1))
        found = chosen(self.index, numbers, self.survey.names, dates)
        return self._with_target(numbers, {"views": found["bands"], "days": found["doys"]} | self._raw(numbers))

    def _raw(self, numbers: np.ndarray) -> Arrays:
        """Series filled between clear dates, as classifiers on raw bands see them; {} where nobody asks."""
        if not self.raw:
            return {}
        from eozoo_barlow_twins.probe import raw_features

        parts = []
        for number, rows, pixels in self.index.groups(numbers):
            tile = self.tiles[number]
            series, clear = tile.series(pixels)
            parts.append((rows, raw_features(series[:, :, tile.select(self.survey.names)], clear, tile.days)))
        width = min(values.shape[1] for _, values in parts)
        out = np.empty((len(numbers), width), np.float32)
        for rows, values in parts:
            out[rows] = values[:, :width]
        codes = np.array([code for code, _ in self.survey.legend])
        return {"raw": out, "code": codes[self.index.classes(numbers)].astype(np.float32)}

    def groups(self, by: str) -> np.ndarray:
        """See `Data.groups`: the blocks or fields of the scored pixels."""
        return self.index.blocks(self.scored, self.side)

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        return {name: values[0] for name, values in self.items([index]).items()}

    def physical(self, index: int, survey: PixelSurvey) -> tuple[np.ndarray, None]:
        """See `Data.physical`: bands come last, and classes are judged elsewhere."""
        arrays = self.item(index)
        return np.moveaxis(arrays["bands" if "bands" in arrays else "views"], -1, 0), None

    def _with_target(self, numbers: np.ndarray, views: Arrays) -> Arrays:
        return views | {"target": self.index.classes(numbers)} if self.labels else views

    def _random(self, numbers: np.ndarray, epoch: int, settings: Augment) -> Arrays:
        views, size, names = 1 if self.labels else 2, self.survey.sample_size, self.survey.names
        places = views + bool(settings.mixup)
        bands = np.zeros((len(numbers), places, size, len(names)), np.float32)
        days = np.ones((len(numbers), places, size), np.int64)
        for number, rows, pixels in self.index.groups(numbers):
            tile = self.tiles[number]
            series, clear = tile.series(pixels)
            channels = tile.select(names)
            whole = np.array_equal(channels, np.arange(series.shape[2]))
            for view in range(views):
                dates = random_dates(clear, size, key32(self.seed, epoch, _VIEW, view), numbers[rows])
                values, days[rows, view] = gather(series, dates, tile.doys)
                bands[rows, view] = values if whole else values[:, :, channels]
        for view in range(views if any(settings.model_dump(exclude={"mixup"}).values()) else 0):
            key = key32(self.seed, epoch, _AUGMENT, view)
            bands[:, view] = augment(bands[:, view], *self.statistics[:2], settings, key, numbers)
        return {"views": bands, "days": days}


def chosen(index: PixelIndex, numbers: np.ndarray, names: tuple[str, ...], dates: Dates) -> Arrays:
    """Return "bands" (n, P, L, C) and "doys" (n, P, L) of the pixels ``numbers`` on the dates that maps would take."""
    shape = (len(numbers), dates.select.passes, dates.size)
    found = {"bands": np.empty((*shape, len(names)), np.float32), "doys": np.empty(shape, np.int64)}
    for number, places, pixels in index.groups(numbers):
        tile = index.tiles[number]
        series, clear = tile.series(pixels)
        for name, values in dates(series[:, :, tile.select(names)], clear, tile.doys, pixels).items():
            found[name][places] = values
    return found


def open_checked(base: str, data: PixelData) -> list[Tile]:
    """Open the tiles of ``data``. Raises ZooError where it keeps a tile for validation or test that is not there."""
    folder = processed(base, data.dataset)
    tiles = open_tiles(folder, data.tiles)
    known = {tile.name for tile in tiles}
    for name in (*data.val_tiles, *data.test_tiles):
        if name not in known:
            raise ZooError(f"{folder}: has no tile {name!r}, which data.val_tiles or data.test_tiles names")
    return tiles


def require_pixels(index: PixelIndex, split: str, folder: Path) -> None:
    """Raise NoSplit where a split has too few pixels to train on or to score."""
    labelled = "labelled " if index.labels is not None else ""
    if split == "train" and len(index) < 2:
        raise ZooError(
            f"{folder}: {len(index)} usable {labelled}training pixels are too few; lower data.min_valid or look at "
            f"masks.npy{' and the labels' if labelled else ''}"
        )
    if len(index) < (1 if labelled else 2):
        raise NoSplit(
            f"{folder}: {len(index)} usable {labelled}pixels in the {split} split are too few; raise "
            f"data.{split}_share or lower data.min_valid{', and check the labels' if labelled else ''}"
        )


def split_number(split: str) -> int | None:
    """The number of a split's name, None for "all". Raises ZooError for an unknown one."""
    from eozoo_core.errors import did_you_mean

    if split == "all":
        return None
    if split not in SPLITS:
        raise ZooError(f"no split {split!r}.{did_you_mean(split, SPLITS)}")
    return SPLITS[split]
