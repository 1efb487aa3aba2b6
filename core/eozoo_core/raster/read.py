"""Reading rasters by window: float32 with NaN for whatever is missing, and one-line errors that name the file.

`RasterReader` reads everything that GDAL reads, `ArrayReader` a ``.npy`` file or an array in memory. This module
imports rasterio; import it where rasters are used, not where names are listed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # some of rasterio's calls raise it unwrapped
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import gdal_name, is_remote, shown
from eozoo_core.raster.arrays import map_array
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.info import RasterInfo, info_of
from eozoo_core.raster.reader import Openable, Reader, find_fillers
from eozoo_core.raster.remote import opened_as, options
from eozoo_core.raster.tiles import Window
from eozoo_core.raster.trust import FORMATS, require_own_sources

CACHE_BYTES = 64 * 2**20  # GDAL's own default is 5 % of the machine's memory


@contextmanager
def gdal(path: str | Path, problem: str, kind: type[ZooError] = ZooError, cache: int = CACHE_BYTES) -> Iterator[None]:
    """Run GDAL with a bounded cache; turn its errors into ``kind``: "<path>: <problem> (<GDAL's reason>)".

    GDAL's cache is one for the process; it is set for the length of the block and given back afterwards.
    """
    remote = options() if is_remote(path) else {}
    try:
        with rasterio.Env(GDAL_CACHEMAX=cache, **remote), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # Grid says it with None
            yield
    # rasterio raises SystemError where GDAL fails and leaves no reason
    except (RasterioError, OSError, CPLE_BaseError, SystemError) as error:
        reasons = [str(e) for e in (error.__cause__, error) if e is not None and str(e)]
        reason = " ".join((reasons or [type(error).__name__])[0].split(". To debug")[0].split())
        raise kind(f"{shown(path)}: {problem} ({reason})") from error


class RasterReader(Reader):
    """An open raster, read window by window. A context manager; not to be shared between threads.

    Values are physical: each band's scale and offset tags (GeoTIFF, CF packing of NetCDF) are applied. ``missing`` are
    stored values that mean missing in every band, beside what the file declares. Opening raises ZooError for what GDAL
    cannot read, for complex numbers, and as `info.info_of`. ``cache``: bytes of blocks that GDAL keeps while it reads.
    """

    def __init__(self, path: str | Path, missing: Sequence[float] = ()):
        self._missing = tuple(missing)
        if is_remote(path):
            name, formats = opened_as(str(path))
        else:
            require_own_sources(path)
            name, formats = gdal_name(path), FORMATS
        with gdal(path, "cannot be read as a raster; check the path and the file"):
            self._dataset = rasterio.DatasetReader(name, driver=formats)
            try:
                self.info = info_of(shown(path), self._dataset)
            except ZooError:
                self.close()
                raise
            self._flags = [set(flags) for flags in self._dataset.mask_flag_enums]
            self._alpha = {i for i, kind in enumerate(self._dataset.colorinterp, 1) if kind == ColorInterp.alpha}
            self.block_rows = self._dataset.block_shapes[0][0]
        self.cache = CACHE_BYTES

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of blocks of one band, as GDAL caches it."""
        rows, columns = self._dataset.block_shapes[0]
        return rows * -(-self.info.grid.width // columns) * columns * np.dtype(self.info.dtypes[0]).itemsize

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = ``info.bands``); NaN = missing.

        Missing is: the band's nodata value, NaN and infinity, and whatever the file's mask or alpha band hides (alpha
        hides nothing where it is itself read as data). Integers beyond 2**24 lose their last digits in float32.
        """
        bands = tuple(self.info.bands if bands is None else bands)
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        last = window.row + window.height - 1
        problem = f"rows {window.row} to {last} cannot be read; the file is damaged or incomplete"
        with gdal(self.info.path, problem, cache=self.cache):
            return self._values(bands, {"window": area})

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of the raster thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, NaN = missing.

        Nearest pixels, from the file's overviews where it has them: a picture for the eye, cheap for any size.
        """
        bands = tuple(self.info.bands if bands is None else bands)
        with gdal(self.info.path, "cannot be read; the file is damaged or incomplete"):
            return self._values(bands, {"out_shape": _thinned(self.info.grid, longest)})

    def legend(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        """Return name and colour (red, green, blue) of every class of band 1, as `cog.CogWriter` wrote them."""
        with gdal(self.info.path, "cannot be read"):
            names = json.loads(self._dataset.tags(1).get("CLASS_NAMES", "{}"))
            colours = self._dataset.colormap(1) if names else {}
        return {int(code): (name, tuple(colours[int(code)][:3])) for code, name in names.items()}

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        self._dataset.close()

    def _values(self, bands: tuple[int, ...], part: dict[str, Any]) -> np.ndarray:
        """Physical values of a ``part`` of the raster, in the words of rasterio's ``read``."""
        kinds = {self.info.dtypes[band - 1] for band in bands}
        if len(kinds) == 1:
            raw = self._stored(bands, part, kinds.pop())
        else:  # rasterio takes bands of one type only
            raw = np.concatenate([self._stored((band,), part, "float64") for band in bands])
        values = raw.astype(np.float32, copy=False)
        hidden = [self._hidden(band, bands, raw[i], part) for i, band in enumerate(bands)]  # before values change
        if self.fillers is not None:
            self.fillers += find_fillers(raw, hidden)
        for i, band in enumerate(bands):
            scale, offset = self.info.scales[band - 1], self.info.offsets[band - 1]
            if scale != 1 or offset:
                values[i] = raw[i] * scale + offset
            if hidden[i] is not None:
                values[i][hidden[i]] = np.nan
            if raw.dtype.kind == "f":
                values[i][np.isinf(values[i])] = np.nan
        return values

    def _stored(self, bands: tuple[int, ...], part: dict[str, Any], kind: str) -> np.ndarray:
        shape = {"out_shape": (len(bands), *part["out_shape"])} if "out_shape" in part else part
        return self._dataset.read(bands, **shape, out_dtype=kind)

    def _hidden(
        self, band: int, bands: tuple[int, ...], raw: np.ndarray, part: dict[str, Any]
    ) -> np.ndarray | None:  # fmt: skip
        """Which stored values of a band are missing; None = none but NaN."""
        whole64 = self.info.dtypes[band - 1] in ("int64", "uint64")  # GDAL knows their nodata value exactly
        nodata = None if whole64 else self.info.nodata[band - 1]
        declared = () if nodata is None or np.isnan(nodata) else (nodata,)
        found = [_equal(raw, value) for value in (*declared, *self._missing)]
        if whole64 or self._has_mask(band, bands):
            found.append(self._dataset.read_masks(band, **part) == 0)
        if MaskFlags.alpha not in self._flags[band - 1] and not (self._alpha & set(bands) or self.info.doubt):
            # GDAL masks by no alpha of floats, and by none where a nodata value is declared too
            found += [self._dataset.read(alpha, **part) == 0 for alpha in self._alpha]
        return np.logical_or.reduce(found) if found else None

    def _has_mask(self, band: int, bands: tuple[int, ...]) -> bool:
        """Whether something other than the band's own nodata value hides pixels."""
        flags = self._flags[band - 1]
        if flags == {MaskFlags.all_valid} or flags == {MaskFlags.nodata}:
            return False
        return MaskFlags.alpha not in flags or not (self._alpha & set(bands) or self.info.doubt)


class ArrayReader(Reader):
    """The same interface over an array ``(C, H, W)`` or ``(H, W)``, or the ``.npy`` file of one (read lazily).

    NaN and infinity = missing, and so are the values ``missing``. There is no CRS, transform, name or unit. Raises
    ZooError for a truncated, pickled or non-array file, other dimensions and non-numeric values.
    """

    def __init__(self, source: str | Path | np.ndarray, missing: Sequence[float] = ()):
        path = "array" if isinstance(source, np.ndarray) else str(source)
        array = source if isinstance(source, np.ndarray) else map_array(Path(source))
        if array.ndim not in (2, 3) or array.dtype.kind not in "fiub" or array.size == 0:
            raise ZooError(f"{path}: expected numbers of shape (C, H, W), found {array.dtype} {array.shape}")
        self._array = array if array.ndim == 3 else array[None]
        self._missing = tuple(missing)
        count, height, width = self._array.shape
        kinds, names, unpacked = (str(array.dtype),) * count, ("",) * count, ((1.0,) * count, (0.0,) * count)
        numbers = tuple(range(1, count + 1))
        self.info = RasterInfo(
            path, Grid(height, width), numbers, kinds, (None,) * count, names, names, *unpacked
        )  # fmt: skip
        self.block_rows = 1

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = all); NaN = missing."""
        chosen = [band - 1 for band in (self.info.bands if bands is None else bands)]
        # take copies already; a second copy by astype would halve the speed of loading patches.
        return self._values(self._array[(slice(None), *window.slices)].take(chosen, axis=0))

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of the array thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, NaN = missing."""
        chosen = [band - 1 for band in (self.info.bands if bands is None else bands)]
        height, width = _thinned(self.info.grid, longest)
        grid = self.info.grid
        rows, cols = np.arange(height) * grid.height // height, np.arange(width) * grid.width // width
        return self._values(self._array[np.ix_(chosen, rows, cols)])

    def _values(self, stored: np.ndarray) -> np.ndarray:
        stored = np.asarray(stored)  # not the memory map
        hidden = np.logical_or.reduce([_equal(stored, v) for v in self._missing]) if self._missing else None
        if self.fillers is not None:
            self.fillers += find_fillers(stored, [None] * len(stored) if hidden is None else hidden)
        values = stored.astype(np.float32, copy=False)
        if hidden is not None:
            values[hidden] = np.nan
        if stored.dtype.kind == "f":
            values[np.isinf(values)] = np.nan
        return values


