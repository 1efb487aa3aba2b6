"""Rasters that xarray opens or holds: Zarr stores, GeoZarr groups and data in memory, read window by window.

Their variables become bands. Rules: CF conventions 1.11 for coordinates, grid mappings (section 5.6), packing and
missing data (see `packed`), and the GeoZarr conventions ``proj:`` and ``spatial:`` for place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.packed import missing, unpack
from eozoo_core.raster.reader import Openable, Reader, find_fillers
from eozoo_core.raster.tiles import Window

if TYPE_CHECKING:
    import xarray as xr

_ROWS, _COLUMNS = ("y", "lat", "latitude", "northing"), ("x", "lon", "longitude", "easting")
_IN_MEMORY = 256  # rows at a time of what has no chunks
_LARGEST = 2**31  # bytes of a chunk
_OFF = 0.01  # of a pixel, by which a coordinate may lie beside its place


@dataclass(frozen=True)
class Slice:
    """One band: a variable, and the place along its axes other than rows and columns."""

    variable: str
    place: tuple[tuple[str, int], ...]
    name: str


@dataclass(frozen=True)
class InMemory(Openable):
    """An xarray Dataset, whose variables are bands; see `XarrayReader`. ``name`` is for messages."""

    data: Any
    name: str = "the xarray given"
    date: str = ""

    def open(self, missing: Sequence[float] = ()) -> Reader:
        """Open it. Raises ZooError as `XarrayReader`."""
        return XarrayReader(self.data, self.name, missing)


class XarrayReader(Reader):
    """Variables of a Dataset with rows and columns as bands, on one grid.

    A variable ``(y, x)`` is a band of its name; one ``(band, y, x)`` has a band for each label, and one with several
    dates for each date, as 20240501_B04. Values are physical, NaN = missing: packing and fill values in the attributes
    are applied (those that xarray has applied itself are no attributes any more), and ``nodata`` as odc-stac writes it.
    Raises ZooError for no such variable, for several grids, and for coordinates that are not evenly spaced.
    """

    def __init__(self, data: xr.Dataset, name: str, missing: Sequence[float] = ()):
        self._data, self._missing = data, tuple(missing)
        with understood(name):
            grids = {n: axes for n in data.data_vars if (axes := axes_of(data, n)) and data[n].dtype.kind in "fiub"}
            sizes = {(axes, data[n].sizes[axes[0]], data[n].sizes[axes[1]]) for n, axes in grids.items()}
            if not sizes:
                raise ZooError(f"{name}: holds no variable with rows and columns (y, x or lat, lon)")
            if len(sizes) > 1:
                raise ZooError(f"{name}: holds variables of {len(sizes)} grids; name one: {', '.join(map(str, grids))}")
            (self._axes, height, width) = sizes.pop()
            crs, transform = place_of(data, next(iter(grids)), self._axes, name)
            self._bands = list(bands_of(data, list(grids), self._axes))
            chunks = {n: data[n].encoding.get("chunks") or () for n in grids}
        for n, chunk in chunks.items():
            if math.prod(chunk) * data[n].dtype.itemsize > _LARGEST:
                raise ZooError(f"{name}: {n} has chunks of {chunk}, too large to read; store it in smaller ones")
        of = [data[band.variable] for band in self._bands]
        first = chunks[self._bands[0].variable]
        self.block_rows = int(first[of[0].dims.index(self._axes[0])]) if first else min(_IN_MEMORY, height)
        count = len(of)
        tags = {str(key): str(value) for key, value in data.attrs.items() if isinstance(value, str | int | float)}
        self.info = RasterInfo(
            name, Grid(height, width, crs, transform), tuple(range(1, count + 1)), tuple(str(v.dtype) for v in of),
            (None,) * count, tuple(band.name for band in self._bands), tuple(_unit(v.attrs) for v in of),
            (1.0,) * count, (0.0,) * count, tags,
        )  # fmt: skip

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = all); NaN = missing."""
        rows, columns = window.slices
        return self._read({self._axes[0]: rows, self._axes[1]: columns}, bands)

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of it thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, nearest pixels."""
        step = math.ceil(max(self.info.grid.height, self.info.grid.width) / longest)
        return self._read({axis: slice(step // 2, None, step) for axis in self._axes}, bands)

    def close(self) -> None:
        """Close the store; data in memory stay."""
        self._data.close()

    def _read(self, part: Mapping[str, slice], bands: Sequence[int] | None) -> np.ndarray:
        chosen = [self._bands[band - 1] for band in (self.info.bands if bands is None else bands)]
        groups: dict[Any, list[int]] = {}  # bands along one axis of a variable are read together
        for place, band in enumerate(chosen):
            groups.setdefault((band.variable, band.place[:-1]), []).append(place)
        found: list[np.ndarray] = [np.empty(0)] * len(chosen)
        for (name, outer), places in groups.items():
            last = [chosen[place].place[-1:] for place in places]
            where: dict[str, Any] = {**dict(outer), **part}
            if last[0]:
                where[last[0][0][0]] = [one[0][1] for one in last]
            variable = self._data[name].variable
            with understood(self.info.path, "cannot be read; it is damaged or incomplete"):
                left = variable.isel(where)
                axes = [axis for axis in left.dims if axis not in self._axes]
                values = np.asarray(left.transpose(*axes, *self._axes).values)
            values = self._physical(values.reshape(-1, *values.shape[-2:]), variable)
            for place, one in zip(places, values, strict=True):
                found[place] = one
        return np.stack(found)

    def _physical(self, raw: np.ndarray, variable: xr.Variable) -> np.ndarray:
        """Values (C, h, w) as they are stored -> physical, NaN = missing."""
        piece = _Piece(f"of {self.info.path}", raw.dtype, _packing(variable), raw)
        hidden = missing(piece, raw)
        for value in (*self._missing, *_nodata(variable.attrs)):
            hidden |= raw == value
        if self.fillers is not None:
            self.fillers += find_fillers(raw, list(hidden))
        values = unpack(piece).astype(np.float32)
        values[hidden | np.isinf(values)] = np.nan
        return values


@dataclass(frozen=True)
class _Piece:
    """Values that were read, as `packed` takes a variable."""

    name: str
    dtype: np.dtype
    attrs: Mapping[str, Any]
    values: np.ndarray

    def __getitem__(self, selection: Any) -> np.ndarray:
        return self.values[selection]


class understood:  # noqa: N801 - a context manager
    """Turn what xarray, Zarr and the network say of data into one line."""

    def __init__(self, name: str, problem: str = "cannot be read as a raster; check it"):
        self._name, self._problem = name, problem

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, ZooError | MemoryError):
            return
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ZooError(f"{self._name}: {self._problem} ({text})") from error


def axes_of(data: xr.Dataset, name: str) -> tuple[str, str] | None:
    """Return the names of a variable's axes of rows and columns, told by name or by attribute; None = it has none."""
    dims = [str(dim) for dim in data[name].dims]
    rows = [d for d in dims if d.lower() in _ROWS or _is_axis(data, d, "Y")]
    columns = [d for d in dims if d.lower() in _COLUMNS or _is_axis(data, d, "X")]
    return (rows[-1], columns[-1]) if rows and columns else None


