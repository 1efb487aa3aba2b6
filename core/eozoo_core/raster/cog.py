"""Writing maps: cloud-optimised GeoTIFF, streamed row by row, complete under its name or not there at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import gdal
from eozoo_core.run.writing import CannotWrite, hidden_folder, make_folder_of, publish, refused, require_space
from eozoo_core.run.written import write_bytes

_FAILED = "cannot be written; is the disk full?"
BLOCK = 512  # pixels; the largest tile of the temporary file and of the result
SMALL = 2**21  # bytes of pixels; a map of no more is put together in memory
_LEVEL = 4  # of DEFLATE: 1 % larger files than GDAL's own 6, in 0.75 of its time


@dataclass(frozen=True)
class Category:
    """A class of a classified map: its name and its colour (red, green, blue, each 0..255)."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Band:
    """What one band of a map holds: its name, its unit ("" = none), and for a class map the class of each value."""

    name: str
    unit: str = ""
    classes: Mapping[int, Category] | None = None


class CogWriter:
    """Write a map in row strips; leaving the ``with`` block turns it into a cloud-optimised GeoTIFF under ``path``.

    ``grid``: the input's rows, columns, CRS and transform; without the latter two the tag GEOREFERENCE says so.
    ``dtype``: of the pixels in the file. ``nodata``: the value that stands for NaN; the default is NaN for floats and
    none for integers, which then take no NaN. ``tags``: text kept in the file's metadata.

    Rows go to an uncompressed tiled GeoTIFF in a hidden folder beside ``path`` and from there through GDAL's COG driver
    (DEFLATE, overviews by mean or, for classes, by nearest neighbour). Memory is one row of tiles; the disk needs about
    three times the raw size while it works. A map of at most `SMALL` bytes is made in memory, in a third of the time.
    The result is flushed to disk and renamed over ``path`` at the very end. On any failure, a full disk for one,
    nothing is left behind and a file already at ``path`` stays as it was.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        bands: Sequence[Band],
        dtype: str = "float32",
        nodata: float | None = None,
        tags: Mapping[str, str] | None = None,
    ):
        self.path, self.grid, self.bands = Path(path), grid, tuple(bands)
        self._dtype = np.dtype(dtype)
        self._nodata = nodata_of(self._dtype, nodata)
        self._tags = dict(tags or {})
        classes = [band.classes for band in self.bands if band.classes]
        if classes and (len(self.bands) > 1 or self._dtype != np.uint8):
            raise ValueError("a colour table needs a map of one band of uint8")
        self._categorical = bool(classes)

    def __enter__(self) -> CogWriter:
        # A small map is one tile of its size: what a tile has beyond it is packed too. GDAL takes no COG below 128.
        self._block = min(BLOCK, max(128, -(-max(self.grid.height, self.grid.width) // 16) * 16))
        self._row_bytes = len(self.bands) * self.grid.width * self._dtype.itemsize
        size = self._row_bytes * self.grid.height
        held = self.grid.height if self.small else min(BLOCK, self.grid.height)
        self._rows = np.empty((len(self.bands), held, self.grid.width), self._dtype)
        self._filled = self._written = 0
        self._stack, self._dataset = ExitStack(), None
        if self.small:
            make_folder_of(self.path)
            with refused(self.path):
                require_space(self.path, size)
            return self
        self._folder = self._stack.enter_context(hidden_folder(self.path, size))
        try:
            with gdal(self.path, _FAILED, CannotWrite):
                self._dataset = self._create()
        except BaseException:
            self._stack.close()
            raise
        return self

    def write_rows(self, row: int, values: np.ndarray) -> None:
        """Add ``values (bands, n, width)`` as the rows from ``row`` on; rows come in order, each once. NaN = missing.

        Floats are rounded for an integer file. Raises ZooError where a value does not fit or the disk is full.
        """
        due = self._written + self._filled
        if values.ndim != 3 or (values.shape[0], values.shape[2]) != (len(self.bands), self.grid.width):
            raise ValueError(f"rows have shape {values.shape}, expected ({len(self.bands)}, n, {self.grid.width})")
        if row != due or row + values.shape[1] > self.grid.height:
            raise ValueError(f"rows {row} to {row + values.shape[1]} were given where row {due} is due")
        while values.shape[1]:
            taken = min(values.shape[1], self._rows.shape[1] - self._filled)
            self._rows[:, self._filled : self._filled + taken] = encoded(
                values[:, :taken], self._dtype, self._nodata, self.path
            )
            self._filled += taken
            values = values[:, taken:]
            if self._filled == self._rows.shape[1] and self._dataset is not None:
                self._flush()

    @property
    def small(self) -> bool:
        """Whether the map is put together in memory."""
        return self._row_bytes * self.grid.height <= SMALL

    @property
    def shown(self) -> np.ndarray | None:
        """All that was written ``(bands, height, width)``, where it is still in memory with NaN for what is missing."""
        plain = self._dtype == np.float32 and np.isnan(self._nodata)
        return self._rows if self.small and plain else None

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add text to the file's metadata: what is known only when its rows are."""
        self._tags |= tags

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                done = self._written + self._filled
                if done != self.grid.height:
                    raise ValueError(f"{self.path}: {done} of {self.grid.height} rows were written")
                if self._dataset is None:
                    self._publish_small()
                else:
                    self._flush()
                    with gdal(self.path, _FAILED, CannotWrite):
                        self._dataset.update_tags(**self._tags)
                        self._dataset.close()
                    self._publish()
        finally:
            if self._dataset is not None:
                # The first failure is the one to report.
                with suppress(ZooError), gdal(self.path, _FAILED, CannotWrite):
                    self._dataset.close()
            self._stack.close()

    def _create(self) -> rasterio.io.DatasetWriter:
        dataset = rasterio.open(
            self._temporary("rows.tif"),
            "w",
            driver="GTiff",
            **self._profile(),
            tiled=True,
            blockxsize=self._block,
            blockysize=self._block,
            interleave="band",
            bigtiff="if_safer",
            photometric="minisblack",  # else GDAL takes four bands of bytes for red, green, blue and alpha
        )
        self._describe(dataset)
        return dataset

    def _profile(self) -> dict[str, Any]:
        return {
            "dtype": self._dtype.name,
            "nodata": self._nodata,
            "count": len(self.bands),
            "height": self.grid.height,
            "width": self.grid.width,
            "crs": self.grid.crs,
            "transform": self.grid.transform,
        }

    def _options(self) -> dict[str, Any]:
        """How the result is packed."""
        resampling = "NEAREST" if self._categorical else "AVERAGE"
        options = {"compress": "DEFLATE", "level": _LEVEL, "predictor": "YES", "blocksize": self._block}
        return options | {"driver": "COG", "bigtiff": "IF_SAFER", "overview_resampling": resampling}

    def _describe(self, dataset: rasterio.io.DatasetWriter) -> None:
        """Say what the bands hold."""
        if self.grid.transform is None and self.grid.crs is None:
            self._tags.setdefault("GEOREFERENCE", "none: the input has neither CRS nor transform")
        for number, band in enumerate(self.bands, 1):
            dataset.set_band_description(number, band.name)
            dataset.set_band_unit(number, band.unit)
            if band.classes:
                dataset.write_colormap(number, {value: (*c.colour, 255) for value, c in band.classes.items()})
                dataset.update_tags(number, CLASS_NAMES=json.dumps({v: c.name for v, c in band.classes.items()}))

    def _temporary(self, name: str) -> str:
        return str(self._folder / name)

    def _flush(self) -> None:
        if self._filled:
            window = rasterio.windows.Window(0, self._written, self.grid.width, self._filled)
            with gdal(self.path, _FAILED, CannotWrite), refused(self.path):
                require_space(self.path, self._row_bytes * self._filled)
                self._dataset.write(self._rows[:, : self._filled], window=window)
            self._written, self._filled = self._written + self._filled, 0

    def _publish(self) -> None:
        """Translate the finished rows, check the result, force it onto the disk and give it its name."""
        finished = self._temporary("cog.tif")
        with gdal(self.path, _FAILED, CannotWrite):
            rasterio.shutil.copy(self._temporary("rows.tif"), finished, **self._options())
            _check(finished, self.grid)
        publish(Path(finished), self.path)

    def _publish_small(self) -> None:
        """Make the result in memory, where no disk can cut it short, and write it at once."""
        with gdal(self.path, _FAILED, CannotWrite), rasterio.MemoryFile() as memory:
            with memory.open(**self._profile(), **self._options()) as dataset:
                dataset.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * (len(self.bands) - 1)]
                self._describe(dataset)
                dataset.update_tags(**self._tags)
                dataset.write(self._rows)
            content = bytes(memory.getbuffer())
        if b"LAYOUT=IFDS_BEFORE_DATA" not in content[:256]:
            raise ZooError(f"{self.path}: GDAL did not write a cloud-optimised GeoTIFF; is its COG driver there?")
        write_bytes(self.path, content)


