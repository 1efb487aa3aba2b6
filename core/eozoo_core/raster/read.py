"""Reading rasters by window: float32 with NaN for whatever is missing, and one-line errors that name the file.

`RasterReader` reads everything that GDAL reads, `ArrayReader` a ``.npy`` file or an array in memory. This module
imports rasterio; import it where rasters are used, not where names are listed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # some of rasterio's calls raise it unwrapped
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.tiles import Window

CACHE_BYTES = 64 * 2**20  # GDAL's own default is 5 % of the machine's memory


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says about itself, without its pixels.

    Per band of the file: ``dtypes``, ``nodata`` (None = not declared), ``descriptions`` and ``units`` (both "" where
    the file says nothing), ``scales`` and ``offsets`` (value = stored * scale + offset; readers have applied them).
    ``bands`` are the 1-based numbers of the bands that hold data, that is all but alpha. ``tags``: those of the file.
    """

    path: str
    grid: Grid
    bands: tuple[int, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    descriptions: tuple[str, ...]
    units: tuple[str, ...]
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def select(self, names: Sequence[str | int] | None) -> tuple[int, ...]:
        """Band numbers (1-based) of ``names``: numbers stay, strings are found by description; None = all data.

        Raises ZooError for a number or name that the file does not have.
        """
        if names is None:
            return self.bands
        known = [d for d in self.descriptions if d]
        for name in names:
            if isinstance(name, str) and known.count(name) > 1:
                raise ZooError(f"{self.path}: several bands are called {name!r}; choose by number, 1 is the first")
            if isinstance(name, str) and name not in known:
                raise ZooError(f"{self.path}: no band is called {name!r}.{did_you_mean(name, known)}")
            if not isinstance(name, str) and not 1 <= name <= len(self.dtypes):
                raise ZooError(f"{self.path}: no band {name}; the file has bands 1 to {len(self.dtypes)}")
        return tuple(self.descriptions.index(name) + 1 if isinstance(name, str) else int(name) for name in names)


@contextmanager
def gdal(path: str | Path, problem: str) -> Iterator[None]:
    """Run GDAL with a bounded cache; turn its errors into ``ZooError("<path>: <problem> (<GDAL's reason>)")``.

    GDAL's cache is one for the process; it is set for the length of the block and given back afterwards.
    """
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # Grid says it with None
            yield
    # rasterio raises SystemError where GDAL fails and leaves no reason
    except (RasterioError, OSError, CPLE_BaseError, SystemError) as error:
        reasons = [str(e) for e in (error.__cause__, error) if e is not None and str(e)]
        reason = " ".join((reasons or [type(error).__name__])[0].split(". To debug")[0].split())
        raise ZooError(f"{path}: {problem} ({reason})") from error


class Reader:
    """What `open_reader` opens: a context manager with ``info``, ``read(window, bands)`` and ``thumbnail(longest)``."""

    info: RasterInfo
    block_rows: int  # rows that the file stores together

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class RasterReader(Reader):
    """An open raster, read window by window. A context manager; not to be shared between threads.

    ``scaled`` applies the file's own scale and offset per band, else values are as stored. Opening raises ZooError for
    what GDAL cannot read and for complex numbers.
    """

    def __init__(self, path: str | Path, scaled: bool = True):
        self._scaled = scaled
        with gdal(path, "cannot be read as a raster; check the path and the file"):
            self._dataset = rasterio.open(path)
            self.info = _info(str(path), self._dataset)
            self._flags = [set(flags) for flags in self._dataset.mask_flag_enums]
            self._alpha = {i for i, kind in enumerate(self._dataset.colorinterp, 1) if kind == ColorInterp.alpha}
            self.block_rows = self._dataset.block_shapes[0][0]
        if any("complex" in dtype for dtype in self.info.dtypes):
            self.close()
            raise ZooError(f"{path}: holds complex numbers; convert it to real bands (amplitude, intensity) first")

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = ``info.bands``); NaN = missing.

        Missing is: the band's nodata value, NaN, and whatever the file's mask or alpha band hides (alpha hides nothing
        where it is itself read as data). Integers beyond 2**24 lose their last digits in float32.
        """
        bands = tuple(self.info.bands if bands is None else bands)
        area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        last = window.row + window.height - 1
        with gdal(self.info.path, f"rows {window.row} to {last} cannot be read; the file is damaged or incomplete"):
            kinds = {self.info.dtypes[band - 1] for band in bands}
            raw = self._dataset.read(bands, window=area, out_dtype=kinds.pop() if len(kinds) == 1 else "float64")
            values = raw.astype(np.float32, copy=False)
            for i, band in enumerate(bands):
                nodata = self.info.nodata[band - 1]
                missing = None if nodata is None or np.isnan(nodata) else _equal(raw[i], nodata)
                if self._has_mask(band, bands):
                    hidden = self._dataset.read_masks(band, window=area) == 0
                    missing = hidden if missing is None else missing | hidden
                if self._scaled:
                    values[i] = raw[i] * self._dataset.scales[band - 1] + self._dataset.offsets[band - 1]
                if missing is not None:
                    values[i][missing] = np.nan
        return values

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of the raster thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, NaN = missing.

        Nearest pixels, from the file's overviews where it has them: a picture for the eye, cheap for any size.
        """
        bands = tuple(self.info.bands if bands is None else bands)
        shape = _thinned(self.info.grid, longest)
        with gdal(self.info.path, "cannot be read; the file is damaged or incomplete"):
            shown = self._dataset.read(bands, out_shape=(len(bands), *shape), out_dtype="float32", masked=True)
        values = shown.filled(np.nan)
        for i, band in enumerate(bands if self._scaled else ()):
            values[i] = values[i] * self.info.scales[band - 1] + self.info.offsets[band - 1]
        return values

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        self._dataset.close()

    def _has_mask(self, band: int, bands: tuple[int, ...]) -> bool:
        """Whether something other than the band's own nodata value hides pixels."""
        flags = self._flags[band - 1]
        if flags == {MaskFlags.all_valid} or flags == {MaskFlags.nodata}:
            return False
        return MaskFlags.alpha not in flags or not self._alpha & set(bands)


