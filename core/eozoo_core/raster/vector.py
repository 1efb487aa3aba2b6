"""Polygons and points of a file with some of its columns: GeoPackage, shapefile, FlatGeobuf, GeoJSON, Parquet, CSV.

What the user typed is read, and nothing that it refers to: GDAL gets only files that begin as their format does, JSON
and tables are read without it. This module needs ``pip install 'eozoo[vector]'``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.run.parsed import read_object, unreadable
from eozoo_core.run.table_file import read_table

if TYPE_CHECKING:
    from rasterio.crs import CRS

_MAGIC = {".gpkg": b"SQLite format 3\x00", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb\x03"}
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_DRIVERS = ("GPKG", "ESRI Shapefile", "FlatGeobuf")
SUFFIXES = (*_MAGIC, ".geojson", ".json", ".parquet", ".geoparquet", ".csv", ".tsv")
LONGITUDE = ("lon", "long", "longitude", "lng", "lon_dd", "lon_wgs84", "decimallongitude", "x_wgs84")
LATITUDE = ("lat", "latitude", "lat_dd", "lat_wgs84", "decimallatitude", "y_wgs84")
_EAST = ("x", "easting", "east", "utm_x", "x_utm", "coord_x", "xcoord")
_NORTH = ("y", "northing", "north", "utm_y", "y_utm", "coord_y", "ycoord")
_WKT = ("geometry", "wkt", "geom", "the_geom")
_POLYGON, _POINT = (3, 6), (0, 4)  # type numbers of shapely


@dataclass(frozen=True)
class Shapes:
    """Polygons and points of one file, in its order.

    geometry: (n,) shapely, valid, polygons (of one or several parts) and single points. columns: name -> (n,) float64
    (NaN = missing) or text (None = missing). units: of columns, where the file says. notes: what was left out or
    mended, a line each.
    """

    path: Path
    crs: CRS
    geometry: np.ndarray
    columns: Mapping[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """What a file holds: geometries as WKB, or None for none, columns as stored, and its CRS where it says so.

    default: the CRS where neither file nor user says one.
    """

    geometry: Sequence[bytes | None]
    columns: Mapping[str, Any]
    crs: Any = None
    units: Mapping[str, str] = field(default_factory=dict)
    default: str = ""


def parts_of(path: Path) -> list[Path]:
    """Return the files that hold what a vector file holds: of a shapefile those of its name."""
    if path.suffix.lower() != ".shp":
        return [path]
    return sorted(part for part in path.parent.glob(f"{path.stem}.*") if part.suffix.lower() in _SHAPEFILE)


def is_vector(path: Path) -> bool:
    """Whether a path is named as a file of polygons or points."""
    return path.suffix.lower() in SUFFIXES


def read_shapes(path: Path, wanted: Sequence[str], crs: str | None = None, layer: str | None = None) -> Shapes:
    """Read the geometries of a file and the columns ``wanted``; "" among them = the only one that there is.

    crs: of the coordinates, where the file does not say. layer: of a file with several. Raises ZooError for what is
    damaged, refers elsewhere, holds lines, lacks a column (naming those that there are) or does not say its CRS.
    """
    require_vector()
    if not path.is_file():
        raise ZooError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix in _MAGIC:
        found = _read_gdal(path, wanted, layer)
    elif suffix in (".parquet", ".geoparquet"):
        found = _read_parquet(path, wanted)
    elif suffix in (".csv", ".tsv"):
        found = _of_table(path, wanted)
    else:
        found = _read_geojson(path, wanted)
    return _shapes(path, found, crs)


def require_vector() -> None:
    """Raise ZooError where the packages that read vector files are not installed."""
    from importlib.util import find_spec

    absent = [name for name in ("pyogrio", "shapely", "pyarrow") if find_spec(name) is None]
    if absent:
        raise ZooError(f"polygons and points need the module {absent[0]!r}: pip install 'eozoo[vector]'")


def chosen(path: Path, there: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the names of the columns ``wanted``; "" is the only one. Raises ZooError naming those that there are."""
    names = []
    for name in wanted:
        if not name and len(there) != 1:
            raise ZooError(f"{path}: which column holds the label? Set data.label to one of: {', '.join(there)}")
        if name and name not in there:
            raise ZooError(f"{path}: has no column {name!r}.{did_you_mean(name, there)} It has: {', '.join(there)}")
        names.append(name or there[0])
    return names


