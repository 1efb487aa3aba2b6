"""Quality filters of GEDI shots, and the table that says how many shots each of them removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError

from eozoo_gedi_sparse.prepare.settings import ShotsSettings
from eozoo_gedi_sparse.prepare.shots import Shots, once

Lookup = Callable[[Path, Shots], np.ndarray]
ONCE = "listed once"  # its row stands in the table only where shots are listed twice


@dataclass(frozen=True)
class Removed:
    """One row of the table. ``alone``: how many of all shots this filter would remove by itself."""

    name: str
    before: int
    removed: int
    alone: int

    @property
    def after(self) -> int:
        """Shots left after it."""
        return self.before - self.removed


def apply_filters(shots: Shots, settings: ShotsSettings, lookup: Lookup, where: str) -> tuple[Shots, list[Removed]]:
    """Apply every active filter in a fixed order; return the shots kept and one row per filter.

    ``lookup(raster, shots)`` gives a raster's value at each shot, NaN outside it. ``where`` names the file in messages.
    Raises ZooError where a filter needs a variable that the file does not have.
    """
    rows, left = [], np.ones(len(shots), bool)
    for name, passed in _tests(shots, settings, lookup, where):
        before = int(left.sum())
        left = left & passed
        rows.append(Removed(name, before, before - int(left.sum()), int((~passed).sum())))
    return shots.keep(left), rows


def within(bounds: tuple[float, float, float, float], lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Say which places (n,) in degrees lie in the box west, south, east, north, borders included; NaN does not.

    West > east means across the date line, as in GeoJSON; longitudes may count from -180 or from 0.
    """
    west, south, east, north = bounds
    width = east - west if east >= west else (east - west) % 360
    # Rounding may put a place on the western border a turn away.
    across = np.minimum((lon - west) % 360, (lon - west + 1e-9) % 360)
    return ((across <= width + 1e-9) | (width >= 360)) & (lat >= south) & (lat <= north)


def not_applied(settings: ShotsSettings) -> list[str]:
    """Name the filters that are set but have no raster to look at: people must not take them for done."""
    f, rasters = settings.filters, settings.rasters
    wanted = {"slope": f.max_slope is not None, "worldcover": bool(f.worldcover_excluded)}
    return [name for name, on in wanted.items() if on and getattr(rasters, name) is None]


def add_tables(tables: Sequence[Sequence[Removed]]) -> list[Removed]:
    """Add the tables of several files filter by filter; a filter that one of them lacks removed nothing there."""
    names = list(dict.fromkeys(row.name for table in tables for row in table))
    if ONCE in names:  # second, as in its own table, though tables before may lack it
        names.remove(ONCE)
        names.insert(1, ONCE)
    total = []
    for name in names:
        found = [next((row for row in table if row.name == name), None) for table in tables]
        sums = [sum(getattr(row, key) for row in found if row) for key in ("removed", "alone")]
        first = sum(table[0].before for table in tables if table)
        total.append(Removed(name, total[-1].after if total else first, *sums))
    return total


def format_table(rows: Sequence[Removed]) -> str:
    """Format the table for people: aligned columns."""
    lines = [["filter", "before", "removed", "left", "removes alone"]]
    lines += [[r.name, f"{r.before:,}", f"{r.removed:,}", f"{r.after:,}", f"{r.alone:,}"] for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:]))])
        for line in lines
    )


def _tests(shots: Shots, settings: ShotsSettings, lookup: Lookup, where: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and (n,) bool "passes" of every active filter. Comparisons with NaN are false: missing does not pass."""
    f, rasters = settings.filters, settings.rasters

    def column(name: str, filter_name: str) -> np.ndarray:
        if name not in shots.columns:
            off = "false" if isinstance(getattr(f, filter_name), bool) else "null"
            raise ZooError(f"{where}: has no {name}; set prepare.shots.filters.{filter_name}={off} to do without it")
        return shots.columns[name]

    yield "has a value and a place", np.isfinite(shots.value) & np.isfinite(shots.lon) & np.isfinite(shots.lat)
    counted, _ = once(shots)
    if not counted.all():
        yield ONCE, counted
    if settings.bounds is not None:
        yield "within bounds", within(settings.bounds, shots.lon, shots.lat)
    if f.after is not None:
        yield f"on or after {f.after}", column("days", "after") >= _days(f.after)
    if f.before is not None:
        yield f"before {f.before}", column("days", "before") < _days(f.before)
    if f.quality:
        yield "quality flag = 1", column("quality", "quality") == 1
    if f.degrade:
        yield "degrade flag = 0", column("degrade", "degrade") == 0
    if f.max_relative_error is not None and shots.unit == "Mg/ha":
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = 100 * column("standard_error", "max_relative_error") / shots.value.astype(np.float64)
        yield (
            f"relative standard error < {f.max_relative_error:g} %",
            (relative >= 0) & (relative < f.max_relative_error),
        )
    if f.min_sensitivity is not None:
        yield f"sensitivity >= {f.min_sensitivity:g}", column("sensitivity", "min_sensitivity") >= f.min_sensitivity
    if f.power_beams:
        yield "full-power beam", column("power", "power_beams") == 1
    if f.night:
        yield "night", column("solar_elevation", "night") < 0
    yield from _raster_tests(shots, settings, lookup, column)
    if f.min_ndvi is not None and rasters.ndvi is None:
        raise ZooError("prepare.shots.filters.min_ndvi: needs the raster prepare.shots.rasters.ndvi")


def _raster_tests(
    shots: Shots, settings: ShotsSettings, lookup: Lookup, column: Callable[[str, str], np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    f, rasters = settings.filters, settings.rasters
    if f.max_slope is not None and rasters.slope is not None:
        yield f"slope < {f.max_slope:g} degrees", lookup(rasters.slope, shots) < f.max_slope
    if f.worldcover_excluded and rasters.worldcover is not None:
        classes = lookup(rasters.worldcover, shots)
        named = ", ".join(map(str, f.worldcover_excluded))
        yield f"WorldCover not {named}", np.isfinite(classes) & ~np.isin(classes, f.worldcover_excluded)
    if f.min_tree_cover is not None:
        cover = lookup(rasters.tree_cover, shots) if rasters.tree_cover else column("tree_cover", "min_tree_cover")
        yield (
            f"tree cover >= {f.min_tree_cover:g} %",
            (cover >= f.min_tree_cover) & (cover <= 100),
        )  # 200 and more: fill
    if f.min_ndvi is not None and rasters.ndvi is not None:
        yield f"NDVI >= {f.min_ndvi:g}", lookup(rasters.ndvi, shots) >= f.min_ndvi


def _days(day: date) -> int:
    return (day - date(1970, 1, 1)).days