def bands_of(data: xr.Dataset, names: Sequence[str], axes: tuple[str, str]) -> Iterator[Slice]:
    """Yield the bands of the variables ``names``, in their order."""
    for name in names:
        others = [str(dim) for dim in data[name].dims if dim not in axes]
        alone = len(names) == 1
        for place in np.ndindex(*(data.sizes[dim] for dim in others)):
            date, label = "", ""
            for dim, number in zip(others, place, strict=True):
                if data.sizes[dim] == 1 and not (alone and dim == "band"):
                    continue
                value = data[dim].values[number] if dim in data.coords else number + 1
                if np.asarray(value).dtype.kind == "M":
                    date = f"{np.datetime_as_string(value, 'D').replace('-', '')}_"
                else:
                    label = str(value) if np.asarray(value).dtype.kind in "OUS" else _long_name(data[name], number)
            own = (label if alone else f"{name} {label}") if label or (alone and "band" in others) else str(name)
            yield Slice(name, tuple(zip(others, place, strict=True)), f"{date}{own}")


def place_of(data: xr.Dataset, name: str, axes: tuple[str, str], who: str) -> tuple[CRS | None, Affine | None]:
    """Return CRS and transform of a variable; None where it does not say. Raises ZooError for uneven coordinates."""
    variable = data[name]
    mapping = variable.encoding.get("grid_mapping") or variable.attrs.get("grid_mapping") or "spatial_ref"
    about = data[mapping].attrs if mapping in data.variables else {}
    own = {**data.attrs, **variable.attrs}
    told = [about.get("crs_wkt"), about.get("spatial_ref"), own.get("proj:wkt2"), own.get("proj:code"), own.get("crs")]
    epsg = own.get("proj:epsg")
    text = next((str(one) for one in [*told, f"EPSG:{epsg}" if epsg else None] if one), "")
    degrees = all(str(data[a].attrs.get("units", "")).startswith("degree") for a in axes if a in data.coords)
    if not text and all(a in data.coords for a in axes) and (degrees or axes[0].lower().startswith("lat")):
        text = "EPSG:4326"
    try:
        crs = CRS.from_user_input(text) if text else None
    except CRSError:
        raise ZooError(f"{who}: its CRS {text[:60]!r} is none that is known; correct it") from None
    if all(axis in data.coords and data[axis].ndim == 1 for axis in axes):
        (dy, y), (dx, x) = (_spacing(data[axis].values, f"{who}: {axis}", about, axis == axes[1]) for axis in axes)
        return crs, Affine(dx, 0, x - dx / 2, 0, dy, y - dy / 2)
    if "GeoTransform" in about:
        return crs, Affine.from_gdal(*(float(part) for part in str(about["GeoTransform"]).split()))
    if "spatial:transform" in own:
        return crs, Affine(*[float(part) for part in own["spatial:transform"]][:6])
    return crs, None


