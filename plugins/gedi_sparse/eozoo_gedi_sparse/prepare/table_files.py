"""What files of points hold, as columns: CSV of any kind, GeoPackage, GeoJSON, Parquet and GeoParquet."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.points import transform_points
from eozoo_core.run.parsed import read_json, unreadable

_DELIMITERS = (",", ";", "\t", "|")
_ENVELOPES = (0, 32, 48, 48, 64)  # bytes, GeoPackage 1.3, 2.1.3: none, xy, xyz, xym, xyzm


@dataclass(frozen=True)
class Content:
    """Columns of a file, name -> (n,) values as they stand there. ``points``: lon and lat (2, n) of its geometry,
    degrees WGS 84, NaN = none. ``comma``: numbers may have a decimal comma. ``how``: what was found out about the file.
    """

    columns: dict[str, Sequence[Any]]
    points: np.ndarray | None = None
    comma: bool = False
    how: str = ""


def read_file(path: Path) -> Content:
    """Read a file by its ending. Raises ZooError, one line, for one that cannot be read as what it seems to be."""
    return READERS[path.suffix.lower()](path)


def _csv(path: Path) -> Content:
    lines = _text(path).splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None:
        raise ZooError(f"{path}: is empty; give a table with a line of names")
    said = lines[first].strip().strip('"').lower()
    stated = said[4:5] if said.startswith("sep=") else None  # what Excel writes above a table
    first += stated is not None
    delimiter = stated or max(_DELIMITERS, key=lines[first].count)
    try:
        rows = [row for row in csv.reader(lines[first:], delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ZooError(f"{path}: cannot be read as CSV ({error})") from None
    names = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names) and (len(row) < len(names) or any(cell.strip() for cell in row[len(names) :])):
            raise ZooError(f"{path}: row {number} has {len(row)} fields, the header {len(names)}; correct the file")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ZooError(f"{path}: two columns are called {twice!r}; rename one")
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(names) if name}
    how = {",": "", ";": "separated by ;", "\t": "separated by tabs", "|": "separated by |"}.get(delimiter, delimiter)
    return Content(columns, comma=delimiter != ",", how=how)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ZooError(f"{path}: cannot be read ({error})") from None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):  # Excel's "Unicode text"
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:1024]:
        raise ZooError(f"{path}: is not text; give a CSV file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # numbers are the same in all of these


def _geojson(path: Path) -> Content:
    content = read_json(path, "GeoJSON points")
    try:
        features = content["features"]
        crs = content.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
        names = list(dict.fromkeys(name for f in features for name in f.get("properties") or {}))
        columns = {name: [(f.get("properties") or {}).get(name) for f in features] for name in names}
        places = [f.get("geometry") for f in features]
        wrong = next((i for i, place in enumerate(places) if place and place["type"] != "Point"), None)
        if wrong is not None:
            raise ZooError(
                f"{path}: feature {wrong} is a {str(places[wrong]['type'])[:40]}, not a point; give footprints' centres"
            )
        xy = [place["coordinates"][:2] if place and place["coordinates"] else (np.nan, np.nan) for place in places]
        points = np.array(xy, np.float64).reshape(-1, 2)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise unreadable(path, "GeoJSON points", error) from None
    return Content(columns, _degrees(path, crs, points))


def _geopackage(path: Path) -> Content:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
            base.text_factory = lambda raw: raw.decode(errors="replace")
            layers = base.execute(
                "SELECT g.table_name, g.column_name, g.srs_id FROM gpkg_geometry_columns g JOIN gpkg_contents c "
                "ON g.table_name = c.table_name WHERE c.data_type = 'features' ORDER BY g.table_name"
            ).fetchall()
            if len(layers) != 1:
                found = ", ".join(name for name, _, _ in layers[:8]) or "none"
                raise ZooError(f"{path}: has {len(layers)} layers ({found}), expected one; save the shots' layer alone")
            table, geometry, system = layers[0]
            crs = _system(path, base, system)
            quoted = table.replace('"', '""')
            found = base.execute(f'SELECT * FROM "{quoted}"')
            names = [column[0] for column in found.description]
            rows = found.fetchall()
    except sqlite3.Error as error:
        raise ZooError(f"{path}: cannot be read as a GeoPackage ({error})") from None
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    blobs = [_without_header(path, i, blob) for i, blob in enumerate(columns.pop(geometry))]
    xy = _points(path, blobs)
    return Content(columns, None if crs is None else _degrees(path, crs, xy), how=f"layer {table}")


def _system(path: Path, base: sqlite3.Connection, number: int) -> str | None:
    """The CRS of a layer; None where the file says that it is unknown. 0 means degrees of an unknown datum."""
    if number in (0, -1):
        return "OGC:CRS84" if number == 0 else None
    query = "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?"
    row = base.execute(query, (number,)).fetchone()
    if row is None:
        raise ZooError(f"{path}: its gpkg_spatial_ref_sys lacks the layer's CRS {number}; save the layer again")
    name, code, definition = row
    return f"EPSG:{code}" if str(name).upper() == "EPSG" else definition


def _without_header(path: Path, number: int, blob: bytes | None) -> bytes | None:
    """The WKB of a GeoPackage geometry: "GP", version, flags, CRS (4 bytes) and perhaps an envelope come before."""
    if blob is None:
        return None
    envelope = blob[3] >> 1 & 7 if len(blob) > 8 else 9
    if blob[:2] != b"GP" or envelope >= len(_ENVELOPES):
        raise ZooError(f"{path}: the geometry of row {number} is not one of a GeoPackage; save the layer again")
    return None if blob[3] >> 4 & 1 else blob[8 + _ENVELOPES[envelope] :]  # the flag of an empty geometry


def _parquet(path: Path) -> Content:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise ZooError(f"{path}: reading Parquet needs pyarrow; pip install 'eozoo-gedi-sparse[parquet]'") from None
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowInvalid) as error:
        raise ZooError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    about = json.loads((table.schema.metadata or {}).get(b"geo", b"{}"))
    name = about.get("primary_column", "geometry")
    if name not in columns:
        return Content(columns)
    crs = about.get("columns", {}).get(name, {}).get("crs") or "OGC:CRS84"
    return Content(columns, _degrees(path, crs, _points(path, columns.pop(name))))


def _points(path: Path, geometry: Sequence[bytes | None]) -> np.ndarray:
    """x and y (n, 2) of WKB points, NaN = none: a byte for the byte order, 4 for the type (1 = point), two doubles.

    A multi-point (type 4) of one point is that point. z and m are left out.
    """
    xy = np.full((len(geometry), 2), np.nan)
    for i, place in enumerate(geometry):
        if not place:
            continue
        if _kind(place) == 4 and len(place) > 9 and np.frombuffer(place[5:9], f"{_order(place)}u4")[0] == 1:
            place = place[9:]
        if _kind(place) != 1 or len(place) < 21:
            raise ZooError(f"{path}: geometry {i} is no point; give the centres of the footprints")
        xy[i] = np.frombuffer(place[5:21], f"{_order(place)}f8")
    return xy


def _order(wkb: bytes) -> str:
    return "<" if wkb[0] == 1 else ">"


def _kind(wkb: bytes) -> int:
    return int(np.frombuffer(wkb[1:5], f"{_order(wkb)}u4")[0] & 0x1FFFFFFF) % 1000 if len(wkb) > 4 else 0


def _degrees(path: Path, crs: Any, xy: np.ndarray) -> np.ndarray:
    """x and y (n, 2) in ``crs`` as lon and lat (2, n), WGS 84."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        source = CRS.from_user_input(json.dumps(crs) if isinstance(crs, dict) else crs)
        if source == CRS.from_epsg(4326) or source == CRS.from_user_input("OGC:CRS84"):
            return xy.T
        return transform_points(source, "EPSG:4326", *xy.T)
    except CRSError as error:
        raise ZooError(f"{path}: the CRS of its points is unknown ({' '.join(str(error).split())[:90]})") from None


READERS: dict[str, Callable[[Path], Content]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".geojson": _geojson,
    ".gpkg": _geopackage,
    ".parquet": _parquet,
    ".geoparquet": _parquet,
}
