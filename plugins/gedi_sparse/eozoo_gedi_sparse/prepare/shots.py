"""Shots as columns: what a granule or a table says about each footprint, and their small file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.run.checkpoint import write_atomic

# Columns that filters read; each is float64 and NaN where missing. A product has some of them.
OPTIONAL = ("quality", "degrade", "standard_error", "sensitivity", "tree_cover", "solar_elevation", "days", "power")


@dataclass(frozen=True)
class Shots:
    """n footprints: lon, lat (n,) float64 degrees WGS 84; value (n,) float32 in ``unit``, NaN = none; more columns.

    ``columns``: name -> (n,) float64, NaN = missing: quality 0/1, degrade 0 = good, standard_error in the unit,
    sensitivity 0..1, tree_cover percent, solar_elevation degrees, days since 1970-01-01 UTC, power 1 = full-power beam.
    """

    lon: np.ndarray
    lat: np.ndarray
    value: np.ndarray
    quantity: str
    unit: str
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lon)

    def keep(self, chosen: np.ndarray) -> Shots:
        """Return the shots where ``chosen`` (n,) bool is true."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Shots(self.lon[chosen], self.lat[chosen], self.value[chosen], self.quantity, self.unit, columns)


def unit_of(quantity: str) -> str:
    """Return "Mg/ha" for agbd and "m" for anything else (rh95, a height column)."""
    return "Mg/ha" if quantity.startswith("agbd") else "m"


def join(parts: Sequence[Shots]) -> Shots:
    """Put shots of one quantity together, with the columns that all of them have."""
    kinds = {part.quantity for part in parts}
    if len(kinds) != 1:
        raise ZooError(f"shots of {' and '.join(sorted(kinds))} cannot be mixed; use one folder per quantity")
    names = set.intersection(*(set(part.columns) for part in parts))
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in sorted(names)}
    stacked = (np.concatenate([getattr(part, name) for part in parts]) for name in ("lon", "lat", "value"))
    return Shots(*stacked, parts[0].quantity, parts[0].unit, columns)


def save(path: Path, shots: Shots, facts: dict) -> None:
    """Write lon, lat and value as one .npz with ``facts`` (plain JSON types) beside them, atomically."""
    head = json.dumps({"quantity": shots.quantity, "unit": shots.unit, **facts})
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"lon": shots.lon, "lat": shots.lat, "value": shots.value.astype(np.float32)}
    text = np.frombuffer(head.encode(), np.uint8)
    write_atomic(path, lambda file: np.savez(file, facts=text, **arrays))


def load(path: Path) -> tuple[Shots, dict]:
    """Read what ``save`` wrote. Raises ZooError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(bytes(file["facts"]))
            return Shots(file["lon"], file["lat"], file["value"], facts["quantity"], facts["unit"]), facts
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ZooError(f"{path}: is no file of shots; delete it and run step shots again ({reason})") from None


def load_facts(path: Path) -> dict | None:
    """Read the facts of a file of shots; None where there is no readable one."""
    try:
        return load(path)[1]
    except ZooError:
        return None
