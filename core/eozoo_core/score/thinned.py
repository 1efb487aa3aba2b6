"""An even sample of a stream of values: bounded memory, the same for the same stream."""

from __future__ import annotations

import numpy as np

MOST = 3**9  # values kept of each channel, at least a third of it


class Thinned:
    """Every n-th position of what is given, n growing by threes so that at most `MOST` are kept.

    Threes, because rows of images are often a power of two long: the sample would hold some columns only.
    """

    def __init__(self, channels: int):
        self._kept = [np.empty((channels, 0), np.float32)]
        self._step, self._seen, self._count = 1, 0, 0

    def update(self, values: np.ndarray) -> None:
        """Take ``values`` (channels, n); NaN = missing, kept as such."""
        part = values[:, -self._seen % self._step :: self._step]
        self._kept.append(part.astype(np.float32))
        self._seen += values.shape[1]
        self._count += part.shape[1]
        while self._count > MOST:
            self._kept = [np.concatenate(self._kept, axis=1)[:, ::3]]
            self._step, self._count = 3 * self._step, self._kept[0].shape[1]

    @property
    def seen(self) -> int:
        """Positions that were given."""
        return self._seen

    @property
    def values(self) -> np.ndarray:
        """The sample (channels, k) float32, NaN = missing."""
        self._kept = [np.concatenate(self._kept, axis=1)]
        return self._kept[0]

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Quantiles of the values that are there (channels, levels); NaN where none is."""
        out = np.full((len(self._kept[0]), len(levels)), np.nan)
        for row, values in zip(out, self.values, strict=True):
            finite = values[np.isfinite(values)]
            if finite.size:
                row[:] = np.quantile(finite, levels)
        return out
