"""One judgement of values against what training saw: `check`, `train`, `eval` and `infer` ask it. See docs/guard.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eozoo_core.checking.findings import listed, percent
from eozoo_core.checking.units import LENGTHS, Channel, Mistake, likely_mistake, mistakes_of, out_of_range
from eozoo_core.score.quantiles import LEVELS, Thinned, quantiles_of

WIDTHS = 3.0  # widths of what training saw: further away is another unit, not another place
UNLIKE = 0.2  # share of values outside
EVEN = 1e-3  # of training's spread: less is another unit where the median is outside too
FEWEST = 100  # values of a band in training that say something of others
FAR = 100  # training deviations, for runs that keep no quantiles
OFFSET = (0.06, 0.14)  # reflectance: what the darkest hundredth moves by where 0.1 was added or taken away
_LOW, _DARK, _FIVE, _MIDDLE, _MOST, _HIGH = 0, 1, 2, 4, 6, 8  # places in LEVELS
_FILLERS = (-9999.0, -32768.0, -3.4028234663852886e38, -1e30, -99999.0)  # "nothing", wherever they stand
_TOPS = (255.0, 65535.0, 32767.0, 9999.0, 99999.0)  # "nothing", where they stand apart at the top


class Known(Protocol):
    """What training saw of one band or of the label: a `BandSurvey`."""

    name: str
    unit: str
    mean: float
    std: float
    low: float | None
    high: float | None
    count: int
    quantiles: tuple[float, ...]


class Observed:
    """A stream of values (C, n) of some bands: quantiles of an even sample, and how many lie outside what training saw.

    Memory is bounded. Values that are not finite are missing.
    """

    def __init__(self, known: Sequence[Known]):
        self.known = tuple(known)
        seen = [one.quantiles or (-np.inf,) * len(LEVELS) for one in known]
        self._low, self._high = (np.array([q[at] for q in seen], np.float32)[:, None] for at in (_LOW, _HIGH))
        self._high[[not one.quantiles for one in known]] = np.inf
        self._sample = [Thinned(1, 16_384) for _ in known]
        self.count, self.outside = np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Take ``values (C, n)`` in the bands' units."""
        values = values.astype(np.float32, copy=False)
        finite = np.isfinite(values)
        self.count += finite.sum(axis=1)
        self.outside += (((values < self._low) | (values > self._high)) & finite).sum(axis=1)
        for sample, band in zip(self._sample, values, strict=True):
            sample.add(band[None])

    @property
    def quantiles(self) -> np.ndarray:
        """Quantiles at ``LEVELS``, (C, 9) float64; NaN where nothing was seen."""
        return quantiles_of([sample.values[0] for sample in self._sample])

    @property
    def share(self) -> float:
        """Share of all values that lie outside; 0 where nothing was seen."""
        return float(self.outside.sum() / max(self.count.sum(), 1))


@dataclass(frozen=True)
class Compared:
    """One band beside what training saw, ``low`` to ``high``. span: its middle 90 %. outside: share of its values."""

    name: str
    unit: str
    low: float
    high: float
    median: float
    span: tuple[float, float]
    outside: float
    far: bool
    unlike: bool
    mistake: Mistake | None = None

    def __str__(self) -> str:
        unit = f" [{self.unit}]" if self.unit else ""
        wide = self.low <= self.median <= self.high
        has = f"spans {self.span[0]:.4g} to {self.span[1]:.4g}" if wide else f"has median {self.median:.4g}"
        return f"{self.name} {has}, training saw {self.low:.4g} to {self.high:.4g}{unit}"


