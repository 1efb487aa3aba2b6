"""One scene of several files on one grid: each band with its place, its packing, and what means missing in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.warp import transform_bounds

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, apply, part_of
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.mosaic import resampled
from eozoo_core.raster.read import CACHE_BYTES, Openable, RasterReader, Reader
from eozoo_core.raster.sentinel2 import SPECIAL, Source, scaling_of
from eozoo_core.raster.sentinel2_metadata import Evidence
from eozoo_core.raster.tiles import Window

REFLECTANCE = "reflectance"  # unit of the bands that Sentinel-2's offset belongs to
_LOOKED_AT = 256  # pixels a side that tell whether values are reflectance
_MOST_CACHE = 512 * 2**20  # bytes; a row of JPEG 2000 tiles of ten bands has 170 million


@dataclass(frozen=True)
class Part:
    """One band of an `Assembly`.

    names:   what it is called, the best name first; see `Assembly.infos`.
    address: of its file, as GDAL or `pathlib` takes it.
    band:    its number in the file, from 1; 0 = all that hold data, called as the file calls them.
    scale, offset: value = stored * scale + offset; no scale = as the file says, no offset = 0.
    missing: stored values that mean missing, beside what the file declares.
    decided: scale and offset hold whatever the file's tags say; else ZooError where they differ.
    unit:    of the values; "" = as the file says.
    classes: its numbers are codes, so pixels are never averaged.
    """

    names: tuple[str, ...]
    address: str
    band: int = 1
    scale: float | None = None
    offset: float | None = None
    missing: tuple[float, ...] = ()
    unit: str = ""
    classes: bool = False
    decided: bool = False


@dataclass(frozen=True)
class Assembly(Openable):
    """Bands of one scene, small and picklable: nothing is open. `open` gives a reader that has all on one grid.

    name:    what its maps are called. source: where it was found, for messages. date: 20200531, "" = not known.
    tags:    what is told of it: (key, value).
    told:    what says how Sentinel-2's digital numbers become reflectance; None = it is of no Sentinel-2.
    box:     west, south, east, north in degrees; only this part is read. None = all.
    pixel:   size of the grid's pixels in the unit of its CRS; None = that of the finest band.
    how:     of rasterio's `Resampling`, for bands with coarser pixels than the grid; finer ones are averaged.
    version: changes where the scene does, for files that cannot be looked at, as of a catalogue.
    """

    name: str
    source: str
    parts: tuple[Part, ...]
    date: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    told: tuple[Evidence, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    pixel: float | None = None
    how: str = "bilinear"
    version: str = ""

    def open(self, missing: Sequence[float] = ()) -> AssemblyReader:
        """Open all parts. Raises ZooError as `RasterReader`, and where their CRSs differ."""
        return AssemblyReader(self, missing)

    def infos(self) -> Iterator[RasterInfo]:
        """Yield what is known unopened, with the bands' best names first, then with their other names.

        Where a scene has several names of a band, as B04, red and OLI_B4, bands are looked for in each in turn.
        """
        none, count = ("",) * len(self.parts), len(self.parts)
        for rank in range(max(len(part.names) for part in self.parts)):
            names = tuple(part.names[min(rank, len(part.names) - 1)] for part in self.parts)
            kinds, units = ("float32",) * count, tuple(part.unit for part in self.parts)
            yield RasterInfo(
                self.source, Grid(0, 0), tuple(range(1, count + 1)), kinds, (None,) * count, names, units or none,
                (1.0,) * count, (0.0,) * count, dict(self.tags),
            )  # fmt: skip

    def only(self, bands: Sequence[int]) -> Assembly:
        """Return the scene with the bands of these numbers (from 1), in their order."""
        return replace(self, parts=tuple(self.parts[band - 1] for band in bands))

    def listed(self) -> Assembly:
        """Return the scene with a part for every band of the files whose bands are not known, which are opened."""
        parts: list[Part] = []
        for part in self.parts:
            if part.band:
                parts.append(part)
                continue
            with RasterReader(part.address, part.missing) as reader:
                info = reader.info
            for number in info.bands:
                names = (info.descriptions[number - 1],) if info.descriptions[number - 1] else part.names
                names = names if len(info.bands) == 1 or info.descriptions[number - 1] else ("",)
                parts.append(replace(part, names=names, band=number))
        return replace(self, parts=tuple(parts))

    def as_reflectance(self, offset: float | None, setting: str) -> tuple[Assembly, str]:
        """Return the scene with bands of Sentinel-2 as reflectance, and how that was decided ("" = there is none).

        Raises ZooError as `sentinel2.scaling_of`; ``setting`` is what ``offset`` was set by.
        """
        mine = [part for part in self.parts if part.unit == REFLECTANCE]
        if self.told is None or not mine:
            return self, ""
        with RasterReader(mine[0].address) as reader:
            info, band = reader.info, mine[0].band
            packing, floats = (info.scales[band - 1], info.offsets[band - 1]), "float" in info.dtypes[band - 1]
            source = Source(Path(self.source), {}, *packing, None, floats, self.told)
            if floats or source.packed:
                source = replace(source, values=reader.thumbnail(_LOOKED_AT, [band]))
        scaling = scaling_of(source, offset, setting)
        scale = packing[0] / scaling.level
        found = (packing[1] + scaling.shift) / scaling.level
        hidden = SPECIAL if scaling.missing else ()
        parts = [
            replace(part, scale=scale, offset=found, missing=hidden, decided=True) if part.unit == REFLECTANCE else part
            for part in self.parts
        ]
        return replace(self, parts=tuple(parts)), str(scaling)

    @property
    def identity(self) -> list[Any]:
        """What is read and how; it changes where the scene does, but for the content of `files`."""
        about = asdict(replace(self, parts=(), told=None))
        return [about, [{**asdict(part), "address": part.address.partition("?")[0]} for part in self.parts]]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and addresses that it is read from; of those in a zip the zip."""
        return tuple(dict.fromkeys(_file_of(part.address.partition("?")[0]) for part in self.parts))