class ArrayReader(Reader):
    """The same interface over an array ``(C, H, W)`` or ``(H, W)``, or the ``.npy`` file of one (read lazily).

    NaN = missing. There is no CRS, transform, name or unit. Raises ZooError for a truncated, pickled or non-array file,
    other dimensions and non-numeric values.
    """

    def __init__(self, source: str | Path | np.ndarray):
        path = "array" if isinstance(source, np.ndarray) else str(source)
        array = source if isinstance(source, np.ndarray) else _load(Path(source))
        if array.ndim not in (2, 3) or array.dtype.kind not in "fiub" or array.size == 0:
            raise ZooError(f"{path}: expected numbers of shape (C, H, W), found {array.dtype} {array.shape}")
        self._array = array if array.ndim == 3 else array[None]
        count, height, width = self._array.shape
        none = ("",) * count
        self.info = RasterInfo(
            path,
            Grid(height, width),
            tuple(range(1, count + 1)),
            (str(array.dtype),) * count,
            (None,) * count,
            none,
            none,
        )
        self.block_rows = 1

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """Pixels ``(C, height, width)`` float32 of the 1-based ``bands`` (None = all); NaN = missing."""
        chosen = [band - 1 for band in (self.info.bands if bands is None else bands)]
        # take copies already; a second copy by astype would halve the speed of loading patches.
        values = self._array[(slice(None), *window.slices)].take(chosen, axis=0)
        return np.asarray(values).astype(np.float32, copy=False)

    def thumbnail(self, longest: int = 1500, bands: Sequence[int] | None = None) -> np.ndarray:
        """All of the array thinned to at most ``longest`` pixels a side: ``(C, h, w)`` float32, NaN = missing."""
        chosen = [band - 1 for band in (self.info.bands if bands is None else bands)]
        height, width = _thinned(self.info.grid, longest)
        grid = self.info.grid
        rows, cols = np.arange(height) * grid.height // height, np.arange(width) * grid.width // width
        return self._array[np.ix_(chosen, rows, cols)].astype(np.float32)


def open_reader(path: str | Path) -> Reader:
    """Open ``path`` for reading by window: ``.npy`` with `ArrayReader`, everything else with `RasterReader`."""
    return ArrayReader(path) if Path(path).suffix.lower() == ".npy" else RasterReader(path)


def read_info(path: str | Path) -> RasterInfo:
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
        return reader.read(Window(0, 0, reader.info.grid.height, reader.info.grid.width))


def _load(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        # numpy's own words would advise to load the pickle anyway.
        reason = "it holds Python objects" if "pickle" in str(error) else " ".join(str(error).split())
        raise ZooError(f"{path}: cannot be read as a .npy array; check the path and the file ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise ZooError(f"{path}: is an archive of arrays; save the one array with numpy.save")
    return array


def _info(path: str, dataset: rasterio.DatasetReader) -> RasterInfo:
    georeferenced = dataset.crs is not None or not dataset.transform.is_identity
    grid = Grid(dataset.height, dataset.width, dataset.crs, dataset.transform if georeferenced else None)
    data = [i for i, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha]
    return RasterInfo(
        path,
        grid,
        tuple(data),
        tuple(dataset.dtypes),
        tuple(dataset.nodatavals),
        tuple(text or "" for text in dataset.descriptions),
        tuple(text or "" for text in dataset.units),
        tuple(dataset.scales),
        tuple(dataset.offsets),
        dataset.tags(),
    )


def _thinned(grid: Grid, longest: int) -> tuple[int, int]:
    """Rows and columns when the longer side has at most ``longest`` pixels, at least one each."""
    shrink = min(1.0, longest / max(grid.height, grid.width))
    return max(1, round(grid.height * shrink)), max(1, round(grid.width * shrink))


def _equal(values: np.ndarray, nodata: float) -> np.ndarray:
    """Where ``values`` are ``nodata``; for floats within 2 units in the last place of float32, as GDAL compares."""
    if values.dtype.kind != "f":
        return values == nodata
    with np.errstate(over="ignore", invalid="ignore"):
        return (values == values.dtype.type(nodata)) | (np.abs(values - nodata) < 4 * 2.0**-23 * abs(nodata))
