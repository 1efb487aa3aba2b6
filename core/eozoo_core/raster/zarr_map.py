"""Writing maps as Zarr: a GeoZarr group that xarray and GDAL place, streamed, complete under its name or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from eozoo_core.raster.cog import BLOCK, Band, encoded, nodata_of
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.zarr_store import require_xarray
from eozoo_core.run.writing import hidden_folder, publish, refused

_LARGEST_NAME = 60


class ZarrWriter:
    """Write a map in row strips into a folder ``NAME.zarr``; the same interface as `cog.CogWriter`.

    One variable, called as ``name``: (y, x), or (band, y, x) of several bands with their names as coordinate; chunks of
    512 x 512 px of one band, compressed (zstd). Coordinates are pixel centres; ``spatial_ref`` has the CRS and GDAL's
    transform. Metadata are consolidated: it is read over a network as it is. Memory is 512 rows.
    """

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        bands: Sequence[Band],
        dtype: str = "float32",
        nodata: float | None = None,
        tags: Mapping[str, str] | None = None,
        name: str = "map",
    ):
        require_xarray(str(path), store=True)
        self.path, self.grid, self.bands, self._name = Path(path), grid, tuple(bands), name
        self._dtype, self._tags = np.dtype(dtype), dict(tags or {})
        self._nodata = nodata_of(self._dtype, nodata)
        self.shown = None  # nothing of it is kept in memory

    def __enter__(self) -> ZarrWriter:
        import zarr

        self._stack = ExitStack()
        size = len(self.bands) * self.grid.height * self.grid.width * self._dtype.itemsize
        work = self._stack.enter_context(hidden_folder(self.path, size // 20))
        self._part, self._before = work / self.path.name, work / "before"
        try:
            with refused(self.path):
                self._group = zarr.create_group(str(self._part), zarr_format=2)
                shape, chunks, dims = (self.grid.height, self.grid.width), (BLOCK, BLOCK), ["y", "x"]
                if len(self.bands) > 1:
                    shape, chunks, dims = (len(self.bands), *shape), (1, *chunks), ["band", *dims]
                chunks = tuple(min(a, b) for a, b in zip(chunks, shape, strict=True))
                self._array = self._group.create_array(
                    self._name, shape=shape, chunks=chunks, dtype=self._dtype, fill_value=self._nodata
                )
                self._array.attrs.update({"_ARRAY_DIMENSIONS": dims, **self._about()})
                self._coordinates()
        except BaseException:
            self._stack.close()
            raise
        self._rows = np.empty((len(self.bands), min(BLOCK, self.grid.height), self.grid.width), self._dtype)
        self._filled = self._written = 0
        return self

    def write_rows(self, row: int, values: np.ndarray) -> None:
        """Add ``values (bands, n, width)`` as the rows from ``row`` on; rows come in order, each once. NaN = missing.

        Raises ZooError where a value does not fit or the disk is full.
        """
        if row != self._written + self._filled or row + values.shape[1] > self.grid.height:
            raise ValueError(f"rows from {row} on were given where row {self._written + self._filled} is due")
        while values.shape[1]:
            taken = min(values.shape[1], self._rows.shape[1] - self._filled)
            part = encoded(values[:, :taken], self._dtype, self._nodata, self.path)
            self._rows[:, self._filled : self._filled + taken] = part
            self._filled, values = self._filled + taken, values[:, taken:]
            if self._filled == self._rows.shape[1]:
                self._flush()

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add text to the group's attributes: what is known only when its rows are."""
        self._tags |= tags

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with self._stack:
            if kind is not None:
                return
            self._flush()
            if self._written != self.grid.height:
                raise ValueError(f"{self.path}: {self._written} of {self.grid.height} rows were written")
            with refused(self.path):
                self._finish()

    def _flush(self) -> None:
        if self._filled:
            rows = self._rows[:, : self._filled]
            with refused(self.path):
                part = slice(self._written, self._written + self._filled)
                self._array[..., part, :] = rows if len(self.bands) > 1 else rows[0]
            self._written, self._filled = self._written + self._filled, 0

    def _finish(self) -> None:
        """Close the group, and give it its name; a map that has it goes."""
        import zarr

        self._group.attrs.update({"Conventions": "CF-1.11", **self._tags})
        zarr.consolidate_metadata(str(self._part), zarr_format=2)
        if self.path.exists():
            self.path.replace(self._before)
        try:
            publish(self._part, self.path)
        except BaseException:
            if self._before.exists():
                self._before.replace(self.path)
            raise

    def _about(self) -> dict[str, Any]:
        """Attributes of the variable."""
        first = self.bands[0]
        found: dict[str, Any] = {"long_name": first.name, "units": first.unit or "1"}
        if self.grid.crs is not None or self.grid.transform is not None:
            found |= {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
        if len(self.bands) > 1:
            del found["long_name"]
        if first.classes:
            names = {value: one.name for value, one in first.classes.items()}
            del found["units"]
            meanings = " ".join(name.replace(" ", "_") for name in names.values())
            found |= {"flag_values": list(names), "flag_meanings": meanings, "CLASS_NAMES": json.dumps(names)}
        return found

    def _coordinates(self) -> None:
        """Pixel centres, the names of the bands, CRS and transform."""
        t, crs = self.grid.transform, self.grid.crs
        if len(self.bands) > 1:
            names = np.array([band.name[:_LARGEST_NAME] for band in self.bands])
            self._put("band", names, {"units_of_bands": [band.unit for band in self.bands]})
        if t is not None and not (t.b or t.d):
            of = {"x": (t.c, t.a, self.grid.width), "y": (t.f, t.e, self.grid.height)}
            kind = "degrees" if crs is not None and crs.is_geographic else "projected"
            names = {"x": ("longitude", "degrees_east"), "y": ("latitude", "degrees_north")}
            for axis, (start, step, count) in of.items():
                attrs = {"standard_name": f"projection_{axis}_coordinate", "axis": axis.upper()}
                if kind == "degrees":
                    attrs = {"standard_name": names[axis][0], "units": names[axis][1], "axis": axis.upper()}
                self._put(axis, start + step * (np.arange(count) + 0.5), attrs)
        if t is not None or crs is not None:
            told = {"crs_wkt": crs.to_wkt(), "spatial_ref": crs.to_wkt()} if crs is not None else {}
            place = {"GeoTransform": " ".join(repr(float(v)) for v in t.to_gdal())} if t is not None else {}
            self._put("spatial_ref", np.array(0), {**told, **place})

    def _put(self, name: str, values: np.ndarray, attrs: Mapping[str, Any]) -> None:
        array = self._group.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=None)
        array[...] = values
        array.attrs.update({"_ARRAY_DIMENSIONS": [name] if values.ndim else [], **attrs})