class AssemblyReader(Reader):
    """All bands of an `Assembly` on one grid. Values are physical, NaN = missing: nothing missing enters a kernel.

    ``missing``: stored values that mean missing in every band but classes, beside what is declared.
    """

    def __init__(self, of: Assembly, missing: Sequence[float] = ()):
        self._of, self._open = of, {}
        self._keys = [(p.address, p.missing + (() if p.classes else tuple(missing))) for p in of.parts]
        try:
            for address, hidden in self._keys:
                if (address, hidden) not in self._open:
                    self._open[address, hidden] = RasterReader(address, hidden)
            grid = _grid_of(of, [self._open[key].info.grid for key in self._keys])
            infos = [self._open[key].info for key in self._keys]
            self._rules = [_rule(part, info) for part, info in zip(of.parts, infos, strict=True)]
        except ZooError:
            self.close()
            raise
        self._shifts = {key: _shift(reader.info.grid, grid) for key, reader in self._open.items()}
        finest = min(infos, key=lambda info: _side(info.grid))
        self.block_rows = next(reader.block_rows for reader in self._open.values() if reader.info is finest)
        kept = [self._open[key].row_bytes * (1 if self._shifts[key] else 2) for key in self._keys]
        for reader in self._open.values():
            reader.cache = min(max(CACHE_BYTES, sum(kept)), _MOST_CACHE)
        count = len(of.parts)
        units = [p.unit or info.units[p.band - 1] for p, info in zip(of.parts, infos, strict=True)]
        self.info = RasterInfo(
            of.source, grid, tuple(range(1, count + 1)), ("float32",) * count, (None,) * count,
            tuple(part.names[0] for part in of.parts), tuple(units), (1.0,) * count, (0.0,) * count, dict(of.tags),
        )  # fmt: skip

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = all); NaN = missing."""
        bands = tuple(self.info.bands if bands is None else bands)
        out = np.empty((len(bands), window.height, window.width), np.float32)
        parts = [self._of.parts[band - 1] for band in bands]
        groups: dict[Any, list[int]] = {}
        for place, band in enumerate(bands):
            groups.setdefault((self._keys[band - 1], parts[place].classes), []).append(place)
        for (key, classes), places in groups.items():
            out[places] = self._onto(key, [parts[place].band for place in places], window, classes)
        for place, band in enumerate(bands):
            scale, offset = self._rules[band - 1]
            if (scale, offset) != (1.0, 0.0):
                out[place] = out[place].astype(np.float64) * scale + offset
        return out

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of the scene thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, nearest pixels."""
        bands, grid = tuple(self.info.bands if bands is None else bands), self.info.grid
        shrink = min(1.0, longest / max(grid.height, grid.width))
        height, width = (max(1, round(side * shrink)) for side in (grid.height, grid.width))
        rows, cols = (np.arange(height) + 0.5) * grid.height / height, (np.arange(width) + 0.5) * grid.width / width
        out = np.full((len(bands), height, width), np.nan, np.float32)
        for place, band in enumerate(bands):
            reader = self._open[self._keys[band - 1]]
            own, (scale, offset) = reader.info.grid, self._rules[band - 1]
            x, y = cols, rows
            if grid.transform is not None:
                y = apply(~own.transform, *apply(grid.transform, 0, rows))[1]
                x = apply(~own.transform, *apply(grid.transform, cols, 0))[0]
            larger = max(own.height, own.width) * _side(own) / (max(grid.height, grid.width) * _side(grid))
            found = reader.thumbnail(math.ceil(longest * larger), [self._of.parts[band - 1].band])[0]
            r = np.floor(y * len(found) / own.height).astype(int)
            c = np.floor(x * found.shape[1] / own.width).astype(int)
            there = ((r >= 0) & (r < len(found)))[:, None] & (c >= 0) & (c < found.shape[1])
            values = found[np.ix_(r.clip(0, len(found) - 1), c.clip(0, found.shape[1] - 1))]
            out[place] = np.where(there, values.astype(np.float64) * scale + offset, np.nan)
        return out

    def close(self) -> None:
        """Close all files."""
        for reader in self._open.values():
            reader.close()

    def _onto(self, key: Any, bands: list[int], window: Window, classes: bool) -> np.ndarray:
        """Bands of one file as stored (and unpacked by its tags), on the pixels of a window of the grid."""
        reader, shift = self._open[key], self._shifts[key]
        reader.fillers = None if classes else self.fillers
        grid = reader.info.grid
        if shift is None:
            finer = _side(grid) < _side(self.info.grid)
            how = ("mode" if finer else "nearest") if classes else ("average" if finer else self._of.how)
            return resampled(reader, bands, part_of(self.info.grid, window), how)
        row, col = window.row + shift[0], window.col + shift[1]
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + window.height, grid.height), min(col + window.width, grid.width)
        if (top, left, bottom, right) == (row, col, row + window.height, col + window.width):
            return reader.read(Window(row, col, window.height, window.width), bands)
        out = np.full((len(bands), window.height, window.width), np.nan, np.float32)
        if top < bottom and left < right:
            found = reader.read(Window(top, left, bottom - top, right - left), bands)
            out[:, top - row : bottom - row, left - col : right - col] = found
        return out