def open_reader(path: str | Path | Openable, missing: Sequence[float] = ()) -> Reader:
    """Open ``path`` for reading by window: ``.npy`` with `ArrayReader`, other files with `RasterReader`.

    ``missing``: stored values that mean missing, beside what the file declares.
    """
    if isinstance(path, Openable):
        return path.open(missing)
    from eozoo_core.raster.zarr_store import is_zarr, open_zarr

    if is_zarr(path):
        return open_zarr(path, missing)
    kind = ArrayReader if Path(path).suffix.lower() == ".npy" else RasterReader
    return kind(path, missing)


def read_info(path: str | Path | Openable) -> RasterInfo:
    """Open a raster or ``.npy`` file and say what it is, without reading pixels. Raises ZooError if unreadable."""
    with open_reader(path) as reader:
        return reader.info


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Return files of one folder by their names without ending. Raises ZooError where two share one."""
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise ZooError(f"{file.parent}: {found[file.stem].name} and {file.name} share a name; keep one of them")
        found[file.stem] = file
    return found


def first_readable(paths: Sequence[Path]) -> RasterInfo:
    """Return what the first file says that can be read; raise what the first one said where none of 50 can."""
    problem = None
    for path in paths[:50]:
        try:
            return read_info(path)
        except ZooError as error:
            problem = problem or error
    raise problem or ValueError("no file was given")


def read_whole(path: str | Path) -> np.ndarray:
    """Read all data bands (C, H, W) of a raster or ``.npy`` file as float32, NaN = missing. Raises ZooError."""
    with open_reader(path) as reader:
        return reader.read(reader.info.grid.whole)


def _thinned(grid: Grid, longest: int) -> tuple[int, int]:
    """Rows and columns when the longer side has at most ``longest`` pixels, at least one each."""
    shrink = min(1.0, longest / max(grid.height, grid.width))
    return max(1, round(grid.height * shrink)), max(1, round(grid.width * shrink))


def _equal(values: np.ndarray, nodata: float) -> np.ndarray:
    """Where ``values`` are ``nodata``; for floats within 2 units in the last place of float32, as GDAL compares."""
    if values.dtype.kind != "f":
        return values == nodata
    near = 4 * 2.0**-23 * abs(nodata)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.fmin.reduce(values, None), np.fmax.reduce(values, None)  # a quarter of the work below
        if np.isfinite(nodata) and not low - 2 * near <= nodata <= high + 2 * near:
            return np.zeros(values.shape, bool)
        return (values == values.dtype.type(nodata)) | (np.abs(values - nodata) < near)
