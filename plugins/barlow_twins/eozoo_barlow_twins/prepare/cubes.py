"""Step 'cube': NetCDF4/HDF5 cubes with bands and scene classes -> a tile.

Every file holds variables (T, h, w) or (h, w) with coordinate vectors x, y (pixel centres, m) and, for (T, h, w), a
vector ``timestamp`` or ``time`` with units "<seconds|days|...> since <date>" (CF convention). Files may differ in
resolution by whole factors: coarser ones are repeated, nothing is interpolated. Only one date at a time is in memory.
Packing is undone as CF has it; values become reflectance by ``eozoo_core.raster.sentinel2``; stored is it x 10000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.errors import did_you_mean
from eozoo_core.raster.hdf5 import hdf5, require_h5py
from eozoo_core.raster.packed import stored, unpack
from eozoo_core.raster.sentinel2 import Scaling, Source, scaling_of
from eozoo_core.raster.trust import require_own_content
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.written import stamp_of

from eozoo_barlow_twins.prepare.report import BLOCKS, Report
from eozoo_barlow_twins.prepare.settings import CubeSettings
from eozoo_barlow_twins.prepare.write_tile import TilePlan, connected_fields, shared_tile, write_dates, writing

if TYPE_CHECKING:
    import h5py

_SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5")


def prepare_cube(settings: CubeSettings, folder: Path, pool: Pool | None = None) -> Path:
    """Make the tile ``folder/settings.tile`` from the files in ``settings.folder``; return it.

    Prints how values were scaled, dates, the share of clear pixels and the codes of labels. Raises ZooError, also where
    nothing tells the offset of the digital numbers.
    """
    source = settings.source("prepare.cube")
    with ExitStack() as stack:
        cube = _Cube(settings, source, stack)
        wanted, grid, scalings = cube.wanted, cube.grid, cube.scalings
        kept = [(i, t.date()) for i, t in enumerate(_times(wanted)) if settings.keeps(t.date())]
        labels = {name: grid.raise_(_find(cube.found, name, source), None) for name in settings.labels}
        layers = _layers(labels, settings.fields)
        report = Report({v.file: scaling for v, scaling in zip(wanted[:-1], scalings, strict=True)})
        plan = TilePlan(
            settings.bands, tuple(day for _, day in kept), grid.height, grid.width, grid.crs, grid.transform,
            f"cube {source.name}", layers, report.scaling(),
        )  # fmt: skip
        stamp = stamp_of(settings.model_dump(mode="json"), _files(source))
        with shared_tile(folder / settings.tile, plan, stamp) as (work, part):
            dates = {f"{place:05d}": (part, place, number) for place, (number, _) in enumerate(kept)}
            for counts in write_dates(work, pool or Here(), cube, dates):
                report.add(counts)
        report.tell(settings.tile, plan.dates, layers)
    return folder / settings.tile


class _Cube:
    """Writes dates of a cube. Its files stay open as long as ``stack``; a worker opens them itself."""

    def __init__(self, settings: CubeSettings, source: Path, stack: ExitStack | None = None):
        self.settings, self.source, self._stack = settings, source, stack or ExitStack()

    def __reduce__(self) -> tuple:
        return _Cube, (self.settings, self.source)

    @cached_property
    def found(self) -> dict[str, _Variable]:
        """Every variable of the files."""
        return _variables(self.source, self._stack)

    @cached_property
    def wanted(self) -> list[_Variable]:
        """The bands and SCL."""
        return [_find(self.found, name, self.source) for name in (*self.settings.bands, "SCL")]

    @cached_property
    def grid(self) -> _Grid:
        """The grid of bands and labels."""
        labels = [_find(self.found, name, self.source) for name in self.settings.labels]
        return _Grid.over([*self.wanted, *labels], self.settings.resolution)

    @cached_property
    def scalings(self) -> list[Scaling]:
        """How each band becomes reflectance."""
        return [_scaling(variable, self.settings) for variable in self.wanted[:-1]]

    def __call__(self, dated: tuple[Path, int, int]) -> list[int]:
        """Write one date: folder, place in the tile, number in the files. Return what `Report` counted."""
        folder, place, number = dated
        report, pairs = Report(), zip(self.scalings, self.wanted[:-1], strict=True)
        scaled = [scaling(self.grid.raise_(variable, number, unpack)) for scaling, variable in pairs]
        clear = np.isin(self.grid.raise_(self.wanted[-1], number), self.settings.clear)
        with writing(folder) as writer:
            writer.put(place, 0, *report.numbers(np.stack(scaled, axis=-1), clear))
        return report.counts()


@dataclass(frozen=True)
class _Variable:
    """One variable of one file, with its file's coordinates."""

    name: str
    file: Path
    data: Any
    x: np.ndarray
    y: np.ndarray
    times: list[datetime] | None
    crs: str | None

    @property
    def step(self) -> float:
        """Pixel size in m."""
        return abs(float(self.x[1] - self.x[0])) if len(self.x) > 1 else abs(float(self.y[1] - self.y[0]))


