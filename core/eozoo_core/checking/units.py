"""What values of a unit look like, and what a file in another unit looks like."""

from __future__ import annotations

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
    """A usual mistake with a unit: value * factor + offset puts it right; ``what`` it is and what to do about it."""

    what: str
    factor: float
    offset: float
    remedy: str
    power: int = 0  # 1: values are decibels where power is right, -1: power where decibels are right

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Put values right; NaN where the logarithm has none."""
        if self.power > 0:
            return 10 ** (np.minimum(values, 300) / 10)
        if self.power < 0:
            return 10 * np.log10(np.where(values > 0, values, np.nan))
        return np.asarray(values, np.float64) * self.factor + self.offset


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
_TYPICAL = {"reflectance": 0.3, "reflectance 0..1": 0.3, "reflectance x 10000": 3000.0, "albedo": 0.3}
_MISTAKES |= {"reflectance 0..1": _MISTAKES["reflectance"], "albedo": (_PERCENT, _TEN_THOUSANDS)}
_MISTAKES["(dB + 30) / 30"] = (Mistake("decibels", 1 / 30, 1, "add 30 and divide by 30"),)
LENGTHS = ("m", "km", "cm")  # units of inputs, as elevation, that differ between places by any factor
_DECIBELS = Mistake("decibels where training saw linear power", 1, 0, "convert with 10 ** (dB / 10)", 1)
_LINEAR = Mistake("linear power where training saw decibels", 1, 0, "convert with 10 * log10(power)", -1)
_FACTORS = (
    _TEN_THOUSANDS,
    Mistake("divided by 10000 once too often", 1e4, 0, "multiply by 10000"),
    Mistake("per cent", 0.01, 0, "divide by 100"),
    Mistake("divided by 100", 100, 0, "multiply by 100"),
    Mistake("bytes (0..255)", 1 / 255, 0, "divide by 255"),
)


def mistakes_of(unit: str, low: float) -> tuple[Mistake, ...]:
    """Return the usual mistakes with a unit, the most usual first; ``low``: nearly the smallest value that is right.

    Of a band without unit, factors; where all values are positive decibels for linear power, else the reverse.
    """
    known = _MISTAKES.get(unit, _FACTORS if not unit else ())
    if unit == "dB":
        return (_LINEAR,)
    return (*known, *((_DECIBELS if low >= 0 else _LINEAR,) if unit in ("", "1") else ()))


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
        right = mistake.undo(values)
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
