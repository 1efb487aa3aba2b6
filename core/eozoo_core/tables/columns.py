"""Columns of a table by the settings: features, series of dates, target, places, groups; and their values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eozoo_core.checking.design import Units
from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.raster.bands import find_bands
from eozoo_core.raster.points import on_plane, transform_points
from eozoo_core.run.table_file import Column
from eozoo_core.tables.settings import TableDataSettings

_X, _Y = ("lon", "longitude", "x", "easting"), ("lat", "latitude", "y", "northing")
_DEGREES = ("lon", "longitude")


def find_column(columns: Mapping[str, Column], name: str, path: Path, setting: str) -> Column:
    """Return the column called ``name``, with or without its unit. Raises ZooError where there is none."""
    if name in columns:
        return columns[name]
    found = [column for column in columns.values() if column.header == name]
    if not found:
        raise ZooError(f"{path}: has no column {name!r} ({setting}).{did_you_mean(name, list(columns))}")
    return found[0]


def choose(
    columns: Mapping[str, Column], how: TableDataSettings, path: Path, order: Sequence[str] = ()
) -> tuple[list[Column], int]:
    """Return the columns that are learned from, and the number of dates where they are a series.

    ``order``: bands of a series that an encoder takes, in its order; () = all, as the table has them.
    """
    if how.series is not None:
        if how.features is not None:
            raise ZooError("data.series: says which columns are learned from; leave data.features null")
        return series_columns(columns, how, path, order)
    taken = {find_column(columns, name, path, "data").name for name in spoken_for(columns, how)}
    if how.features is None:
        found = [c for c in columns.values() if c.numeric and c.name not in taken and varies(c)]
    else:
        found = [columns[n] for pattern in how.features for n in matching(columns, pattern, path, "data.features")]
        found = list({column.name: column for column in found}.values())
        target = find_column(columns, how.target or "", path, "data.target")
        if target in found and how.target not in how.features:
            found.remove(target)  # a pattern that means it too
    left_out = {n for pattern in how.exclude for n in matching(columns, pattern, path, "data.exclude")}
    found = [column for column in found if column.name not in left_out]
    if text := [column.name for column in found if not column.numeric]:
        raise ZooError(f"{path}: {listed(text)}: text is no feature; take it out of data.features")
    if how.target in {c.name for c in found} | {c.header for c in found}:
        raise ZooError(f"{path}: {how.target} is the target; it cannot be a feature (data.exclude)")
    if not found:
        raise ZooError(f"{path}: no column of numbers is left for features; look at data.features and data.exclude")
    return found, 0


def varies(column: Column) -> bool:
    """Whether a column of numbers holds two different ones."""
    there = column.values[np.isfinite(column.values)]
    return bool(there.size) and bool((there != there[0]).any())


def spoken_for(columns: Mapping[str, Column], how: TableDataSettings) -> list[str]:
    """Return the columns that are something else than features: target, coordinates, groups, splits."""
    places = [name for name in place_columns(columns, how) if name]
    return [name for name in (how.target, how.group, how.split.column, *places) if name is not None]


def place_columns(columns: Mapping[str, Column], how: TableDataSettings) -> tuple[str, str]:
    """Return the columns of x and y, "" where there are none."""
    lower = {name.lower(): name for name, column in columns.items() if column.numeric}
    pairs = [(lower[x], lower[y]) for x, y in zip(_X, _Y, strict=True) if x in lower and y in lower]
    x, y = pairs[0] if pairs else ("", "")
    return how.x or x, how.y or y


def series_columns(
    columns: Mapping[str, Column], how: TableDataSettings, path: Path, order: Sequence[str]
) -> tuple[list[Column], int]:
    """Return the columns of ``data.series``, date by date and in each the bands; see `choose`."""
    pattern = series_pattern(how.series or "")
    left_out = {n for p in how.exclude for n in matching(columns, p, path, "data.exclude")}
    places: dict[tuple[int, str], Column] = {}
    for name, column in columns.items():
        found = pattern.fullmatch(name) if column.numeric and name not in left_out else None
        if found is not None:
            place = int(found["t"]), found.groupdict().get("band", "")
            if place in places:
                raise ZooError(f"{path}: data.series: {places[place].name} and {name} are the same band and date")
            places[place] = column
    dates, bands = sorted({t for t, _ in places}), list(dict.fromkeys(band for _, band in places))
    if not places:
        raise ZooError(f"{path}: no column of numbers is called as data.series {how.series!r} says")
    if order and places:
        try:
            bands = [bands[i] for i in find_bands(bands, order)]
        except ZooError as error:
            raise ZooError(f"{path}: data.series has {listed(bands, 12)}; model.encoder: {error}") from None
    lacking = [f"{band or 'series'} of date {t}" for t in dates for band in bands if (t, band) not in places]
    if lacking:
        raise ZooError(f"{path}: data.series {how.series!r} finds no column for {listed(lacking)}; exclude the band")
    if how.days and len(how.days) != len(dates):
        raise ZooError(f"data.days: {len(how.days)} days for the {len(dates)} dates of data.series")
    return [places[t, band] for t in dates for band in bands], len(dates)


def series_pattern(series: str) -> re.Pattern[str]:
    """Return what matches the columns of ``data.series``, with groups "t" and "band"."""
    pattern = re.escape(series).replace(r"\*", ".*")
    if r"\{t\}" not in pattern:
        raise ZooError(f"data.series {series!r}: say where the number of the date stands, as in 'B{{band}}_{{t}}'")
    return re.compile(pattern.replace(r"\{t\}", r"(?P<t>\d+)").replace(r"\{band\}", "(?P<band>.+?)"))


def bands_of_series(series: str, columns: Sequence[str]) -> list[str]:
    """Return what ``data.series`` calls the band in the name of each column."""
    pattern = series_pattern(series)
    return [found.groupdict().get("band", "") for found in map(pattern.fullmatch, columns) if found]


def matching(names: Iterable[str], pattern: str, path: Path | str, setting: str) -> list[str]:
    """Return the names that ``pattern`` means (* = anything). Raises ZooError where there is none."""
    names = list(names)
    wanted = re.compile(re.escape(pattern).replace(r"\*", ".*"))
    found = [name for name in names if wanted.fullmatch(name)]
    if not found:
        raise ZooError(f"{path}: no column is called {pattern!r} ({setting}).{did_you_mean(pattern, names)}")
    return found


def with_unit(column: Column, how: TableDataSettings) -> Column:
    """Return a column with the unit that ``data.units`` gives it. Raises ZooError where its header says another."""
    for pattern, unit in how.units.items():
        if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), column.name):
            if column.unit not in ("", unit):
                raise ZooError(f"data.units: {column.name} is in {unit!r}, its header says {column.unit!r}")
            return Column(column.name, unit, column.values, column.header)
    return column


def column_values(columns: Mapping[str, Column], name: str, path: Path, setting: str) -> list[object]:
    """Return what a column holds as text or numbers; missing ones are ""."""
    column = find_column(columns, name, path, setting)
    if not column.numeric:
        return ["" if value is None else value for value in column.values.tolist()]
    return ["" if value != value else value for value in column.values.tolist()]


# -- values -----------------------------------------------------------------------------------------------------------


def stacked(features: Sequence[Column], nodata: Collection[float]) -> np.ndarray:
    """Return features as (n, C) float32; NaN = missing, one of ``nodata``, or infinite."""
    found = np.empty((len(features[0].values), len(features)), np.float32)
    for i, column in enumerate(features):
        found[:, i] = without(column.values, nodata)
    return found


def without(values: np.ndarray, nodata: Collection[float]) -> np.ndarray:
    """Return float64 values, NaN where they are among ``nodata`` or infinite."""
    return np.where(np.isfinite(values) & ~np.isin(values, list(nodata)), values, np.nan)


def numbers_of(target: Column, nodata: Collection[float], path: Path) -> np.ndarray:
    """Return a target of numbers as (n,) float32."""
    if not target.numeric:
        raise ZooError(f"{path}: {target.name} holds text ({target.values[0]!r}); 'classification' learns names")
    return without(target.values, nodata).astype(np.float32)


def unit_of(target: Column, unit: str, path: Path) -> str:
    """Return the unit of a target. Raises ZooError where nobody says it, or setting and header differ."""
    if unit and target.unit and unit != target.unit:
        raise ZooError(f"{path}: data.unit is {unit!r}, the header of {target.name} says {target.unit!r}")
    if not unit and not target.unit:
        raise ZooError(f"{path}: nothing says the unit of {target.name}; --set data.unit=m (or what it is; 1 = none)")
    return unit or target.unit


def class_indices(target: Column, classes: tuple[str, ...], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the class of every row, (n,) float32 index or NaN, and the names. Raises ZooError for a strange one.

    Numbers are named as they are written without decimals: 11, not 11.0.
    """
    values = target.values
    missing = np.isnan(values) if target.numeric else np.equal(values, None)
    known, inverse = np.unique(
        values[~missing] if target.numeric else values[~missing].astype(str), return_inverse=True
    )
    names = [f"{value:.15g}" for value in known.tolist()] if target.numeric else known.tolist()
    if not classes and len(names) < 2:
        raise ZooError(
            f"{path}: {target.name} holds {listed(names) or 'nothing'}; two classes are needed to tell apart"
        )
    if not classes and len(names) > 1000:
        raise ZooError(
            f"{path}: {target.name} holds {len(names):,} different values; 'scalar_regression' learns numbers"
        )
    classes = classes or tuple(names)
    if strange := [name for name in names if name not in classes]:
        raise ZooError(
            f"{path}: {target.name} holds {listed(strange)}, which is none of the classes {listed(classes, 8)}; "
            "take these rows out, or name all in data.classes before training"
        )
    found = np.full(len(values), np.nan, np.float32)
    found[~missing] = np.array([classes.index(name) for name in names], np.float32)[inverse]
    return found, classes


