"""Values of a table's columns as arrays: features, targets, classes, and where the rows lie."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eozoo_core.checking.design import Units
from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.raster.points import on_plane, transform_points
from eozoo_core.run.table_file import Column
from eozoo_core.tables.columns import DEGREES, column_values, find_column, place_columns
from eozoo_core.tables.settings import TableDataSettings


def stacked(features: Sequence[Column], nodata: Collection[float], path: Path) -> np.ndarray:
    """Return features as (n, C) float32; NaN = missing, one of ``nodata``, or infinite. Raises ZooError for text."""
    found = np.empty((len(features[0].values), len(features)), np.float32)
    for i, column in enumerate(features):
        if not column.numeric:
            raise ZooError(f"{path}: column {column.name} holds text ({word_of(column)}); text is no feature")
        found[:, i] = without(column.values, nodata)
    return found


def without(values: np.ndarray, nodata: Collection[float]) -> np.ndarray:
    """Return float64 values, NaN where they are among ``nodata`` or infinite as float32."""
    with np.errstate(over="ignore"):
        there = np.isfinite(values.astype(np.float32))
    return np.where(there & ~np.isin(values, list(nodata)), values, np.nan)


def word_of(column: Column) -> str:
    """Return the first thing in a column of text that is no number, and its row as a spreadsheet counts."""
    number = next((i for i, value in enumerate(column.values) if value is not None and not _is_number(value)), 0)
    return f"{column.values[number]!r} in row {number + 2}"


def share_of_numbers(column: Column) -> float:
    """Return which share of a column of text is numbers."""
    words = [value for value in column.values if value is not None]
    return sum(map(_is_number, words)) / max(len(words), 1)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?", text, re.IGNORECASE) is not None


def numbers_of(target: Column, nodata: Collection[float], path: Path) -> np.ndarray:
    """Return a target of numbers as (n,) float32."""
    if not target.numeric:
        raise ZooError(f"{path}: {target.name} holds text ({word_of(target)}); 'classification' learns names")
    return without(target.values, nodata).astype(np.float32)


def unit_of(target: Column, unit: str, path: Path) -> str:
    """Return the unit of a target. Raises ZooError where nobody says it, or setting and header differ."""
    if unit and target.unit and unit != target.unit:
        raise ZooError(f"{path}: data.unit is {unit!r}, the header of {target.name} says {target.unit!r}")
    if not unit and not target.unit:
        raise ZooError(f"{path}: nothing says the unit of {target.name}; --set data.unit=m (or what it is; 1 = none)")
    return unit or target.unit


def class_indices(
    target: Column, nodata: Collection[float], classes: tuple[str, ...], path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the class of every row, (n,) float32 index or NaN, and the names. Raises ZooError for a strange one.

    Numbers are named as they are written without decimals: 11, not 11.0.
    """
    values = without(target.values, nodata) if target.numeric else target.values
    missing = np.isnan(values) if target.numeric else np.equal(values, None)
    known, inverse = np.unique(
        values[~missing] if target.numeric else values[~missing].astype(str), return_inverse=True
    )
    if target.numeric and (odd := known[known != np.floor(known)]).size:
        raise ZooError(f"{path}: {target.name} holds {odd[0]:g}, which is no class; 'scalar_regression' learns numbers")
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
        places = [find_column(columns, name, path, "data.x, data.y") for name in names]
        places = [replace(c, values=without(c.values, how.nodata)) if c.numeric else c for c in places]
        x, y = metres(*places, how.crs, path)
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
    if crs is None and x.name.lower() not in DEGREES:
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
