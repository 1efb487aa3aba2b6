"""What one sample is: nineteen channels of 9 x 9 pixels, time, place and land cover, and how they are normalised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run import parsed
from eozoo_core.run.sealed import SEAL, require_sealed, seal
from eozoo_core.run.written import write_text

from eozoo_clay_ta.channels import BT, RF
from eozoo_clay_ta.grid import HALF, WINDOW
from eozoo_clay_ta.static import CLASSES

NAMES = (*(c.name for c in BT), *(c.name for c in RF), "sza", "dem", "lsmask")
CHANNELS = len(NAMES)  # 19
SZA, DEM, LSMASK = 16, 17, 18
UNITS = (*("K" for _ in BT), *("albedo" for _ in RF), "degrees", "m", "1 = land")
KELVIN = 273.15
BUILD = "'eozoo prepare clay_ta build_patches'"
_GROUPS = {"bt": slice(0, 10), "rf": slice(10, 16), "sza": slice(16, 17), "dem": slice(17, 18)}
_UNITS = {"bt": "K", "rf": "albedo", "sza": "degrees", "dem": "m"}


@dataclass(frozen=True)
class Normalisation:
    """mean and std (19,) float32 of the inputs (0 and 1 for lsmask), and of the temperature in degC."""

    mean: np.ndarray
    std: np.ndarray
    ta_mean: float
    ta_std: float

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """``(..., 19, h, w)`` in physical units -> z-scores, float32; NaN stays."""
        return ((x - self.mean[:, None, None]) / self.std[:, None, None]).astype(np.float32)

    def physical(self, windows: np.ndarray) -> np.ndarray:
        """Turn z-scores (N, 19, 9, 9) back into channels in their units, (19, N * 81)."""
        flat = windows.swapaxes(0, 1).reshape(len(self.mean), -1)
        return flat * self.std[:, None] + self.mean[:, None]

    def state(self) -> dict[str, Any]:
        """Everything as plain types, for JSON."""
        return {
            "mean": [float(v) for v in self.mean],
            "std": [float(v) for v in self.std],
            "ta_mean": self.ta_mean,
            "ta_std": self.ta_std,
        }

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], ta_mean: float, ta_std: float) -> Normalisation:
        """Make it of plain numbers."""
        return cls(np.array(mean, np.float32), np.array(std, np.float32), float(ta_mean), float(ta_std))

    def write(self, file: Path) -> Path:
        """Write it with a checksum, as ``read`` reads it."""
        return write_json(file, seal(self.state()))

    @classmethod
    def read(cls, file: Path) -> Normalisation:
        """Read what the samples beside ``file`` were made with. Raises ZooError where that cannot be."""
        content = read_json(file)
        try:
            norm = cls.of(**{key: value for key, value in content.items() if key != SEAL})
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise ZooError(f"{file}: does not hold mean, std, ta_mean and ta_std; run {BUILD}") from None
        require_sealed(file, content, f"run {BUILD}")
        if norm.mean.shape != (CHANNELS,) or not (norm.std > 0).all() or not norm.ta_std > 0:
            raise ZooError(f"{file}: needs {CHANNELS} means, and deviations above 0; run {BUILD}")
        return norm


def windows(fields: np.ndarray, cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Cut ``(N, C, 9, 9)`` around integer (cols, rows) out of ``fields (C, H, W)``; every window must lie inside."""
    view = np.lib.stride_tricks.sliding_window_view(fields, (WINDOW, WINDOW), axis=(1, 2))
    return np.ascontiguousarray(view[:, rows - HALF, cols - HALF].swapaxes(0, 1))


def time7(times: np.ndarray, sza_centre: np.ndarray) -> np.ndarray:
    """``(N, 7)`` float32: sine and cosine of day of year/365.25, UTC hour/24 and month/12, and the centre's SZA.

    ``times``: (N,) datetime64, UTC. ``sza_centre``: (N,) z-score of the solar zenith angle at the window's centre.
    """
    times = np.asarray(times, "datetime64[m]")
    day = (times.astype("datetime64[D]") - times.astype("datetime64[Y]")).astype(np.int64) + 1
    hour = (times - times.astype("datetime64[D]")).astype(np.float64) / 60
    month = times.astype("datetime64[M]").astype(np.int64) % 12 + 1
    angles = 2 * np.pi * np.stack([day / 365.25, hour / 24, month / 12], axis=1)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(times), 6)
    return np.concatenate([pairs, np.asarray(sza_centre)[:, None]], axis=1).astype(np.float32)


def one_hot(classes: np.ndarray) -> np.ndarray:
    """Classes ``(N,)`` 0..16 -> ``(N, 17)`` float32; a class outside has a row of zeros."""
    return (np.asarray(classes)[:, None] == np.arange(CLASSES)).astype(np.float32)


def read_statistics(inputs: Path, ta: Path) -> Normalisation:
    """Read input_statistics_YYYY.json and statistics_YYYY.json.

    Raises ZooError naming file and field for what is missing, NaN, or a standard deviation that is not above 0.
    """
    given = _json(inputs)
    mean, std = np.zeros(CHANNELS, np.float32), np.ones(CHANNELS, np.float32)
    for group, part in _GROUPS.items():
        for name, into in (("mean", mean), ("std", std)):
            into[part] = _numbers(given, inputs, group, name, part.stop - part.start)
    given = _json(ta)
    ta_mean, ta_std = (float(_numbers(given, ta, "ta", name, 1)[0]) for name in ("mean", "std"))
    if given["ta"].get("unit", "degC") == "K":
        ta_mean -= KELVIN
    return Normalisation(mean, std, ta_mean, ta_std)


def write_statistics(norm: Normalisation, inputs: Path, ta: Path, pixels: int, rows: int) -> list[Path]:
    """Write both files as ``read_statistics`` reads them."""
    content = {
        group: {"mean": norm.mean[part].tolist(), "std": norm.std[part].tolist(), "unit": _UNITS[group]}
        for group, part in _GROUPS.items()
    }
    content |= {"channels": list(NAMES), "split": "train", "pixels": pixels}
    of_ta = {"ta": {"mean": norm.ta_mean, "std": norm.ta_std, "unit": "degC", "n": rows, "split": "train"}}
    for path, value in ((inputs, content), (ta, of_ta)):
        write_json(path, value)
    return [inputs, ta]


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically; NaN is refused."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises ZooError where it cannot."""
    return _json(path)


def _json(path: Path) -> Any:
    return parsed.read_json(Path(path), remedy=f"restore it, or run {BUILD}")


def _numbers(given: Any, path: Path, group: str, name: str, n: int) -> np.ndarray:
    try:
        values = np.atleast_1d(np.array(given[group][name], np.float64))
    except (KeyError, TypeError, ValueError):
        raise ZooError(f"{path}: has no numbers under {group!r}, {name!r}") from None
    if values.shape != (n,):
        raise ZooError(f"{path}: {group}.{name} has {values.size} numbers, expected {n}")
    if not np.isfinite(values).all():
        raise ZooError(f"{path}: {group}.{name} holds NaN or infinity; compute the statistics anew")
    if name == "std" and (values <= 0).any():
        raise ZooError(
            f"{path}: {group}.std number {int((values <= 0).argmax()) + 1} is not above 0; the channel is empty"
        )
    return values
