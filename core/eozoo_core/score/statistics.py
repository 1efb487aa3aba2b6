"""Mean and spread of each channel, pooled over everything seen, with missing values left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.score.thinned import Thinned


class ChannelStatistics:
    """Streaming count, mean, standard deviation, minimum and maximum per channel, in float64; NaN is missing.

    Every value counts once however the data are cut into chunks: these are combined with the parallel update of Chan,
    Golub and LeVeque (1983, "Algorithms for computing the sample variance", eq. 2.1),
    which does not cancel where the mean is large beside the spread. ``names`` are the channels' names for messages.
    """

    def __init__(self, names: Sequence[str]):
        self.names = [str(name) for name in names]
        channels = len(self.names)
        self.count = np.zeros(channels, np.int64)
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)  # sum of squared deviations from the mean
        self._minimum = np.full(channels, np.inf)
        self._maximum = np.full(channels, -np.inf)
        self._sample = Thinned(channels)

    @np.errstate(invalid="ignore", over="ignore")  # infinities are reported by require_spread
    def update(self, values: np.ndarray) -> None:
        """Take ``values (C, ...)`` in the channels' units; NaN = missing. Raises ZooError for a wrong channel count."""
        if values.ndim < 1 or values.shape[0] != len(self.names):
            found = values.shape[0] if values.ndim else 0
            raise ZooError(f"expected {len(self.names)} channels ({', '.join(self.names)}), found {found}")
        flat = np.asarray(values).reshape(len(self.names), -1).astype(np.float64)
        self._sample.update(flat)
        valid = ~np.isnan(flat)
        count = valid.sum(axis=1)
        divisor = np.maximum(count, 1)
        mean = np.where(valid, flat, 0).sum(axis=1) / divisor
        deviation = np.where(valid, flat - mean[:, None], 0)
        # The mean's own rounding is removed from it and from the squares (corrected two-pass algorithm).
        residual = deviation.sum(axis=1) / divisor
        squares = (deviation**2).sum(axis=1) - count * residual**2
        total = self.count + count
        share = count / np.maximum(total, 1)
        difference = mean + residual - self._mean
        self._mean = np.where(count > 0, self._mean + difference * share, self._mean)
        both = self.count * share
        self._squares = self._squares + np.maximum(squares, 0) + np.where(both > 0, difference**2 * both, 0)
        self.count = total
        self._minimum = np.minimum(self._minimum, np.where(valid, flat, np.inf).min(axis=1, initial=np.inf))
        self._maximum = np.maximum(self._maximum, np.where(valid, flat, -np.inf).max(axis=1, initial=-np.inf))

    @property
    def mean(self) -> np.ndarray:
        """Mean per channel ``(C,)`` float64 in the channel's unit; NaN where every value was missing."""
        return np.where(self.count > 0, self._mean, np.nan)

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Quantiles per channel (C, levels) of an even sample; see `Thinned`. NaN where every value was missing."""
        return self._sample.quantiles(levels)

    @property
    def missing(self) -> np.ndarray:
        """Share of missing values per channel (C,); NaN where nothing was given."""
        return 1 - self.count / self._sample.seen if self._sample.seen else np.full(len(self.count), np.nan)

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation (divided by n) per channel ``(C,)``; NaN where every value was missing."""
        return np.where(self.count > 0, np.sqrt(self._squares / np.maximum(self.count, 1)), np.nan)

    @property
    def minimum(self) -> np.ndarray:
        """Smallest value per channel ``(C,)``; NaN where every value was missing."""
        return np.where(self.count > 0, self._minimum, np.nan)

    @property
    def maximum(self) -> np.ndarray:
        """Largest value per channel ``(C,)``; NaN where every value was missing."""
        return np.where(self.count > 0, self._maximum, np.nan)

    def require_spread(self, where: str) -> None:
        """Raise ZooError, beginning with ``where`` (a folder, a split), for channels that cannot be standardised.

        These are channels with no value at all, and channels with one and the same value everywhere.
        """
        missing = [name for name, n in zip(self.names, self.count) if n == 0]
        if missing:
            raise ZooError(f"{where}: every value of channel {', '.join(missing)} is missing; leave it out")
        constant = [f"{n} (always {low:g})" for n, low, high in self._ranges() if low == high]
        if constant:
            raise ZooError(f"{where}: channel {', '.join(constant)} is constant and carries nothing; leave it out")
        infinite = [n for n, low, high in self._ranges() if not np.isfinite([low, high]).all()]
        if infinite:
            raise ZooError(f"{where}: channel {', '.join(infinite)} holds infinite values; mark them as NaN")

    def _ranges(self) -> list[tuple[str, float, float]]:
        return list(zip(self.names, self.minimum, self.maximum))