def _grid_of(of: Assembly, grids: Sequence[Grid]) -> Grid:
    """The finest grid, with pixels of the size that is wanted, cut to the box."""
    finest = min(grids, key=_side)
    for part, grid in zip(of.parts, grids, strict=True):
        if grid.crs != finest.crs:
            raise ZooError(f"{of.source}: {part.names[0]} has CRS {grid.crs}, other bands {finest.crs}; reproject it")
        if grid.transform is None and (grid.height, grid.width) != (finest.height, finest.width):
            raise ZooError(f"{of.source}: {part.names[0]} has no place on Earth and other pixels than other bands")
    if finest.transform is None:
        return finest
    if of.pixel is not None and not math.isclose(of.pixel, _side(finest), rel_tol=1e-6):
        t, times = finest.transform, of.pixel / _side(finest)
        size = [math.ceil(round(n / times, 6)) for n in (finest.height, finest.width)]
        finest = Grid(*size, finest.crs, type(t)(t.a * times, t.b * times, t.c, t.d * times, t.e * times, t.f))
    return finest if of.box is None or finest.crs is None else part_of(finest, _inside(of, finest))


def _inside(of: Assembly, grid: Grid) -> Window:
    west, south, east, north = transform_bounds("EPSG:4326", grid.crs, *of.box)
    places = [apply(~grid.transform, x, y) for x in (west, east) for y in (south, north)]
    cols, rows = zip(*places)
    left, top = (max(0, math.floor(round(min(values), 6))) for values in (cols, rows))
    right, bottom = min(grid.width, math.ceil(max(cols))), min(grid.height, math.ceil(max(rows)))
    if left >= right or top >= bottom:
        raise ZooError(f"{of.source}: lies beside the box {', '.join(f'{v:g}' for v in of.box)} degrees; widen the box")
    return Window(top, left, bottom - top, right - left)


def _rule(part: Part, info: RasterInfo) -> tuple[float, float]:
    """Scale and offset for what the file's reader gives. Raises ZooError where file and catalogue contradict."""
    if part.scale is None:
        return 1.0, 0.0
    own, offset = (info.scales[part.band - 1], info.offsets[part.band - 1]), part.offset or 0.0
    if part.decided or own == (1.0, 0.0):
        scale = part.scale / own[0]
        return scale, offset - own[1] * scale
    if not all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(own, (part.scale, offset))):
        raise ZooError(
            f"{info.path}: its tags say stored x {own[0]:g} {own[1]:+g}, what it belongs to says {part.scale:g} "
            f"{offset:+g}; correct the one that is wrong"
        )
    return 1.0, 0.0


def _shift(grid: Grid, target: Grid) -> tuple[int, int] | None:
    """Row and column of ``grid`` under the first pixel of ``target``; None = their pixels differ."""
    a, b = grid.transform, target.transform
    if a is None or b is None:
        return 0, 0
    far = max(target.height, target.width)
    corners = [apply(~a, *apply(b, col, row)) for col, row in ((0, 0), (far, 0), (0, far))]
    col, row = (round(value) for value in corners[0])
    expected = (col, row), (col + far, row), (col, row + far)
    near = all(abs(x - y) < 0.01 for found, place in zip(corners, expected) for x, y in zip(found, place))
    return (row, col) if near else None


def _side(grid: Grid) -> float:
    return 1.0 if grid.transform is None else math.hypot(grid.transform.a, grid.transform.d)


def _file_of(address: str) -> Path:
    inside = address.removeprefix("/vsizip/{")
    return Path(address if inside == address else inside.partition("}")[0])
