"""Shots from a table or a file of points, as people have them: which column means what, and what its cells say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError, did_you_mean

from eozoo_gedi_sparse.prepare import table_cells as cells
from eozoo_gedi_sparse.prepare.granules import FILL
from eozoo_gedi_sparse.prepare.shots import Shots, count, unit_of
from eozoo_gedi_sparse.prepare.table_files import Content, read_file

_LON = ("lon", "longitude", "lon_lowestmode", "long", "lng", "x")
_LAT = ("lat", "latitude", "lat_lowestmode", "y")
# our column -> the names that products and their tables use, in any case, with a group before them or not
_NAMES = {
    "quality": ("quality", "l4_quality_flag", "quality_flag", "l2_quality_flag"),
    "degrade": ("degrade", "degrade_flag"),
    "standard_error": ("standard_error", "agbd_se"),
    "sensitivity": ("sensitivity",),
    "tree_cover": ("tree_cover", "landsat_treecover"),
    "solar_elevation": ("solar_elevation",),
    "days": ("days", "delta_time", "datetime", "timestamp", "date", "time", "acquisition_date"),
    "power": ("power", "beam", "beam_name", "beam_id"),
}
_NUMBER = ("shot_number", "shotnumber", "shot_id")


def read_table(path: Path, quantity: str | None = None) -> Shots:
    """Read a table (.csv, .tsv, .parquet) or points (.gpkg, .geojson, .geoparquet) of shots.

    It needs places (columns of degrees, or its geometry) and one column of values: ``quantity`` (None = agbd, else
    rh95). Filters find their columns by our names or the product's: quality and degrade (0/1, TRUE/FALSE, yes/no),
    standard_error, sensitivity, tree_cover, solar_elevation, days (or delta_time in s since 2018, or a date), power (or
    the beam). Empty, NA, NaN, null and -9999 are missing. The notes say which column was taken for what.
    Raises ZooError, one line, for what is missing, or is not a number: column and row.
    """
    table = _Table(path, read_file(path))
    if not any(map(len, table.content.columns.values())):
        raise ZooError(f"{path}: holds no shots; give a table with rows")
    lon, lat = _places(table)
    name = _value_column(table, quantity)
    value, quantity = table.numbers(name), quantity or name.lower().replace("_", "")
    unit = unit_of(quantity)
    table.taken[name] = f"value ({unit})"
    columns = {}
    for ours, names in _NAMES.items():
        for found in filter(None, map(table.find, names)):
            values = _READ.get(ours, _Table.numbers)(table, found)
            if values is not None:
                columns[ours], table.taken[found] = values, ours
                break
    shots = Shots(lon, lat, value.astype(np.float32), quantity, unit, columns)
    return replace(shots.with_ids(_shot_numbers(table, lon, lat)), notes=table.told())


class _Table:
    """The columns of a file, what they were ``taken`` for, and ``problems`` to tell of."""

    def __init__(self, path: Path, content: Content):
        self.path, self.content = path, content
        self.taken: dict[str, str] = {}
        self.problems: list[str] = []
        self._commas = False
        self._known: dict[str, str] = {}
        for name in content.columns:
            self._known.setdefault(re.split(r"[/:]", name.strip().lower())[-1], name)

    def find(self, name: str) -> str | None:
        """The column that is called ``name``, in any case and with or without the group that it lay in."""
        return name if name in self.content.columns else self._known.get(name.lower())

    def numbers(self, name: str, words: dict[str, float] | None = None) -> np.ndarray:
        """A column (n,) float64, NaN = missing; ``words`` are numbers too. Raises ZooError for any other cell."""
        values = self.content.columns[name]
        found = cells.quickly(values, np.float64)
        whole = found is not None
        found = found if whole else np.empty(len(values))
        for i, value in enumerate(() if whole else values):
            try:
                word = (words or {}).get(value.strip().lower()) if isinstance(value, str) else None
                found[i] = cells.number(value, self.content.comma) if word is None else word
            except (TypeError, ValueError):
                cell = f"column {name!r}, row {i + 1}: {str(value)[:40]!r}"
                raise ZooError(f"{self.path}: {cell} is not a number; correct it, or leave it empty") from None
        found[~(found > FILL)] = np.nan
        if self.content.comma and not whole and any(isinstance(v, str) and "," in v for v in values):
            self._commas = True
        return found

    def flags(self, name: str) -> np.ndarray:
        """A column of 0 and 1, true and false, yes and no."""
        return self.numbers(name, cells.WORDS)

    def told(self) -> tuple[str, ...]:
        """Lines for the user: how the file was read, which column is what, which is not used."""
        rows = len(next(iter(self.content.columns.values()), ()))
        how = [count(rows, "row"), *filter(None, [self.content.how]), *(["decimal commas"] if self._commas else [])]
        taken = [name if name == ours else f"{name} -> {ours}" for name, ours in self.taken.items()]
        rest = [name for name in self.content.columns if name not in self.taken]
        left = f"not used: {', '.join(rest[:12])}{' ...' if len(rest) > 12 else ''}"
        return ", ".join(how) + ": " + ", ".join(taken), *([left] if rest else []), *self.problems


def _places(table: _Table) -> tuple[np.ndarray, np.ndarray]:
    """Longitude -180..180 and latitude (n,), degrees: of columns, of the geometry, or of columns x and y."""
    for lons, lats in ((_LON[:-1], _LAT[:-1]), (_LON[-1:], _LAT[-1:])):
        lon, lat = (next(filter(None, map(table.find, names)), None) for names in (lons, lats))
        if lon is not None and lat is not None:
            table.taken |= {lon: "lon", lat: "lat"}
            found = table.numbers(lon), table.numbers(lat)
            break
        if table.content.points is not None:
            table.taken["geometry"] = "lon and lat"
            found = table.content.points[0], table.content.points[1]
            break
    else:
        names = ", ".join(list(table.content.columns)[:12]) or "no columns"
        raise ZooError(f"{table.path}: has no columns lon and lat (degrees), nor a geometry of points; it has {names}")
    lon, lat = found
    if (np.abs(lat) > 90).any() or (np.abs(lon) > 360).any():
        worst = np.nanmax(np.abs(lat)) if (np.abs(lat) > 90).any() else np.nanmax(np.abs(lon))
        swapped = (np.abs(lon) <= 90).all() and (np.abs(lat) <= 360).all()
        remedy = "are they swapped? rename the two columns" if swapped else "transform them to WGS 84"
        raise ZooError(f"{table.path}: lon and lat must be degrees, found {worst:g}; {remedy}")
    return np.where(lon > 180, lon - 360, lon), lat


def _value_column(table: _Table, quantity: str | None) -> str:
    wanted = (quantity,) if quantity else ("agbd", "rh95", "rh_95")
    found = next(filter(None, map(table.find, wanted)), None)
    if found is None:
        known = did_you_mean(quantity or "agbd", table.content.columns)
        raise ZooError(f"{table.path}: has no column {quantity or 'agbd or rh95'}; set prepare.shots.quantity.{known}")
    return found


def _days(table: _Table, name: str) -> np.ndarray | None:
    """Days since 1970-01-01 UTC: of dates, seconds since 2018 (delta_time), days, or YYYYMMDD; None = no dates."""
    kind = re.split(r"[/:]", name.strip().lower())[-1]
    values = table.content.columns[name]
    quick = cells.quickly(values, np.float64) if kind == "delta_time" else None
    if quick is not None:
        return np.where(quick > FILL, cells.EPOCH_DAYS + quick / 86400, np.nan)
    found = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        try:
            found[i] = cells.day(value, kind)
        except (TypeError, ValueError):
            table.problems.append(f"column {name!r}, row {i + 1}: {str(value)[:30]!r} is not YYYY-MM-DD, so no days")
            return None
    return found


def _power(table: _Table, name: str) -> np.ndarray:
    """1 = a full-power beam, 0 = a coverage beam, NaN = unknown: of flags, or of beams by name or number."""
    if table.find("power") == name:
        return table.flags(name)
    return np.array([cells.power(value) for value in table.content.columns[name]], np.float64)


def _shot_numbers(table: _Table, lon: np.ndarray, lat: np.ndarray) -> np.ndarray | None:
    """The product's numbers (n,) int64, 0 = none; None where there are none or they do not tell shots apart."""
    name = next(filter(None, map(table.find, _NUMBER)), None)
    if name is None:
        return None
    values = table.content.columns[name]
    quick = cells.quickly(values, np.int64)
    found = np.zeros(len(values), np.int64) if quick is None else quick.clip(0)
    wrong = f"column {name!r} does not tell shots apart ({{}}): place, time and value do"
    for i, value in enumerate(values if quick is None else ()):
        try:
            found[i] = cells.whole(value)
        except (TypeError, ValueError, OverflowError):
            table.problems.append(wrong.format(f"row {i + 1}: {str(value)[:30]!r} is rounded, or not a number"))
            return None
    _, group = np.unique(found, return_inverse=True)
    for place in (lon, lat):
        low, high = (np.full(group.max() + 1 if len(group) else 0, v) for v in (np.inf, -np.inf))
        known = np.isfinite(place) & (found > 0)
        np.minimum.at(low, group[known], place[known])
        np.maximum.at(high, group[known], place[known])
        if (high - low > 1e-3).any():
            number = found[np.isin(group, np.flatnonzero(high - low > 1e-3))][0]
            table.problems.append(wrong.format(f"{number} lies in several places"))
            return None
    table.taken[name] = "number"
    return found


_READ: dict[str, Callable[[_Table, str], np.ndarray | None]] = {
    "quality": _Table.flags,
    "degrade": _Table.flags,
    "days": _days,
    "power": _power,
}