@dataclass(frozen=True)
class _Grid:
    """The grid of the tile: pixel size, the outer edge of its upper left pixel, and its extent."""

    step: float
    left: float
    top: float
    height: int
    width: int
    crs: str | None

    @property
    def transform(self) -> tuple[float, ...]:
        return (self.step, 0.0, self.left, 0.0, -self.step, self.top)

    @classmethod
    def over(cls, variables: list[_Variable], resolution: float | None) -> _Grid:
        """The common grid at ``resolution`` or the finest pixel size. Raises ZooError where extents differ."""
        step = resolution or min(v.step for v in variables)
        first = variables[0]
        for v in variables:
            edges = _edges(v)
            if not np.allclose(edges, _edges(first), atol=0.01 * step):
                raise ZooError(f"{v.file}: {v.name} covers {edges}, {first.name} in {first.file.name} {_edges(first)}")
            if abs(v.step / step - round(v.step / step)) > 1e-6 or v.step < step * 0.999:
                raise ZooError(f"{v.file}: {v.name} has {v.step:g} m pixels, not a multiple of {step:g} m")
        left, top, right, bottom = _edges(first)
        return cls(step, left, top, round((top - bottom) / step), round((right - left) / step), first.crs)

    def raise_(self, variable: _Variable, number: int | None, read: Callable[..., np.ndarray] = stored) -> np.ndarray:
        """One image ``(H, W)`` of ``variable`` on this grid, rows from north to south, each pixel repeated.

        ``read``: `stored` for codes, `unpack` for physical values with NaN = missing.
        """
        with hdf5(variable.file, f"{variable.name} at date {number}"):
            image = read(variable.data, ... if number is None else number)
        image = image[:: 1 if variable.y[0] > variable.y[-1] else -1, :: 1 if variable.x[0] < variable.x[-1] else -1]
        factor = round(variable.step / self.step)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)


def _variables(folder: Path, stack: ExitStack) -> dict[str, _Variable]:
    require_h5py(folder, "eozoo-barlow-twins[cube]")
    import h5py

    found: dict[str, _Variable] = {}
    for file in _files(folder):
        with hdf5(file, "NetCDF4/HDF5", "remove it or fetch it again"):
            content = stack.enter_context(h5py.File(file, "r"))
            require_own_content(content)
            for variable in _maps(content, file):
                if (name := variable.name) in found:
                    raise ZooError(f"{file}: {name} is also in {found[name].file.name}; keep one product per folder")
                found[name] = variable
    if not found:
        raise ZooError(f"{folder}: holds no NetCDF4/HDF5 file with maps (variables over y and x)")
    return found


def _maps(content: h5py.File, file: Path) -> Iterator[_Variable]:
    """Yield the variables over y and x of a file; none of a single pixel (weather), or where there are no axes."""
    x, y = (_axis(content[n]) if n in content else None for n in ("x", "y"))
    if x is None or y is None or len(x) < 2 or len(y) < 2:
        return
    times, crs = _file_times(content, file), _crs(content)
    for name, data in content.items():
        if getattr(data, "ndim", 0) in (2, 3) and data.shape[-2:] == (len(y), len(x)):
            yield _Variable(name, file, data, x, y, times if data.ndim == 3 else None, crs)


