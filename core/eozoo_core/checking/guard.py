"""Whether data are like those that a network was trained on: one judgement for train, check, eval and infer.

The rule and its reasons stand in docs/guard.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from eozoo_core.checking.findings import listed, percent
from eozoo_core.checking.units import USUAL, Mistake
from eozoo_core.score.thinned import Thinned

LEVELS = np.array([0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
_NORMAL = np.array([-3.0902, -2.3263, -1.6449, -0.6745, 0.0, 0.6745, 1.6449, 2.3263, 3.0902])  # standard normal's
FEWEST = 100  # values of a band that are judged
MANY = 0.05  # share of values outside that is worth a warning
SCALE = 20.0  # times wider or narrower: another scale
FAR, FAR_ALONE = 1.0, 10.0  # widths beyond the extremes; of units with one or two bands


@dataclass(frozen=True)
class Known:
    """What training saw of a band or of the label, in its unit. quantiles: at `LEVELS`."""

    name: str
    unit: str
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, name: str, unit: str, quantiles: Sequence[float], mean: float, std: float) -> Known:
        """Return it; of a run that kept no quantiles with those of a normal distribution."""
        return cls(name, unit, tuple(quantiles) if len(quantiles) else tuple((mean + std * _NORMAL).tolist()))

    @property
    def width(self) -> float:
        """Where 98 % of the training values lie."""
        return self.quantiles[7] - self.quantiles[1]

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.quantiles[0]:.4g} to {self.quantiles[8]:.4g}{unit}"


class Observed:
    """A sample of what is judged: values of ``count`` bands, taken block by block; NaN = missing."""

    def __init__(self, count: int):
        self._sample = Thinned(count)

    def update(self, values: np.ndarray) -> None:
        """Take ``values`` (bands, ...)."""
        self._sample.update(values.reshape(len(values), -1))

    @property
    def values(self) -> np.ndarray:
        """The sample (bands, k) float32."""
        return self._sample.values

    @property
    def seen(self) -> int:
        """Positions that were given, of each band."""
        return self._sample.seen


@dataclass(frozen=True)
class Judgement:
    """What is wrong with data. refusal: one line, "" = none. warnings: a line each.

    outside: share of all values that lie outside what training saw; None = too few to say. bands: by name for scripts.
    """

    refusal: str = ""
    warnings: tuple[str, ...] = ()
    outside: float | None = None
    bands: dict[str, dict[str, Any]] = field(default_factory=dict)


def judge_inputs(known: Sequence[Known], values: np.ndarray) -> Judgement:
    """Judge ``values`` (bands, k), NaN = missing, against what training saw of the bands in the same order."""
    bands = [_Band(k, v[np.isfinite(v)]) for k, v in zip(known, values, strict=True)]
    judged = [band for band in bands if len(band.values) >= FEWEST and band.known.width > 0]
    refusals, warnings = [], []
    for unit, group in groupby(sorted(judged, key=lambda b: b.known.unit), key=lambda b: b.known.unit):
        members = list(group)
        beyond = FAR if len(members) > 2 else FAR_ALONE
        far, odd = [b for b in members if b.is_far(beyond)], [b for b in members if b.is_odd]
        if not odd:
            continue
        worst = max(far or odd, key=lambda b: b.distance)
        text = (
            f"{len(far or odd)} of {len(members)} bands{f' [{unit}]' if unit else ''} are "
            f"{'far from' if far else 'outside'} what training saw ({listed([b.known.name for b in far or odd])}): "
            f"{worst.known.name} has median {worst.median:.4g}, training had {worst.known}"
        )
        mistake = _mistake_of(members)
        text += f"; that looks like {mistake.what}: {mistake.remedy}" if mistake else ""
        (refusals if 2 * len(far) > len(members) else warnings).append(text)
    total = sum(len(band.values) for band in judged)
    outside = sum(band.outside * len(band.values) for band in judged) / total if total else None
    if outside is not None and outside > MANY and not refusals and not warnings:
        most = sorted(judged, key=lambda b: -b.outside)
        warnings.append(f"{percent(outside)} of all values are outside what training saw, most in {most[0].known.name}")
    return Judgement("; ".join(refusals), tuple(warnings), outside, {b.known.name: b.numbers() for b in bands})


def judge_outputs(label: Known, values: np.ndarray) -> Judgement:
    """Judge predictions ``values`` (any shape), NaN = missing, against the labels of training."""
    band = _Band(label, values[np.isfinite(values)])
    if len(band.values) < FEWEST or not label.width > 0:
        return Judgement()
    text = f"{percent(band.outside)} of the predictions are beyond what labels make plausible ({label})"
    refusal, warning = (text, ()) if band.outside > 0.5 else ("", (text,) if band.outside > MANY else ())
    return Judgement(refusal, warning, band.outside, {label.name: band.numbers()})


class _Band:
    """The values of one band that are there, and how they lie to what training saw."""

    def __init__(self, known: Known, values: np.ndarray):
        self.known, self.values = known, values
        found = np.quantile(values, LEVELS) if values.size else np.full(len(LEVELS), np.nan)
        self.median, self._spread = float(found[4]), float(found[6] - found[2])

    @property
    def distance(self) -> float:
        """How many widths of training the median lies beyond its extremes; 0 = not beyond."""
        q = self.known.quantiles
        return max(q[0] - self.median, self.median - q[8], 0.0) / self.known.width

    @property
    def is_odd(self) -> bool:
        """Whether a typical value is rarer than one training value in a thousand."""
        return self.distance > 0

    def is_far(self, beyond: float) -> bool:
        """Whether that is by ``beyond`` widths, or the scale differs too."""
        trained = self.known.quantiles[6] - self.known.quantiles[2]
        other_scale = trained > 0 and not trained / SCALE <= self._spread <= trained * SCALE
        return self.distance > beyond or (self.is_odd and other_scale)

    @property
    def outside(self) -> float:
        """Share of the values that lie outside the extremes of training, half a width added on each side."""
        q, half = self.known.quantiles, self.known.width / 2
        return float(((self.values < q[0] - half) | (self.values > q[8] + half)).mean()) if self.values.size else 0.0

    def numbers(self) -> dict[str, Any]:
        """The same for scripts."""
        median = self.median if self.values.size else None
        return {"median": median, "outside": round(self.outside, 6), "trained": list(self.known.quantiles)}


def _mistake_of(bands: Sequence[_Band]) -> Mistake | None:
    """Return the usual mistake that, undone, brings the medians of all bands back inside; None = none does."""
    for mistake in USUAL:
        q = [band.known.quantiles for band in bands]
        medians = [mistake.undo(band.median) for band in bands]
        if all(low[0] <= median <= low[8] for low, median in zip(q, medians, strict=True)):
            return mistake
    return None
