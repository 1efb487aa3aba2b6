"""Step 'scenes': a folder of dated rasters -> a tile.

Files are one per band and date (``T31UDS_20180418T105031_B02_10m.jp2``) or one per date with bands named in the file
(band descriptions "B02", "SCL" ...). The date is the first YYYYMMDD or YYYY-MM-DD in the file's name or in its folders'
below the one given; the band is B01..B12, B8A or SCL in the file's name. All files must cover the same area; coarser
ones are repeated by whole factors, or resampled where their pixels do not begin at the same corner. Rows are read in
strips, one date at a time. Values become reflectance by the processing baseline of each file, see
``eozoo_core.raster.sentinel2``; stored is reflectance x 10000.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.georeference import Grid, misfit
from eozoo_core.raster.overlay import Overlay
from eozoo_core.raster.read import RasterReader, read_info
from eozoo_core.raster.sentinel2 import SPECIAL, Scaling, look_at, scaling_of
from eozoo_core.raster.tiles import Window
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.written import stamp_of

from eozoo_barlow_twins.prepare.report import Report
from eozoo_barlow_twins.prepare.settings import SceneSettings
from eozoo_barlow_twins.prepare.write_tile import TilePlan, shared_tile, write_dates, writing

_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
_DATE = re.compile(r"(?<!\d)(20\d\d|19\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_BAND = re.compile(r"(?<![A-Za-z0-9])(B\d\d|B8A|SCL)(?![A-Za-z0-9])")
_STRIP_BYTES = 64 * 2**20


def prepare_scenes(settings: SceneSettings, folder: Path, pool: Pool | None = None) -> Path:
    """Make the tile ``folder/settings.tile`` from the rasters below ``settings.folder``; return it.

    Prints how values were scaled, dates and the share of clear pixels. Raises ZooError, also where nothing tells the
    offset of a file.
    """
    source = settings.source("prepare.scenes")
    wanted = (*settings.bands, *(("SCL",) if settings.has_scl else ()))
    dates = _by_date(source, wanted)
    scenes = {day: _complete(bands, wanted, day) for day, bands in sorted(dates.items()) if settings.keeps(day)}
    if not scenes:
        raise ZooError(f"{source}: no date lies between prepare.scenes.first and last")
    reference = min((b for bands in scenes.values() for b in bands.values()), key=lambda b: b.pixel)
    grid = reference.grid
    h, w = grid.height, grid.width
    report = Report(_scalings([bands[name] for bands in scenes.values() for name in settings.bands], settings))
    crs, transform = grid.crs and grid.crs.to_wkt(), grid.transform and tuple(grid.transform)[:6]
    name = f"scenes {source.name}"
    plan = TilePlan(settings.bands, tuple(scenes), h, w, crs, transform, name, scaling=report.scaling())
    files = dict.fromkeys(band.file for bands in scenes.values() for band in bands.values())
    stamp = stamp_of(settings.model_dump(mode="json"), files)
    with shared_tile(folder / settings.tile, plan, stamp) as (work, part):
        dates = {
            f"{number:05d}": (number, bands, {name: report.scalings[bands[name].file] for name in settings.bands})
            for number, bands in enumerate(scenes.values())
        }
        for counts in write_dates(work, pool or Here(), partial(_write_date, part, reference, settings), dates):
            report.add(counts)
    report.tell(settings.tile, plan.dates, {})
    return folder / settings.tile


def _write_date(
    folder: Path, reference: _Band, settings: SceneSettings, dated: tuple[int, dict[str, _Band], dict[str, Scaling]]
) -> list[int]:
    """Write one date, given by its number, bands and scalings; return what `Report` counted."""
    number, bands, rules = dated
    height, report = reference.grid.height, Report()
    step = max(16, _STRIP_BYTES // (reference.grid.width * len(bands) * 4) // 16 * 16)
    with ExitStack() as stack, writing(folder) as writer:
        readers = {name: _Aligned(band, reference, rules.get(name), stack) for name, band in bands.items()}
        for row in range(0, height, step):
            stop = min(row + step, height)
            scaled = [rule(readers[name].rows(row, stop)) for name, rule in rules.items()]
            scl = np.isin(readers["SCL"].rows(row, stop), settings.clear) if settings.has_scl else True
            values, clear = report.numbers(np.stack(scaled, axis=-1), np.broadcast_to(scl, scaled[0].shape))
            writer.put(number, row, values, clear)
    return report.counts()


def _scalings(bands: list[_Band], settings: SceneSettings) -> dict[Path, Scaling]:
    """How the values of each file become reflectance, decided before anything is written."""
    numbers: dict[Path, list[int]] = {}
    for band in bands:
        numbers.setdefault(band.file, []).append(band.number)
    found = {}
    for file, mine in numbers.items():
        with RasterReader(file) as reader:
            found[file] = scaling_of(look_at(reader, mine), settings.offset, "prepare.scenes.offset")
    return found


@dataclass(frozen=True)
class _Band:
    """One band of one date: where it is and how it lies."""

    file: Path
    number: int
    grid: Grid

    @property
    def pixel(self) -> float:
        return abs(self.grid.transform.a) if self.grid.transform else 1.0


class _Aligned:
    """Reads rows of a band on the grid of ``reference``: repeated where its pixels are whole multiples from the same
    corner, else resampled by `Overlay`, as classes without a ``scaling``. Raises ZooError where it does not cover the
    reference.
    """

    def __init__(self, band: _Band, reference: _Band, scaling: Scaling | None, stack: ExitStack):
        own, grid = band.grid, reference.grid
        self._factor, self._over, self._width = max(1, grid.height // own.height), None, grid.width
        if misfit(_repeated(own, self._factor), grid, "it"):
            self._over = Overlay(
                grid, band.file, band.number, scaling is None, SPECIAL if scaling and scaling.missing else ()
            )
            return
        self._band, self._reader = band, stack.enter_context(RasterReader(band.file))

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Rows ``first`` to ``stop - 1`` of the reference's grid, ``(n, W)`` float32, NaN = missing."""
        if self._over is not None:
            return self._over.read(Window(first, 0, stop - first, self._width))
        f = self._factor
        top, bottom = first // f, -(-stop // f)
        values = self._reader.read(Window(top, 0, bottom - top, self._band.grid.width), (self._band.number,))[0]
        values = values.repeat(f, axis=0).repeat(f, axis=1)
        return values[first - top * f : stop - top * f]


