"""95 % intervals from drawing whole groups (places, patches, fields) anew, as wide as few groups demand."""

from __future__ import annotations

import numpy as np


def resampled_interval(
    samples: np.ndarray, estimate: float, groups: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> list[float]:
    """Return [low, high] within ``bounds``.

    samples: (draws,) of a statistic, each over ``groups`` groups drawn with replacement; NaN is left out. estimate: the
    statistic over the groups themselves. Percentiles alone are too narrow: a resample of n groups varies by (n - 1) / n
    of what n groups do, and n groups know their own spread badly. So the ends are moved away from the estimate as far
    as Student's t lies beyond the normal distribution (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).
    """
    ends = np.nanpercentile(samples, [2.5, 97.5])
    return [float(v) for v in np.clip(estimate + _wider(groups) * (ends - estimate), *bounds)]


def _wider(n: int) -> float:
    from scipy.special import ndtri, stdtrit  # quantiles of the normal and of Student's distribution

    return float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975) / ndtri(0.975))
