"""Quantiles of streams of any length, from an evenly thinned sample of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
MOST = 65_536  # values kept of a channel
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: multiples of it modulo 2**64 lie evenly


def quantiles_of(channels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the quantiles at ``LEVELS`` of the values (n,) of channels, (C, 9) float64; NaN where there are none."""
    found = np.full((len(channels), len(LEVELS)), np.nan)
    for size in {one.size for one in channels} - {0}:  # those of one size in one go: many small calls cost more
        rows = [i for i, one in enumerate(channels) if one.size == size]
        ordered = np.sort(np.stack([channels[i] for i in rows]), axis=1)  # numpy's quantiles then take a third
        found[rows] = np.quantile(ordered.astype(np.float64), LEVELS, axis=1).T
    return found


class Thinned:
    """At most ``MOST`` pixels (columns) of a stream of arrays (C, n), spread evenly and the same each time.

    The column at position p is kept while (p * 2**64 / golden ratio) modulo 2**64 lies below a limit, which halves
    whenever too many are kept: Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4). Its gaps are
    nearly equal and do not fall in step with the rows of an image. What is kept does not depend on how the stream was
    cut. Of one channel only the values that are there are counted, as labels may be sparse.
    """

    def __init__(self, channels: int, most: int = MOST):
        self._channels, self._most = channels, most
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._limit, self._position, self._held = 2**64 - 1, 0, 0

    def add(self, values: np.ndarray) -> None:
        """Take ``values (C, n)``; NaN = missing."""
        if self._channels == 1 and not (there := np.isfinite(values[0])).all():
            values = values[:, there]
        count = values.shape[1]
        keys = np.arange(self._position, self._position + count, dtype=np.uint64) * _GOLDEN
        self._position += count
        self._keep(keys, values)
        if self._held > 2 * self._most:
            self._compact()

    @property
    def values(self) -> np.ndarray:
        """What is kept, ``(C, at most MOST)`` float32, in the order of the stream."""
        self._compact()
        return self._parts[0][1] if self._parts else np.empty((self._channels, 0), np.float32)

    def quantiles(self) -> np.ndarray:
        """Return the quantiles at ``LEVELS`` per channel, ``(C, 9)`` float64; NaN where every value was missing."""
        return quantiles_of([values[np.isfinite(values)] for values in self.values])

    def _keep(self, keys: np.ndarray, values: np.ndarray) -> None:
        if self._limit < 2**64 - 1:
            chosen = keys <= np.uint64(self._limit)
            keys, values = keys[chosen], values[:, chosen]
        if keys.size:
            self._parts.append((keys, values.astype(np.float32)))
            self._held += keys.size

    def _compact(self) -> None:
        while self._held > self._most or len(self._parts) > 1:
            if self._held > self._most:
                self._limit //= 2
            keys = np.concatenate([keys for keys, _ in self._parts])
            values = np.concatenate([values for _, values in self._parts], axis=1)
            self._parts, self._held = [], 0
            self._keep(keys, values)
