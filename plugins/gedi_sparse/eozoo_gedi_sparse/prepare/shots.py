"""Shots as columns: what a granule or a table says about each footprint, and their small file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import read_arrays
from eozoo_core.run.parsed import unreadable
from eozoo_core.run.written import write_arrays

# Columns that filters read; each is float64 and NaN where missing. A product has some of them.
OPTIONAL = ("quality", "degrade", "standard_error", "sensitivity", "tree_cover", "solar_elevation", "days", "power")


@dataclass(frozen=True)
class Shots:
    """n footprints: lon, lat (n,) float64 degrees WGS 84; value (n,) float32 in ``unit``, NaN = none; more columns.

    ``columns``: name -> (n,) float64, NaN = missing: quality 0/1, degrade 0 = good, standard_error in the unit,
    sensitivity 0..1, tree_cover percent, solar_elevation degrees, days since 1970-01-01 UTC, power 1 = full-power beam.
    ``ids`` (n,) int64: two shots with the same one are the same shot, see ``identify``; None = not known. ``notes``:
    lines for the user on how the file was read and what was left out.
    """

    lon: np.ndarray
    lat: np.ndarray
    value: np.ndarray
    quantity: str
    unit: str
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lon)

    def keep(self, chosen: np.ndarray) -> Shots:
        """Return the shots where ``chosen`` (n,) bool is true."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        ids = None if self.ids is None else self.ids[chosen]
        place = self.lon[chosen], self.lat[chosen], self.value[chosen]
        return Shots(*place, self.quantity, self.unit, columns, ids, self.notes)

    def with_ids(self, numbers: np.ndarray | None = None) -> Shots:
        """Return the shots with their ``ids``; ``numbers`` (n,) int64, the product's shot numbers, 0 = none."""
        return replace(self, ids=identify(self, numbers))


def count(number: int, what: str) -> str:
    """Say "1 shot" or "1,204 shots"."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def unit_of(quantity: str) -> str:
    """Return "Mg/ha" for agbd and "m" for anything else (rh95, a height column)."""
    return "Mg/ha" if quantity.lower().startswith("agbd") else "m"


def join(parts: Sequence[Shots]) -> Shots:
    """Put shots of one quantity together, with the columns that any of them has (NaN where a part has none).

    Shots without ids get them. Raises ZooError for shots of different quantities.
    """
    kinds = {part.quantity for part in parts}
    if len(kinds) != 1:
        raise ZooError(f"shots of {' and '.join(sorted(kinds))} cannot be mixed; use one folder per quantity")
    names = sorted(set().union(*(part.columns for part in parts)))
    columns = {
        name: np.concatenate([part.columns.get(name, np.full(len(part), np.nan)) for part in parts]) for name in names
    }
    stacked = (np.concatenate([getattr(part, name) for part in parts]) for name in ("lon", "lat", "value"))
    ids = np.concatenate([identify(part) if part.ids is None else part.ids for part in parts])
    return Shots(*stacked, parts[0].quantity, parts[0].unit, columns, ids, sum((part.notes for part in parts), ()))


def identify(shots: Shots, numbers: np.ndarray | None = None) -> np.ndarray:
    """Say which shots are the same: (n,) int64, from the product's ``numbers``, else from place, time and value.

    Places count to 1e-5 degrees (about 1 m; footprints of 25 m lie 60 m apart), days to 1e-6 (0.1 s).
    """
    days = shots.columns.get("days", np.full(len(shots), np.nan))
    ids = np.full(len(shots), 14_695_981_039_346_656_037, np.uint64)
    for values, step in ((shots.lon, 1e-5), (shots.lat, 1e-5), (days, 1e-6), (shots.value, 0)):
        rounded = np.nan_to_num(np.rint(values / step) if step else values, nan=-1e18).astype(np.float64) + 0.0
        ids = (ids ^ rounded.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as a hash does
        ids ^= ids >> np.uint64(29)
    ids = -1 - (ids >> np.uint64(2)).astype(np.int64)  # below 0, so that it is nobody's number
    return ids if numbers is None else np.where(numbers > 0, numbers, ids)


def once(shots: Shots) -> tuple[np.ndarray, int]:
    """Say which shots (n,) bool to count: of those with one id the first; and how many of the others differ in value.

    A shot without a place or a value counts as one of its own.
    """
    known = np.flatnonzero(np.isfinite(shots.lon) & np.isfinite(shots.lat) & np.isfinite(shots.value))
    ids = identify(shots) if shots.ids is None else shots.ids
    chosen = np.ones(len(shots), bool)
    if len(np.unique(ids[known])) == len(known):
        return chosen, 0
    _, first, group = np.unique(ids[known], return_index=True, return_inverse=True)
    chosen[np.delete(known, first)] = False
    value = shots.value[known]
    return chosen, int((value != value[first[group]]).sum())


def save(path: Path, shots: Shots, facts: dict) -> None:
    """Write lon, lat, value and ids as one .npz with ``facts`` (plain JSON types) beside them, atomically."""
    head = json.dumps({"quantity": shots.quantity, "unit": shots.unit, **facts})
    arrays = {"lon": shots.lon, "lat": shots.lat, "value": shots.value.astype(np.float32), "id": shots.ids}
    text = np.frombuffer(head.encode(), np.uint8)
    write_arrays(path, {"facts": text, **arrays})


def load(path: Path) -> tuple[Shots, dict]:
    """Read what ``save`` wrote. Raises ZooError for any other file."""
    remedy = "delete it and run step shots again"
    file = read_arrays(path, "a file of shots", remedy)
    try:
        facts = json.loads(bytes(file["facts"]))
        values = (file[name] for name in ("lon", "lat", "value"))
        return Shots(*values, facts["quantity"], facts["unit"], ids=file["id"]), facts
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(path, "a file of shots", error, remedy) from None


def load_facts(path: Path) -> dict | None:
    """Read the facts of a file of shots; None where there is no readable one."""
    try:
        return load(path)[1]
    except ZooError:
        return None
