"""Which dates of a pixel the network sees: random draws for training, fixed ones for maps. All vectorised.

Random numbers come from a counter-based generator: number t of pixel p is a hash of (key, p, t). So a draw depends on
seed, epoch and pixel only, not on batches, workers or processes, and there is no generator state to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eozoo_barlow_twins.permutation import key32, mix32

if TYPE_CHECKING:
    from eozoo_barlow_twins.settings import Augment, SelectDates


def random_bits(key: int, items: np.ndarray, count: int) -> np.ndarray:
    """Independent uint32 ``(n, count)`` for ``items`` (n,) of any integers, the same for the same key and item."""
    items = np.asarray(items, np.uint64)
    low, high = items.astype(np.uint32), (items >> np.uint64(32)).astype(np.uint32)
    start = mix32(mix32(low ^ np.uint32(key)) + mix32(high ^ np.uint32(key32(key, 1))))
    steps = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B9)).astype(np.uint32)
    return mix32(start[:, None] + steps[None, :])


def random_dates(clear: np.ndarray, size: int, key: int, items: np.ndarray) -> np.ndarray:
    """Draw ``size`` clear dates per pixel without replacement, in order of time; every subset is equally likely.

    clear: (n, T) bool with at least ``size`` True a row; items: (n,) integers that identify the pixels.
    Returns (n, size) int64 positions on the time axis.

    Each clear date gets a random number and the smallest ``size`` win. Number and position share one uint32, so that
    a plain partition, which is faster than one that carries an index along, brings the position with it; at up to 512
    dates the random part has 23 bits.
    """
    dates = clear.shape[1]
    bits = max(1, (dates - 1).bit_length())
    position = np.uint32((1 << bits) - 1)
    numbers = random_bits(key, items, dates)
    numbers >>= np.uint32(1)
    numbers &= ~position
    numbers |= np.arange(dates, dtype=np.uint32)
    numbers |= (~clear).astype(np.uint32) << np.uint32(31)  # cloudy dates come last
    if size < dates:
        numbers = np.partition(numbers, size - 1, axis=1)[:, :size]
    chosen = (numbers & position).astype(np.int64)
    chosen.sort(axis=1)
    return chosen


def even_dates(clear: np.ndarray, size: int, part: int = 0, parts: int = 1) -> np.ndarray:
    """Choose ``size`` clear dates per pixel spread over all of them: the same every time.

    Of the n clear dates of a pixel, numbered from 0, those with numbers floor((k + (part + 1/2) / parts) n / size) for
    k = 0 .. size-1. The ``parts`` selections interleave, and with parts >= n / size they together see every clear
    date. Shapes as in `random_dates`.
    """
    counts = clear.sum(axis=1, dtype=np.int64)
    first = np.cumsum(counts) - counts
    share = (np.arange(size) + (part + 0.5) / parts) / size
    ranks = np.minimum(np.floor(share[None, :] * counts[:, None]).astype(np.int64), counts[:, None] - 1)
    return np.nonzero(clear)[1][first[:, None] + ranks]


@dataclass(frozen=True)
class Dates:
    """What maps and scores see of a series: ``select.passes`` selections of ``size`` clear dates."""

    size: int
    select: SelectDates

    def __call__(self, bands: np.ndarray, clear: np.ndarray, doys: np.ndarray, items: np.ndarray) -> dict:
        """Take them from ``bands (n, T, C)`` where ``clear (n, T)``; doys (T,), items (n,) name the pixels.

        Returns "bands" (n, passes, size, C) float32 and "doys" (n, passes, size) int64.
        """
        parts = [gather(bands, dates, doys) for dates in self.of(clear, items)]
        values, days = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
        return {"bands": values.astype(np.float32), "doys": days.astype(np.int64)}

    def of(self, clear: np.ndarray, items: np.ndarray) -> list[np.ndarray]:
        """Positions on the time axis ``(n, size)`` of each selection."""
        passes = self.select.passes
        if self.select.selection == "even":
            return [even_dates(clear, self.size, number, passes) for number in range(passes)]
        return [random_dates(clear, self.size, key32(self.select.seed, n), items) for n in range(passes)]


def gather(bands: np.ndarray, dates: np.ndarray, doys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the chosen ``dates`` (n, L) of ``bands`` (n, T, C): values (n, L, C) as they are, days of year (n, L)."""
    return bands[np.arange(len(bands))[:, None], dates], doys[dates]


def augment(
    values: np.ndarray, mean: np.ndarray, std: np.ndarray, settings: Augment, key: int, items: np.ndarray
) -> np.ndarray:
    """Change views ``values (n, L, C)`` float32 as the settings say; mean and std (C,) are the bands' statistics.

    The day of a dropped date stays: the view then has the observation before it in its place.
    """
    n, length, channels = values.shape
    if settings.date_dropout:
        drop = _uniform(random_bits(key32(key, 1), items, length)) < settings.date_dropout
        source = np.where(drop, 0, np.arange(length)[None, :])
        values = np.take_along_axis(values, np.maximum.accumulate(source, axis=1)[:, :, None], axis=1)
    if settings.noise:
        u = _uniform(random_bits(key32(key, 2), items, 2 * length * channels)).reshape(2, n, length, channels)
        normal = np.sqrt(-2 * np.log1p(-u[0])) * np.cos(2 * np.pi * u[1])  # Box and Muller 1958
        values = values + (settings.noise * std * normal).astype(np.float32)
    if settings.band_dropout:
        drop = _uniform(random_bits(key32(key, 3), items, channels)) < settings.band_dropout
        values = np.where(drop[:, None, :], mean.astype(np.float32), values)
    return values


def _uniform(bits: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from 32 random bits."""
    return bits * 2.0**-32