def _read_gdal(path: Path, wanted: Sequence[str], layer: str | None) -> _Found:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    with path.open("rb") as opened:
        if not opened.read(16).startswith(_MAGIC[path.suffix.lower()]):
            raise ZooError(f"{path}: does not begin as a {path.suffix} file does; is it named wrongly, or damaged?")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer is None and len(layers) != 1:
            raise ZooError(f"{path}: holds {len(layers)} layers; set data.layer to one of: {', '.join(layers)}")
        if layer is not None and layer not in layers:
            raise ZooError(f"{path}: has no layer {layer!r}.{did_you_mean(layer, layers)}")
        info = pyogrio.read_info(path, layer=layer or layers[0])
        if info["driver"] not in _DRIVERS:
            raise ZooError(f"{path}: is read as {info['driver']}; give a GeoPackage, shapefile or GeoJSON")
        names = chosen(path, list(info["fields"]), wanted)
        said, _, geometry, values = pyogrio.raw.read(path, layer=layer or layers[0], columns=names, force_2d=True)
        held = dict(zip(said["fields"], values, strict=True))
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise unreadable(path, "a vector file", error, "is it complete?") from None
    return _Found(geometry, {name: held[name] for name in names}, info["crs"])


def _read_geojson(path: Path, wanted: Sequence[str]) -> _Found:
    import shapely

    found = read_object(path, "give a GeoJSON feature collection")
    features = found.get("features")
    if not isinstance(features, list) or not all(isinstance(f, dict) for f in features) or not features:
        raise ZooError(f"{path}: is no GeoJSON feature collection, or holds no feature")
    rows = [f.get("properties") or {} for f in features]
    if not all(isinstance(row, dict) for row in rows):
        raise ZooError(f"{path}: the properties of a feature are no object of names and values; correct the file")
    names = chosen(path, list(dict.fromkeys(name for row in rows for name in row)), wanted)
    columns = {name: [row.get(name) for row in rows] for name in names}
    shapes = [None if f.get("geometry") is None else json.dumps(f["geometry"]) for f in features]
    try:
        wkb = shapely.to_wkb(shapely.force_2d(shapely.from_geojson(shapes)))
    except shapely.errors.GEOSException as error:
        raise unreadable(path, "GeoJSON", error) from None
    named = found.get("crs")  # of GeoJSON before RFC 7946: {"properties": {"name": ...}}
    for part in ("properties", "name"):
        named = named.get(part) if isinstance(named, dict) else named
    return _Found(wkb, columns, named, default="OGC:CRS84")


