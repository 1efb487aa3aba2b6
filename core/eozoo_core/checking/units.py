"""What values of a unit look like, and what a file in another unit looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Channel:
    """One band of the input, or the label: its name, its unit, and what is plausible in it.

    low, high: nearly all values of any real file lie between them; None = not known.
    least:     some values of any real file lie above this; None = not known.
    mean, std: statistics that the task is given for it; None = there are none.
    shown:     name of a matplotlib colour map for the preview.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    least: float | None = None
    mean: float | None = None
    std: float | None = None
    shown: str = "viridis"

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Mistake:
    """A usual mistake with a unit: value * factor + offset puts it right; ``what`` it is and what to do about it.

    decibels: "to" and "from" convert power instead.
    """

    what: str
    factor: float
    offset: float
    remedy: str
    decibels: str = ""

    def undo(self, value: float) -> float:
        """Return the value put right; NaN where it has no logarithm."""
        if self.decibels == "to":
            return 10 * math.log10(value) if value > 0 else math.nan
        return 10 ** (min(value, 100) / 10) if self.decibels == "from" else value * self.factor + self.offset


# unit as tasks and GeoTIFFs write it -> low, high, least. Limits are wide: they part units, not good from bad weather.
_RANGES: dict[str, tuple[float, float, float | None]] = {
    "reflectance": (-0.2, 1.6, 0.005),
    "reflectance 0..1": (-0.2, 1.6, 0.005),
    "reflectance x 10000": (0, 20_000, 50),
    "albedo": (-0.2, 1.6, None),
    "K": (150, 360, None),
    "degC": (-90, 65, None),
    "m": (-500, 9000, None),
    "Mg/ha": (0, 1500, None),
    "dB": (-60, 20, None),
    "degrees": (-360, 360, None),
    "1": (-1e3, 1e3, None),
}
_PERCENT = Mistake("per cent", 0.01, 0, "divide by 100")
_TEN_THOUSANDS = Mistake("digital numbers (x 10000)", 1e-4, 0, "divide by 10000")
_MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "reflectance": (
        _PERCENT,
        Mistake("bytes (0..255)", 1 / 255, 0, "take the product in reflectance, or divide by 255"),
        _TEN_THOUSANDS,
        Mistake("divided by 10000 once too often", 1e4, 0, "multiply by 10000"),
    ),
    "reflectance x 10000": (
        Mistake("reflectance 0..1", 1e4, 0, "multiply by 10000"),
        Mistake("per cent", 100, 0, "multiply by 100"),
    ),
    "K": (
        Mistake("degrees Celsius", 1, 273.15, "add 273.15"),
        Mistake("hundredths of a kelvin", 0.01, 0, "divide by 100"),
        Mistake("tenths of a kelvin", 0.1, 0, "divide by 10"),
    ),
    "degC": (
        Mistake("kelvin", 1, -273.15, "subtract 273.15"),
        Mistake("degrees Fahrenheit", 5 / 9, -160 / 9, "convert with (F - 32) * 5 / 9"),
        Mistake("tenths of a degree", 0.1, 0, "divide by 10"),
    ),
    "m": (
        Mistake("centimetres", 0.01, 0, "divide by 100"),
        Mistake("decimetres", 0.1, 0, "divide by 10"),
        Mistake("millimetres", 0.001, 0, "divide by 1000"),
    ),
    "Mg/ha": (
        Mistake("g/m2", 0.01, 0, "divide by 100"),
        Mistake("kg/ha", 0.001, 0, "divide by 1000"),
    ),
    "degrees": (Mistake("hundredths of a degree", 0.01, 0, "divide by 100"),),
}
# Whatever the unit is: tried on the medians of bands that lie outside what training saw, the most usual first.
USUAL = (
    _TEN_THOUSANDS,
    Mistake("divided by 10000 once too often", 1e4, 0, "multiply by 10000"),
    Mistake("0.1 too much (Sentinel-2's offset of baseline 04.00 and later)", 1, -0.1, "subtract 0.1"),
    Mistake("1000 too much (Sentinel-2's offset of baseline 04.00 and later)", 1, -1000, "subtract 1000"),
    Mistake("linear power", 1, 0, "convert it to dB: 10 log10(value)", "to"),
    Mistake("decibels", 1, 0, "convert it to power: 10^(value / 10)", "from"),
    _PERCENT,
    Mistake("divided by 100 once too often", 100, 0, "multiply by 100"),
    Mistake("kelvin", 1, -273.15, "subtract 273.15"),
    Mistake("degrees Celsius", 1, 273.15, "add 273.15"),
    Mistake("ten times too large", 0.1, 0, "divide by 10"),
    Mistake("ten times too small", 10, 0, "multiply by 10"),
)
_TYPICAL = {"reflectance": 0.3, "reflectance 0..1": 0.3, "reflectance x 10000": 3000.0, "albedo": 0.3}
_MISTAKES |= {"reflectance 0..1": _MISTAKES["reflectance"], "albedo": (_PERCENT, _TEN_THOUSANDS)}


def channel(name: str, unit: str = "") -> Channel:
    """Return a channel with the plausible range of its unit; without one where the unit says nothing."""
    low, high, least = _RANGES.get(unit, (None, None, None))
    return Channel(name, unit, low, high, least)


def out_of_range(channel: Channel, values: np.ndarray) -> str | None:
    """Say in a few words why ``values`` (any shape, NaN = missing) cannot be in the channel's unit; None if they can.

    Looks at the 2nd and 98th percentile: single odd pixels are not a wrong unit.
    """
    bottom, top = _ends(values)
    if np.isnan(bottom):
        return None
    if channel.low is not None and channel.high is not None and (bottom < channel.low or top > channel.high):
        unit = f" [{channel.unit}]" if channel.unit else ""
        return f"{bottom:.4g} to {top:.4g} where {channel.low:g} to {channel.high:g}{unit} is plausible"
    if channel.least is not None and max(abs(bottom), abs(top)) < channel.least:
        return f"{bottom:.4g} to {top:.4g}, too little for [{channel.unit}]"
    return None


def likely_mistake(channel: Channel, values: np.ndarray) -> Mistake | None:
    """Return the usual mistake that, put right, brings ``values`` into the channel's range; None where none does.

    Where several do: the most usual of those that bring the 98th percentile within a factor of 10 of what is typical.
    """
    found = []
    for mistake in _MISTAKES.get(channel.unit, ()):
        right = np.asarray(values, np.float64) * mistake.factor + mistake.offset
        if out_of_range(channel, right) is None:
            typical = _TYPICAL.get(channel.unit)
            far = abs(np.log10(max(_ends(right)[1], 1e-9) / typical)) if typical else 0.0
            found.append((max(far, 1.0), len(found), mistake))
    return min(found)[2] if found else None


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of what is finite; NaN where nothing is."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2, 98])
    return float(low), float(high)