def units_of(
    columns: Mapping[str, Column], how: TableDataSettings, labels: np.ndarray, classes: int, path: Path
) -> Units:
    """Return the rows as what is divided: where they lie in metres, what they hold, what stays together."""
    n, there = len(labels), np.isfinite(labels)
    x = y = np.full(n, np.nan)
    names = place_columns(columns, how)
    if all(names):
        x, y = metres(*(find_column(columns, name, path, "data.x, data.y") for name in names), how.crs, path)
    counts = None
    if classes:
        counts = np.zeros((n, classes), np.uint8)
        counts[there, labels[there].astype(int)] = 1
    group = None
    if how.group is not None:
        words = np.asarray(column_values(columns, how.group, path, "data.group"), str)
        group = np.unique(words, return_inverse=True)[1]
    return Units(
        x, y, there.astype(np.float64), counts, None if classes else labels.astype(np.float64), group, what="rows"
    )


def metres(x: Column, y: Column, crs: str | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return places in metres, in an equal-area projection around their middle; NaN = not known.

    Raises ZooError where nobody says what x and y are, and for degrees that are none.
    """
    if not (x.numeric and y.numeric):
        raise ZooError(f"{path}: {x.name} and {y.name} hold text; data.x and data.y are columns of numbers")
    if crs is None and x.name.lower() not in _DEGREES:
        raise ZooError(f"{path}: data.crs is not set; in which CRS are {x.name} and {y.name}? (EPSG:32631, EPSG:4326)")
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        source = CRS.from_user_input(crs or "EPSG:4326")
    except CRSError as error:
        raise ZooError(f"data.crs {crs!r}: is not known ({' '.join(str(error).split())[:80]})") from None
    lon, lat = (
        (x.values, y.values) if source.is_geographic else transform_points(source, "EPSG:4326", x.values, y.values)
    )
    if (np.abs(lat) > 90).any() or (np.abs(lon) > 360).any():
        raise ZooError(
            f"{path}: {x.name} and {y.name} hold more than degrees; set data.crs, or change data.x and data.y"
        )
    return tuple(on_plane(source, x.values, y.values))
