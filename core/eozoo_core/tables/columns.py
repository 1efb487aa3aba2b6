"""Columns of a table by the settings: features, series of dates, target, places, groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.raster.bands import find_bands
from eozoo_core.run.table_file import Column
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.survey import TableSurvey

_X, _Y = ("lon", "longitude", "x", "easting"), ("lat", "latitude", "y", "northing")
DEGREES = ("lon", "longitude")


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
    """Return the columns of x and y, "" where there are none: "x" in no known CRS may be a feature, or be excluded."""
    meant = {*(how.features or ()), *how.exclude} if how.crs is None else set()
    lower = {name.lower(): name for name, c in columns.items() if c.numeric and (name not in meant or _is_degrees(c))}
    pairs = [(lower[x], lower[y]) for x, y in zip(_X, _Y, strict=True) if x in lower and y in lower]
    x, y = pairs[0] if pairs else ("", "")
    return how.x or x, how.y or y


def _is_degrees(column: Column) -> bool:
    return column.name.lower() in (*DEGREES, "lat", "latitude")


def known_features(
    columns: Mapping[str, Column], survey: TableSurvey, how: TableDataSettings, path: Path
) -> list[Column]:
    """Return the columns that a run was trained on. Raises ZooError for one that is missing or in another unit."""
    found = [with_unit(find_column(columns, name, path, "the run's features"), how) for name in survey.names]
    for column, band in zip(found, survey.bands, strict=True):
        if column.unit and band.unit and column.unit != band.unit:
            raise ZooError(f"{path}: column {column.name} is in {column.unit!r}, in training it was {band.unit!r}")
    return found


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