def _repeated(grid: Grid, factor: int) -> Grid:
    """The grid of rows and columns that are repeated."""
    t = grid.transform
    transform = None if t is None else type(t)(t.a / factor, t.b, t.c, t.d, t.e / factor, t.f)
    return Grid(grid.height * factor, grid.width * factor, grid.crs, transform)


def _by_date(source: Path, wanted: tuple[str, ...]) -> dict[date, dict[str, _Band]]:
    dates: dict[date, dict[str, _Band]] = {}
    for file in sorted(p for p in source.rglob("*") if p.suffix.lower() in _SUFFIXES):
        found = next((m for part in reversed(file.relative_to(source).parts) if (m := _DATE.search(part))), None)
        if found is None:
            raise ZooError(f"{file}: has no date (YYYYMMDD or YYYY-MM-DD) in its name or folder; rename or remove it")
        day = date(*map(int, found.groups()))
        for name, band in _bands_of(file).items():
            if name not in wanted:
                continue
            known = dates.setdefault(day, {}).get(name)
            if known is None or band.pixel < known.pixel:  # the same band at several resolutions: the finest
                dates[day][name] = band
            elif band.pixel == known.pixel:
                raise ZooError(f"{file}: {name} of {day} is also in {known.file.name}; keep one scene a day")
    if not dates:
        raise ZooError(f"{source}: holds no raster with the bands {', '.join(wanted)} (in file names or band names)")
    return dates


def _bands_of(file: Path) -> dict[str, _Band]:
    info = read_info(file)
    named = {d: i for i, d in enumerate(info.descriptions, 1) if _BAND.fullmatch(d)}
    if not named:
        in_name = _BAND.findall(file.stem)
        named = {in_name[-1]: 1} if in_name and len(info.bands) == 1 else {}
    return {name: _Band(file, i, info.grid) for name, i in named.items()}


def _complete(bands: dict[str, _Band], wanted: tuple[str, ...], day: date) -> dict[str, _Band]:
    missing = [name for name in wanted if name not in bands]
    if missing:
        some = next(iter(bands.values())).file
        raise ZooError(f"{some.parent}: {day} lacks band {', '.join(missing)}; add it or remove the date's files")
    return bands
