"""Shots from a table: CSV, or Parquet and GeoParquet with the optional pyarrow."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core.errors import ZooError, did_you_mean

from eozoo_gedi_sparse.prepare.shots import OPTIONAL, Shots, unit_of

_LON = ("lon", "longitude", "lon_lowestmode", "x")
_LAT = ("lat", "latitude", "lat_lowestmode", "y")
# our column -> the names that products and their tables use
_ALSO = {
    "quality": ("l4_quality_flag", "quality_flag", "l2_quality_flag"),
    "degrade": ("degrade_flag",),
    "standard_error": ("agbd_se",),
    "tree_cover": ("landsat_treecover",),
}


def read_table(path: Path, quantity: str | None = None) -> Shots:
    """Read a .csv, .parquet or .geoparquet file of shots: lon and lat in degrees and one column of values.

    The value's column is ``quantity`` (None = agbd, else rh95). Filters find the columns quality, degrade,
    standard_error, sensitivity, tree_cover, solar_elevation, days, power, or the product's names for them. Empty and
    -9999 are missing. Points of a GeoParquet geometry column (WKB, WGS 84) are taken where lon and lat are not columns.
    Raises ZooError, one line, for what is missing or is no number.
    """
    columns = _csv(path) if path.suffix.lower() == ".csv" else _parquet(path)
    lon, lat = (_first(columns, names) for names in (_LON, _LAT))
    if lon is None or lat is None:
        raise ZooError(
            f"{path}: has no columns lon and lat (degrees), nor a geometry of points; it has {_list(columns)}"
        )
    if quantity is None:
        quantity = next((name for name in ("agbd", "rh95") if name in columns), None)
    if quantity is None or quantity not in columns:
        known = did_you_mean(quantity or "agbd", columns)
        raise ZooError(f"{path}: has no column {quantity or 'agbd or rh95'}; set prepare.shots.quantity.{known}")
    found = {name: _first(columns, (name, *_ALSO.get(name, ()))) for name in OPTIONAL}
    kept = {name: _number(path, name, values) for name, values in found.items() if values is not None}
    value = _number(path, quantity, columns[quantity])
    lon, lat = _number(path, "lon", lon), _number(path, "lat", lat)
    if (np.abs(lat) > 90).any() or (np.abs(lon) > 360).any():
        raise ZooError(
            f"{path}: lon and lat must be degrees, found {np.nanmax(np.abs(lat)):g}; transform them to WGS 84"
        )
    return Shots(lon, lat, value.astype(np.float32), quantity, unit_of(quantity), kept)


def _csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            names = next(rows, [])
            content = list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: cannot be read as CSV ({error})") from None
    for number, row in enumerate(content, 2):
        if len(row) != len(names):
            raise ZooError(f"{path}: line {number} has {len(row)} fields, the header {len(names)}")
    return {name.strip(): list(column) for name, column in zip(names, zip(*content) if content else [()] * len(names))}


def _parquet(path: Path) -> dict[str, Any]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ZooError(f"{path}: reading Parquet needs pyarrow; pip install 'eozoo-gedi-sparse[parquet]'") from None
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowInvalid) as error:
        raise ZooError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if "geometry" in columns and _first(columns, _LON) is None:
        columns |= dict(zip(("lon", "lat"), _points(path, columns.pop("geometry"))))
    return columns


def _points(path: Path, geometry: list) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of WKB points: a byte for the byte order, 4 for the type (1 = point), two doubles."""
    xy = np.empty((len(geometry), 2))
    for i, point in enumerate(geometry):
        order = "<" if point and point[0] == 1 else ">"
        if not point or np.frombuffer(point[1:5], f"{order}u4")[0] % 1000 != 1:
            raise ZooError(f"{path}: geometry {i} is no point; give the centres of the footprints")
        xy[i] = np.frombuffer(point[5:21], f"{order}f8")
    return xy[:, 0], xy[:, 1]


def _first(columns: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((columns[name] for name in names if name in columns), None)


def _number(path: Path, name: str, values: Any) -> np.ndarray:
    try:
        blank = [np.nan if v is None or (isinstance(v, str) and not v.strip()) else v for v in values]
        numbers = np.array(blank, np.float64)
    except (TypeError, ValueError) as error:
        raise ZooError(f"{path}: column {name!r} holds something that is no number ({error})") from None
    numbers[~(numbers > -9999)] = np.nan
    return numbers


def _list(columns: dict[str, Any]) -> str:
    return ", ".join(list(columns)[:12]) or "no columns"
