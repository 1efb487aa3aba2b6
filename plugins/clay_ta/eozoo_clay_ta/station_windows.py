"""Anybody's windows around stations, in physical units: what a dataset in the slot ``data.samples`` becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data, in_groups
from eozoo_core.task.registered import Registered

from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.sample_schema import CHANNELS, LSMASK, NAMES, UNITS, Normalisation
from eozoo_clay_ta.static import CLASSES

_COLUMNS = ("time", "lat", "lon", "landcover", "target")


class StationWindows(Data):
    """Samples as ``predict`` takes them, with the temperature "target" in degC; z-scores are made of them in training.

    Opening reads all once: a sample with a gap is left out, as `prepare.patches` does, and said in ``skipped``. A
    station is a place to a hundredth of a degree. Raises ZooError where no sample is complete.
    """

    what = "samples"
    bands, units = NAMES, UNITS
    together = 1024

    def __init__(self, samples: Registered, grid: KoGrid):
        self._samples, self.files, self.root = samples, samples.files, samples.root
        rows, kept = [], []
        for i in range(len(samples)):
            sample = samples.item(i)
            row = [float(sample[name]) for name in _COLUMNS]
            if np.isfinite(sample["image"]).all() and np.isfinite(row).all() and 0 <= row[3] < CLASSES:
                rows.append(row)
                kept.append(i)
        if not kept:
            raise ZooError(f"{samples.name(0)}: this sample and all others miss a value or a land cover of 0..16")
        self._kept, self._columns = kept, dict(zip(_COLUMNS, np.array(rows).T, strict=True))
        gone = len(samples) - len(kept)
        self.skipped = (*samples.skipped, *([f"{gone} of {len(samples)} samples, which have a gap"] if gone else []))
        self._pixels = grid.pixel_of(self._columns["lat"], self._columns["lon"])

    def __len__(self) -> int:
        return len(self._kept)

    def item(self, index: int) -> Arrays:
        """Return "x" (19, 9, 9), "time", "lat", "lon", "landcover" and "target", see `plugin.WINDOWS`."""
        sample = self._samples.item(self._kept[index])
        return {"x": sample["image"], **{name: sample[name] for name in _COLUMNS}}

    def channels(self, indices: Sequence[int], norm: Normalisation) -> np.ndarray:
        """Return the windows of samples as channels in their units, (19, n * 81); they are not scaled by ``norm``."""
        return self.items(indices)["x"].swapaxes(0, 1).reshape(CHANNELS, -1)

    def name(self, index: int) -> str:
        """See `Data.name`."""
        return self._samples.name(self._kept[index])

    def area(self) -> list[float]:
        """See `Data.area`: the box of the stations."""
        lat, lon = self._columns["lat"], self._columns["lon"]
        return [round(float(value), 4) for value in (lon.min(), lat.min(), lon.max(), lat.max())]

    def normalisation(self) -> Normalisation:
        """See `measured`."""
        return measured(self, self._columns["target"])

    def labels(self, norm: Normalisation) -> np.ndarray:
        """Return the temperatures of all samples as z-scores, (N,) float64."""
        return (self._columns["target"] - norm.ta_mean) / norm.ta_std

    def classes(self) -> np.ndarray:
        """Return the land cover of all samples, (N,) 0..16."""
        return self._columns["landcover"].astype(int)

    @property
    def times(self) -> np.ndarray:
        """When every sample was taken, (N,) datetime64 UTC."""
        return self._columns["time"].astype("datetime64[s]")

    def meta(self) -> list[tuple[Any, ...]]:
        """Return (timestamp_utc, stn, pixel_x, pixel_y) of every sample; 375712697 is the station 37.57 N 126.97 E."""
        lat, lon = (np.rint(100 * self._columns[name]).astype(int) for name in ("lat", "lon"))
        columns: Sequence[np.ndarray] = (100_000 * lat + lon % 36_000, *(np.rint(p).astype(int) for p in self._pixels))
        return list(zip(self.times.astype(str).tolist(), *(column.tolist() for column in columns), strict=True))


def measured(data: Data, ta: np.ndarray) -> Normalisation:
    """Return mean and deviation of every channel "x" of ``data`` and of its temperatures ``ta`` (N,) degC.

    The land mask stays 0 and 1; a channel that does not vary is divided by 1. Raises ZooError where no temperature
    differs from another.
    """
    statistics = ChannelStatistics(NAMES)
    for group in in_groups(data, range(len(data))):
        statistics.update(data.items(group)["x"].swapaxes(0, 1))
    if not ta.std() > 0:
        raise ZooError(f"{data.name(0)}: all temperatures are {ta[0]:g} degC; there is nothing to learn")
    mean, std = np.array(statistics.mean), np.array(statistics.std)
    fixed = (np.arange(CHANNELS) == LSMASK) | ~(std > 0)
    mean[LSMASK] = 0
    return Normalisation.of(mean, np.where(fixed, 1, std), ta.mean(), ta.std())