def _axis(variable: Any) -> np.ndarray | None:
    """Coordinates (n,), None where they are none. Raises ZooError where steps are not even, as of damaged ones."""
    if getattr(variable, "ndim", 0) != 1:
        return None
    values = stored(variable).astype(np.float64)
    steps = np.diff(values)
    if len(steps) and not (np.isfinite(steps).all() and steps[0] and np.allclose(steps, steps[0], rtol=0.1)):
        raise ZooError(f"{variable.file.filename}: its coordinates {variable.name} have no even step; fetch it again")
    return values


def _scaling(v: _Variable, settings: CubeSettings) -> Scaling:
    """How the unpacked values of a variable become reflectance: by its file's name, attributes and packing."""
    with hdf5(v.file, v.name):
        some = unpack(v.data, v.data.shape[0] // 2 if v.times is not None else ...)
        tags = {key: text for where in (v.data.file.attrs, v.data.attrs) for key, text in where.items()}
    # `unpack` has refused what is no number
    scale, offset = (float(np.ravel(tags.get(n, d))[0]) for n, d in (("scale_factor", 1.0), ("add_offset", 0.0)))
    tags = {key: text.decode("utf-8", "replace") if isinstance(text, bytes) else text for key, text in tags.items()}
    source = Source(v.file, tags, scale, offset, some, v.data.dtype.kind == "f")
    return scaling_of(source, settings.offset, "prepare.cube.offset")


def _find(found: dict[str, _Variable], name: str, folder: Path) -> _Variable:
    if name not in found:
        raise ZooError(f"{folder}: no file has a variable {name!r}.{did_you_mean(name, found)}")
    return found[name]


def _times(variables: list[_Variable]) -> list[datetime]:
    """The common time axis. Raises ZooError where the files' dates differ or are not in order."""
    first = variables[0]
    for v in variables:
        if v.times is None or len(v.times) != v.data.shape[0]:
            raise ZooError(f"{v.file}: {v.name} {v.data.shape} has no matching 'timestamp' or 'time' vector with units")
        if v.times != first.times:
            raise ZooError(f"{v.file}: its dates are not those of {first.file.name}; bands and SCL must share them")
    if first.times != sorted(first.times):
        raise ZooError(f"{first.file}: its dates are not in order of time")
    return first.times


def _file_times(content: Any, file: Path) -> list[datetime] | None:
    name = next((n for n in ("timestamp", "time", "t") if n in content and "units" in content[n].attrs), None)
    if name is None:
        return None
    units = content[name].attrs["units"]
    unit, _, start = (units.decode() if isinstance(units, bytes) else str(units)).partition(" since ")
    scale = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}.get(unit)
    try:
        origin = datetime.fromisoformat(start.strip())
    except ValueError:
        origin = None
    if scale is None or origin is None:
        raise ZooError(f"{file}: {name} has units {units!r}, expected 'seconds since 2018-01-01 00:00:00' or the like")
    try:
        return [origin + timedelta(seconds=float(v) * scale) for v in np.ravel(stored(content[name]))]
    except (OverflowError, ValueError):
        raise ZooError(f"{file}: {name} holds times that are none; remove it or fetch it again") from None


def _crs(content: Any) -> str | None:
    wkt = content["spatial_ref"].attrs.get("crs_wkt") if "spatial_ref" in content else None
    return wkt.decode() if isinstance(wkt, bytes) else wkt


def _edges(v: _Variable) -> tuple[float, float, float, float]:
    half = v.step / 2
    return (float(v.x.min()) - half, float(v.y.max()) + half, float(v.x.max()) + half, float(v.y.min()) - half)


def _layers(labels: dict[str, np.ndarray], fields: bool) -> dict[str, np.ndarray]:
    """File name -> layer: the first label variable is labels.npy."""
    if fields and not labels:
        raise ZooError("prepare.cube.fields needs prepare.cube.labels: fields are areas of equal labels")
    layers = {"labels.npy" if i == 0 else f"labels_{name.lower()}.npy": a for i, (name, a) in enumerate(labels.items())}
    return layers | ({BLOCKS: connected_fields(list(labels.values()))} if fields else {})