def _spacing(values: np.ndarray, who: str, about: Mapping[str, Any], columns: bool) -> tuple[float, float]:
    """Distance of pixels and place of the first one's centre. Raises ZooError where they are not evenly spaced."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        told = [float(part) for part in str(about.get("GeoTransform", "")).split()]
        if len(told) != 6:
            raise ZooError(f"{who} has one value and no GeoTransform, so the size of a pixel is not told; add it")
        return told[1] if columns else told[5], float(values[0])
    step = (values[-1] - values[0]) / (len(values) - 1)
    off = np.abs(values - (values[0] + step * np.arange(len(values)))).max()
    if not np.isfinite(step) or step == 0 or off > max(_OFF, 4e-7 * np.abs(values).max() / abs(step)) * abs(step):
        raise ZooError(f"{who} is not evenly spaced; resample it to a grid first")
    return float(step), float(values[0])


def _is_axis(data: xr.Dataset, dim: str, axis: str) -> bool:
    attrs = data[dim].attrs if dim in data.coords else {}
    return attrs.get("axis") == axis or attrs.get("standard_name") == f"projection_{axis.lower()}_coordinate"


def _long_name(variable: xr.DataArray, number: int) -> str:
    names = variable.attrs.get("long_name", "")
    return str(names[number]) if isinstance(names, list | tuple) and len(names) > number else ""


def _unit(attrs: Mapping[str, Any]) -> str:
    return str(attrs.get("units", ""))


def _nodata(attrs: Mapping[str, Any]) -> list[float]:
    value = attrs.get("nodata")
    return [float(value)] if isinstance(value, int | float | np.number) and not math.isnan(value) else []


def _packing(variable: xr.Variable) -> dict[str, Any]:
    """Attributes by which stored values become physical; a valid range of what xarray unpacked already, unpacked."""
    names = ("_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max", "valid_range")
    attrs = {name: variable.attrs[name] for name in (*names, "_Unsigned") if name in variable.attrs}
    done = variable.encoding
    if variable.dtype.kind == "f" and ("scale_factor" in done or "add_offset" in done):
        scale, offset = float(done.get("scale_factor", 1)), float(done.get("add_offset", 0))
        for name in {"valid_min", "valid_max", "valid_range"} & set(attrs):
            if np.asarray(attrs[name]).dtype.kind in "iu":
                attrs[name] = np.sort(np.asarray(attrs[name]) * scale + offset)
    return attrs