@dataclass(frozen=True)
class Verdict:
    """What was found of some bands: ``level`` "ok", "warning" or "error" and a line, with what to do."""

    level: str = "ok"
    text: str = ""
    remedy: str = ""
    share: float = 0.0
    bands: tuple[Compared, ...] = field(default_factory=tuple)

    @property
    def line(self) -> str:
        """Text and remedy."""
        return "; ".join(part for part in (self.text, self.remedy) if part)

    def numbers(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [
            {
                "band": one.name,
                "unit": one.unit,
                "training_saw": [one.low, one.high],
                "median": one.median,
                "share_outside": round(one.outside, 6),
                "verdict": "far" if one.far else "unlike" if one.unlike else "ok",
            }
            for one in self.bands
        ]
        return {"verdict": self.level, "message": self.line, "share_outside": round(self.share, 6), "bands": rows}


def judge(observed: Observed) -> Verdict:
    """Compare what was observed with what training saw, by the rule of docs/guard.md."""
    quantiles, known = observed.quantiles, observed.known
    enough = [one.count >= (FEWEST if one.quantiles else 1) for one in known]
    rated = [i for i in range(len(known)) if enough[i] and np.isfinite(quantiles[i, _MIDDLE])]
    if not rated:
        return Verdict()
    if not all(known[i].quantiles for i in rated):
        return _judge_by_deviation([known[i] for i in rated], quantiles[rated])
    shares = observed.outside / np.maximum(observed.count, 1)
    bands = tuple(_compare(known[i], quantiles[i], float(shares[i])) for i in rated)
    far = [one for one in bands if one.far]
    named = [one for one in far if one.mistake is not None and one.unit not in LENGTHS]
    share = observed.share
    if 2 * len(far) > len(bands) or named:
        shown = named or [one for one in far if one.mistake is not None] or far
        text = f"values are not in the units of the training data: {_count(far, bands)} far outside, {shown[0]}"
        mistake = shown[0].mistake
        text += f"; that looks like {mistake.what}" if mistake else ""
        return Verdict("error", text, mistake.remedy if mistake else "look at unit, scale and bands", share, bands)
    if (shift := _offset([known[i] for i in rated], quantiles[rated])) is not None:
        text = f"the darkest pixels of most bands lie {abs(shift):.2g} {'above' if shift > 0 else 'below'} training's"
        what = "not subtracted" if shift > 0 else "subtracted twice"
        return Verdict("warning", text, f"look whether the offset of -1000 (Sentinel-2 from 04.00 on) was {what}",
                       share, bands)  # fmt: skip
    if unlike := [one for one in bands if one.far or one.unlike]:
        worst = max(unlike, key=lambda one: (one.far, one.outside))
        text = f"{_count(unlike, bands)} unlike those of training, {worst} ({percent(worst.outside)} outside)"
        return Verdict("warning", text, "look at the unit, or at how far this place is from those of training",
                       share, bands)  # fmt: skip
    return Verdict("ok", "", "", share, bands)


def judge_labels(label: Known, expected: Channel | None, remedy: str = "mark them as nodata") -> Verdict:
    """Judge the labels of training by their unit and by numbers that mean "nothing"."""
    q = label.quantiles
    if not q or not label.count:
        return Verdict()
    if (filler := _filler_in(label)) is not None:
        return Verdict("error", f"labels hold {filler:g}, which means no label", remedy)
    below = [value for value in q if value != q[-1]]
    if q[-1] in _TOPS and q[-2] == q[-1] and label.high in (None, q[-1]) and below and below[-1] < q[-1] / 3:
        text = f"more than 1 % of the labels are {q[-1]:g} and the others lie below {below[-1]:.4g}"
        return Verdict("error", text, f"{q[-1]:g} usually means no label: {remedy}")
    found = None if expected is None else _beside_its_unit(label, expected)
    return Verdict() if found is None else Verdict("error", f"labels hold {found[0]}", found[1])


def judge_band(band: Known, expected: Channel, remedy: str = "declare it as nodata") -> Verdict:
    """Judge a band of the training data by numbers that mean "nothing" and, as a warning, by its unit."""
    if not band.quantiles or not band.count:
        return Verdict()
    if (filler := _filler_in(band)) is not None:
        return Verdict("error", f"band {band.name} holds {filler:g}, which means missing", remedy)
    found = _beside_its_unit(band, expected)
    return Verdict() if found is None else Verdict("warning", f"band {band.name} holds {found[0]}", found[1])


def _filler_in(known: Known) -> float | None:
    """The number that means "nothing" at the low end of what training saw; None = there is none."""
    ends = (known.quantiles[_LOW], known.quantiles[_DARK], known.low)
    low = {np.float32(end) for end in ends if end is not None}
    return next((value for value in _FILLERS if np.float32(value) in low), None)


def _beside_its_unit(known: Known, expected: Channel) -> tuple[str, str] | None:
    """What values are that cannot be in the unit, and what to do; None = they can."""
    values = np.interp(np.linspace(0, 1, 101), LEVELS, known.quantiles)
    if (reason := out_of_range(expected, values)) is None:
        return None
    mistake = likely_mistake(expected, values)
    looks = f"; that looks like {mistake.what}" if mistake else ""
    return f"{reason}{looks}", mistake.remedy if mistake else "look at their unit"


def _compare(known: Known, quantiles: np.ndarray, outside: float) -> Compared:
    q, median = known.quantiles, float(quantiles[_MIDDLE])
    low, high = q[_LOW], q[_HIGH]
    width = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-12)
    beyond = max(low - median, median - high, 0.0)
    spread, usual = quantiles[_MOST] - quantiles[_FIVE], q[_MOST] - q[_FIVE]
    narrow = beyond > 0 and 0 < spread < EVEN * usual
    logarithm = q[-2] < 0 < quantiles[_DARK] or quantiles[-2] < 0 < q[_DARK]  # power is positive, its dB are not
    far = bool(beyond > WIDTHS * width or spread > WIDTHS * width or narrow)
    unlike = beyond > 0 or outside > UNLIKE
    mistake = _explains(known, quantiles) if far or (logarithm and beyond > 0) else None
    far = far or (mistake is not None and mistake.power != 0)
    span = (float(quantiles[_FIVE]), float(quantiles[_MOST]))
    return Compared(known.name, known.unit, low, high, median, span, outside, far, unlike, mistake)