def _check(path: str, grid: Grid) -> None:
    """Raise OSError unless the file is a COG whose tiles all lie within it: GDAL may only warn about a full disk."""
    size = Path(path).stat().st_size
    with rasterio.open(path) as dataset:
        if dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG" or dataset.shape != (grid.height, grid.width):
            raise OSError("GDAL did not write a cloud-optimised GeoTIFF")
        for band in dataset.indexes:
            for (i, j), _ in dataset.block_windows(band):
                offset, length = (
                    dataset.get_tag_item(f"BLOCK_{what}_{j}_{i}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")
                )
                if offset is not None and int(offset) + int(length) > size:
                    raise OSError("the file was cut short")


def nodata_of(dtype: np.dtype, nodata: float | None) -> float | None:
    """Return what stands for NaN in a file: ``nodata``, or NaN for floats and none for integers."""
    return np.nan if nodata is None and dtype.kind == "f" else nodata


def encoded(values: np.ndarray, dtype: np.dtype, nodata: float | None, path: Path) -> np.ndarray:
    """Return values as the file ``path`` stores them: NaN -> nodata, floats rounded for integer files.

    Raises ZooError where one does not fit, and for NaN without a nodata value.
    """
    if values.dtype == dtype and (dtype.kind != "f" or np.isnan(nodata)):
        return values
    missing = np.isnan(values)
    if dtype.kind != "f":
        values = np.rint(np.where(missing, 0, values))
        limits = np.iinfo(dtype)
        if missing.any() and nodata is None:
            raise ZooError(f"{path}: NaN cannot be stored as {dtype}; give the map a nodata value")
        if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
            raise ZooError(f"{path}: values {values.min():g}..{values.max():g} do not fit {dtype}")
    if nodata is not None and not np.isnan(nodata):
        values = np.where(missing, nodata, values)
    return values.astype(dtype)
