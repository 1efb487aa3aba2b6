"""What one would say without any satellite: the usual temperature of the station, day and hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_TERMS = 1 + 4 + 4 + 4  # mean; two harmonics of the day; two of the hour; day times hour
_RIDGE = 1e-2  # per station, in samples: keeps stations with few samples near the mean of all


@dataclass(frozen=True)
class Climatology:
    """Harmonics of day of year and UTC hour, one set for all stations and a correction for each.

    common (13,) and stations {number: (13,)}, degC.
    """

    common: np.ndarray
    stations: dict[int, np.ndarray]

    @classmethod
    def fit(cls, meta: list[tuple], ta: np.ndarray) -> Climatology:
        """Fit by least squares; ``meta`` as in chunks, ``ta`` (N,) degC. Each station is drawn to the common curve."""
        design, stn = _design(meta), np.array([m[1] for m in meta])
        common = _solve(design, ta, 1e-6)
        rest = ta - design @ common
        stations = {int(s): _solve(design[stn == s], rest[stn == s], _RIDGE * 100) for s in np.unique(stn)}
        return cls(common, stations)

    def __call__(self, meta: list[tuple]) -> np.ndarray:
        """Return ``(N,)`` degC; a station that training did not have gets the common curve."""
        design = _design(meta)
        none = np.zeros(_TERMS)
        own = np.stack([self.stations.get(int(m[1]), none) for m in meta])
        return (design * (self.common + own)).sum(axis=1)

    def state(self) -> dict[str, Any]:
        """Everything as plain types, for JSON."""
        return {"common": self.common.tolist(), "stations": {str(k): v.tolist() for k, v in self.stations.items()}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Climatology:
        """Restore what ``state`` returned."""
        return cls(np.array(state["common"]), {int(k): np.array(v) for k, v in state["stations"].items()})


def _design(meta: list[tuple]) -> np.ndarray:
    times = np.array([m[0] for m in meta], "datetime64[m]")
    day = (times - times.astype("datetime64[Y]")).astype(np.float64) / 1440 / 365.25
    hour = (times - times.astype("datetime64[D]")).astype(np.float64) / 1440
    d, h = 2 * np.pi * day, 2 * np.pi * hour
    first = [np.ones(len(times)), np.sin(d), np.cos(d), np.sin(2 * d), np.cos(2 * d)]
    second = [np.sin(h), np.cos(h), np.sin(2 * h), np.cos(2 * h)]
    mixed = [np.sin(d) * np.sin(h), np.sin(d) * np.cos(h), np.cos(d) * np.sin(h), np.cos(d) * np.cos(h)]
    return np.stack([*first, *second, *mixed], axis=1)


def _solve(design: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    gram = design.T @ design + penalty * np.eye(design.shape[1])
    return np.linalg.solve(gram, design.T @ values)