def _read_parquet(path: Path, wanted: Sequence[str]) -> _Found:
    """Read GeoParquet 1.0, or a table with coordinates (https://geoparquet.org/releases/v1.0.0)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
            main = geo.get("primary_column", "")
            column = geo.get("columns", {}).get(main, {})
            geometry = file.read(columns=[main]).column(main).to_pylist() if main else []
            encoding, crs = column.get("encoding"), column.get("crs")
    except (pa.ArrowException, OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise unreadable(path, "a Parquet file", error) from None
    if not main:
        return _of_table(path, wanted)
    if encoding != "WKB":
        raise ZooError(f"{path}: its geometries are stored as {encoding}, not WKB; write it as WKB")
    table, default = read_table(path), "" if "crs" in column else "OGC:CRS84"  # left out means that; null not known
    names = chosen(path, list(table), wanted)
    units = {name: table[name].unit for name in names}
    told = json.dumps(crs) if isinstance(crs, dict) else crs
    return _Found(geometry, {name: table[name].values for name in names}, told, units, default)


def _of_table(path: Path, wanted: Sequence[str]) -> _Found:
    """Read points from columns of coordinates, or geometries as well-known text."""
    import shapely

    table = read_table(path)
    text = next((name for name in table if name.lower() in _WKT), None)
    place = [text] if text else _coordinates(path, list(table))
    names = chosen(path, [name for name in table if name not in place], wanted)
    columns, units = ({name: getattr(table[name], what) for name in names} for what in ("values", "unit"))
    if text:
        try:
            shapes = shapely.force_2d(shapely.from_wkt(table[text].values))
        except (shapely.errors.GEOSException, TypeError) as error:
            raise unreadable(path, f"WKT in its column {text}", error) from None
        return _Found(shapely.to_wkb(shapes), columns, None, units)
    x, y = (table[name].values for name in place)
    if not (table[place[0]].numeric and table[place[1]].numeric):
        raise ZooError(f"{path}: the columns {' and '.join(place)} hold more than numbers")
    known, wkb = np.isfinite(x) & np.isfinite(y), np.full(len(x), None, object)
    wkb[known] = shapely.to_wkb(shapely.points(x[known], y[known]))
    return _Found(wkb, columns, None, units, "OGC:CRS84" if place[0].lower() in LONGITUDE else "")


def _coordinates(path: Path, there: Sequence[str]) -> list[str]:
    """Return the two columns that hold coordinates, longitude or easting first."""
    known = {name.lower(): name for name in there}
    for first, second in ((LONGITUDE, LATITUDE), (_EAST, _NORTH)):
        x, y = (next((known[name] for name in names if name in known), None) for names in (first, second))
        if x and y:
            return [x, y]
    raise ZooError(f"{path}: has no columns lon and lat, x and y, or geometry (WKT); it has: {', '.join(there)}")


def numbers(column: Sequence[Any]) -> np.ndarray | None:
    """Return a column as float64 (n,), NaN = missing; None where something in it is no number."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
        return column.astype(np.float64)
    empty = (None, "", "NA", "NaN", "nan", "NULL", "null")
    try:
        return np.array([np.nan if value in empty else float(value) for value in column], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def _texts(column: Sequence[Any]) -> np.ndarray:
    found = np.empty(len(column), object)
    found[:] = [None if value is None or str(value).strip() == "" else str(value).strip() for value in column]
    return found


def _shapes(path: Path, found: _Found, given: str | None) -> Shapes:
    import shapely
    from rasterio import Env
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    said = found.crs or given or found.default
    if not said:
        raise ZooError(f"{path}: does not say in which CRS its coordinates are; set data.crs, as in EPSG:32631")
    try:
        with Env():  # PROJ would write to the terminal
            crs = CRS.from_user_input(said)
    except CRSError:
        raise ZooError(f"{path}: its CRS {said!r} is not known; write it as in EPSG:32631") from None
    try:
        shapes, notes = shapely.from_wkb(list(found.geometry)), []
    except (shapely.errors.GEOSException, TypeError) as error:
        raise unreadable(path, "geometries", error) from None
    kinds = shapely.get_type_id(shapes)
    lines = ~np.isin(kinds, (-1, *_POLYGON, *_POINT)) & ~shapely.is_empty(shapes)
    if lines.any():
        kind = shapes[lines][0].geom_type
        raise ZooError(f"{path}: {lines.sum():,} of {len(shapes):,} geometries are no polygon and no point but {kind}; "
                       "a line covers no pixel: buffer it")  # fmt: skip
    if (wrong := (kinds >= 0) & ~shapely.is_valid(shapes)).any():
        shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
        notes.append(f"{wrong.sum():,} polygons that cross themselves were mended")
    there = np.flatnonzero((kinds >= 0) & ~shapely.is_empty(shapes))
    if len(there) < len(shapes):
        notes.append(f"{len(shapes) - len(there):,} of {len(shapes):,} rows have no geometry")
    whole, many = there[kinds[there] != 4], there[kinds[there] == 4]  # a row of several points is as many labels
    points, origin = shapely.get_parts(shapes[many], return_index=True)
    shapes, rows = np.concatenate([shapes[whole], points]), np.concatenate([whole, many[origin]])
    columns = {}
    for name, column in found.columns.items():
        values = numbers(column)
        columns[name] = (_texts(column) if values is None else values)[rows]
    return Shapes(path, crs, shapes, columns, found.units, tuple(notes))
