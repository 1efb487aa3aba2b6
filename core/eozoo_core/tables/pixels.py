"""A raster as samples: every pixel goes through the network by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.raster.files import Layer
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import Reader
from eozoo_core.raster.stack import date_of
from eozoo_core.raster.tiles import Window
from eozoo_core.spec import Port
from eozoo_core.tables.columns import bands_of_series
from eozoo_core.tables.survey import TableSurvey
from eozoo_core.task.contract import Arrays
from eozoo_core.task.maps import bands_of
from eozoo_core.task.scenes import Block, Scene, open_dates, require_no_fillers
from eozoo_core.task.survey import Survey
from eozoo_core.task.windows import Drawn

if TYPE_CHECKING:
    from eozoo_core.settings.schema import InferSettings

_VALUES = 2**24  # of a strip in memory
_LOOKED_AT = 64  # rows that are judged before anything is predicted, spread over the raster


def map_pixels(drawn: Drawn, scene: Scene, arrange: Callable[[np.ndarray], Arrays]) -> Iterator[Block]:
    """Predict every pixel of a raster, strip by strip; ``arrange`` turns values (n, bands) into the network's arrays.

    Pixels of which every band is missing are not predicted. Raises ZooError for a file damaged in the middle.
    """
    with scene.open() as reader:
        grid = reader.info.grid
        if scene.missing is None:
            reader.fillers = Counter()
        look = [_read(reader, scene, row, 1) for row in _spread(grid.height, _LOOKED_AT)]
        drawn.look(arrange(np.concatenate(look)))
        empty = drawn.unwatched(arrange(np.full((1, len(scene.bands)), np.nan, np.float32)))
        rows = max(1, _VALUES // (grid.width * len(scene.bands)))
        step = rows // reader.block_rows * reader.block_rows or rows
        for row in range(0, grid.height, step):
            count = min(step, grid.height - row)
            values = _read(reader, scene, row, count)
            require_no_fillers(reader, drawn.survey)
            found = {n: np.full((count * grid.width, *v.shape[1:]), np.nan, np.float32) for n, v in empty.items()}
            there, size = np.flatnonzero(np.isfinite(values).any(axis=1)), drawn.at_once(1)
            for start in range(0, len(there), size):
                part = there[start : start + size]
                for name, predicted in drawn(arrange(values[part])).items():
                    found[name][part] = predicted
            drawn.progress(row + count, grid.height)
            yield Block(row, {n: np.moveaxis(v, 0, -1).reshape(*v.shape[1:], count, -1) for n, v in found.items()})


def pixel_layers(ports: Sequence[Port]) -> list[Layer]:
    """Return a layer for every output of a sample: a number, or one for each of its bands."""
    return [Layer(port.role, bands_of(port), quantity=port.quantity) for port in ports]


def bands_by_name(info: RasterInfo, survey: Survey) -> tuple[int, ...]:
    """Return the numbers of the bands that the columns ``survey`` was trained on are called.

    Raises ZooError with all that are missing, and for units that differ from those of the columns.
    """
    if not any(info.descriptions):
        raise ZooError(f"{info.path}: its bands have no names to find the columns of the run by")
    found, lacking = [], []
    for name in survey.names:
        try:
            found += info.select([name])
        except ZooError as error:
            lacking.append(name)
            if "several" in str(error) or "sensor" in str(error):
                raise
    if lacking:
        have = listed([name for name in info.descriptions if name], 12)
        raise ZooError(
            f"{info.path}: no band for {len(lacking)} columns of the run: {listed(lacking, 12)}; it has {have}"
        )
    for band, number in zip(survey.bands, found, strict=True):
        unit = info.units[number - 1]
        if unit and band.unit and unit != band.unit:
            raise ZooError(f"{info.path}: band {band.name} is in {unit!r}, the column was in {band.unit!r}; convert it")
    return tuple(found)


def open_series(files: tuple[Path, ...], series: str, survey: TableSurvey, how: InferSettings) -> Scene:
    """Open a raster for each date of a series as one scene; their bands are called as the bands of the series.

    Raises ZooError for another number of dates, and as `open_dates`.
    """
    if len(files) != survey.dates:
        raise ZooError(
            f"{files[0].parent}: holds rasters of {len(files)} dates, the run was trained on {survey.dates}; give a "
            "folder with one for each, or one raster whose bands are called as the columns"
        )
    bands = bands_of_series(series, survey.names[: len(survey.names) // survey.dates])
    return open_dates(files, tuple(f"{date_of(file)}_{band}" for file in files for band in bands), how)


def _read(reader: Reader, scene: Scene, row: int, count: int) -> np.ndarray:
    """Rows as (pixels, bands) float32."""
    values = reader.read(Window(row, 0, count, reader.info.grid.width), scene.bands)
    return np.ascontiguousarray(values.reshape(len(values), -1).T)


def _spread(height: int, most: int) -> list[int]:
    """Numbers of at most ``most`` rows, evenly spread."""
    return sorted(set(np.linspace(0, height - 1, min(most, height)).astype(int).tolist()))