def _explains(known: Known, quantiles: np.ndarray) -> Mistake | None:
    """The first usual mistake that, put right, brings the middle 90 % into what training saw."""
    low, high = known.quantiles[_LOW], known.quantiles[_HIGH]
    for mistake in mistakes_of(known.unit, low):
        right = mistake.undo(quantiles[[_FIVE, _MOST]])
        if (right >= low).all() and (right <= high).all():
            return mistake
    return None


def _offset(known: Sequence[Known], quantiles: np.ndarray) -> float | None:
    """By how much reflectance the darkest pixels of most reflectance bands moved, where that is about 0.1."""
    shifts = []
    for one, now in zip(known, quantiles, strict=True):
        if not (one.unit.startswith("reflectance") or (not one.unit and re.fullmatch(r"B\d{1,2}A?", one.name))):
            continue
        scale = 1e4 if one.quantiles[_HIGH] > 20 else 1.0
        shifts.append((now[_DARK] - one.quantiles[_DARK]) / scale)
    moved = np.abs(shifts)
    same = (moved > OFFSET[0]) & (moved < OFFSET[1]) & (np.sign(shifts) == np.sign(np.sum(shifts)))
    return float(np.median(np.array(shifts)[same])) if len(shifts) > 1 and 2 * same.sum() > len(shifts) else None


def _judge_by_deviation(known: Sequence[Known], quantiles: np.ndarray) -> Verdict:
    """The rule for runs of old versions, which keep mean and deviation only."""
    median = quantiles[:, _MIDDLE]
    mean, std = np.array([one.mean for one in known]), np.array([one.std for one in known])
    far = np.abs(median - mean) > FAR * std
    if 2 * far.sum() <= far.size:
        return Verdict("ok", "", "")
    i = int(far.argmax())
    text = f"values are not in the units of the training data: {known[i].name} has median {median[i]:.4g}, "
    return Verdict("error", f"{text}trained on {mean[i]:.4g} +- {std[i]:.4g}", "scale it in the same way")


def _count(some: Sequence[Compared], of: Sequence[Compared]) -> str:
    names = listed([one.name for one in some])
    return f"{len(some)} of {len(of)} bands ({names}) are" if len(of) > 1 else f"{names} is"
