"""The calibration that level-1B files state, beside the table of ``channels``.

Full-disk files carry gain, offset and band corrections as attributes; files of the KO area, as KMA gives them, carry
none. A file's own numbers are what its counts were made with, so they are taken where it states them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.channels import Channel

_NAMES = {"gain": "DN_to_Radiance_Gain", "offset": "DN_to_Radiance_Offset"}
_ALBEDO, _TBB = "Radiance_to_Albedo_c", ("Teff_to_Tbb_c0", "Teff_to_Tbb_c1", "Teff_to_Tbb_c2")
_RANGE = {"bt": (180.0, 330.0), "rf": (0.0, 1.2)}  # K and albedo: what is compared; beyond it nothing is seen
_ALIKE = {"bt": 0.02, "rf": 5e-4}  # less than a step of one count, in most channels
_ABSURD = {"bt": 5.0, "rf": 0.1}  # no recalibration is so large: the numbers are of another unit or channel
_UNIT = {"bt": "K", "rf": "albedo"}


@dataclass(frozen=True)
class Calibration:
    """How a file's counts become values: ``channel`` with the numbers to use; whether the file states any (of its own);
    ``difference``: the largest from the table, K or albedo, over what is seen on Earth."""

    channel: Channel
    stated: bool
    difference: float


def calibration_of(path: object, table: Channel, attributes: Mapping[str, Any], wanted: str | None) -> Calibration:
    """Decide by a file's attributes. ``wanted``: file, table, or None = the file's unless it is absurd.

    Raises ZooError, one line, where it is absurd, or not numbers.
    """
    stated: dict[str, Any] = {ours: _number(path, attributes, n) for ours, n in _NAMES.items() if n in attributes}
    if table.kind == "rf" and _ALBEDO in attributes:
        stated["albedo"] = _number(path, attributes, _ALBEDO)
    if table.kind == "bt" and all(name in attributes for name in _TBB):
        stated["tbb"] = tuple(_number(path, attributes, name) for name in _TBB)
    if stated.get("gain") == 0:
        raise ZooError(
            f"{path}: states a gain of 0 ({_NAMES['gain']}); set data.calibration=table, or correct the file"
        )
    own = replace(table, **stated)
    difference = _difference(table, own)
    if wanted is None and not difference <= _ABSURD[table.kind]:
        raise ZooError(
            f"{path}: states a calibration up to {difference:.3g} {_UNIT[table.kind]} off the built-in table; set "
            "data.calibration to table or file"
        )
    return Calibration(table if wanted == "table" else own, bool(stated), difference)


def describe(found: Sequence[Calibration], wanted: str | None) -> tuple[str, bool]:
    """Say in one line which calibration a scene's channels get, and whether files and table differ."""
    stated = [c for c in found if c.stated]
    off = [c for c in stated if c.difference > _ALIKE[c.channel.kind]]
    differ = ", ".join(f"{c.channel.name} by up to {c.difference:.2g} {_UNIT[c.channel.kind]}" for c in off)
    if not stated:
        return "built-in table, KMA v3.0; the files state none", False
    if wanted == "table":
        others = f"; the files' differs: {differ}" if off else ""
        return f"built-in table, KMA v3.0, as data.calibration says{others}", bool(off)
    few = "" if len(stated) == len(found) else f" for {len(stated)} of {len(found)} channels, the others' by the table"
    same = f"; the built-in table differs: {differ}" if off else ", equal to the built-in table"
    return f"as the files state it{few}{same}", bool(off)


@lru_cache(maxsize=64)
def _difference(table: Channel, own: Channel) -> float:
    counts = np.arange(2**table.valid_bits)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        known, other = table.calibrate(counts), own.calibrate(counts)
    low, high = _RANGE[table.kind]
    seen = (known >= low) & (known <= high)
    return float(np.nan_to_num(np.abs(other - known)[seen], nan=np.inf).max())


def _number(path: object, attributes: Mapping[str, Any], name: str) -> float:
    value = np.ravel(attributes[name])[0]
    try:
        number = float(value.decode() if isinstance(value, bytes) else value)
    except (ValueError, UnicodeDecodeError):
        number = np.nan
    if not np.isfinite(number):
        raise ZooError(f"{path}: its {name} is {str(value)!r}, not a number; set data.calibration=table, or correct it")
    return number
