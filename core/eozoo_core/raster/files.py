"""Several maps of one scene, written together, strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.zarr_map import ZarrWriter

Strip = Mapping[str, np.ndarray]  # output -> its values in some rows (..., n, W), NaN = missing


@dataclass(frozen=True)
class Layer:
    """One file of a map, and what its bands are made of.

    name:   of the output that it shows, or of what is made of outputs; a part of the file's name.
    dtype:  of the pixels; None = float32, and uint8 for classes.
    nodata: what stands for NaN in the file; None = NaN for floats, 255 for classes.
    values: turns the outputs of a strip into bands (bands, n, W) float32; None = the output called ``name`` as it is.
    quantity: what is measured ("canopy height"), for the tags QUANTITY and UNIT; "" = neither.
    """

    name: str
    bands: tuple[Band, ...]
    dtype: str | None = None
    nodata: float | None = None
    values: Callable[[Strip], np.ndarray] | None = None
    quantity: str = ""

    def sized(self, strip: Strip) -> Layer:
        """Return the layer with a band for every channel of an output that does not say how many it has."""
        if self.values is not None or len(self.bands) > 1:
            return self
        (band,), count = self.bands, math.prod(strip[self.name].shape[:-2])
        return (
            self
            if count == 1
            else replace(self, bands=tuple(Band(f"{band.name} {i}", band.unit) for i in range(count)))
        )

    def of(self, strip: Strip) -> np.ndarray:
        """Return the layer's bands (bands, n, W) of a strip."""
        found = strip[self.name] if self.values is None else self.values(strip)
        return found.reshape(len(self.bands), *found.shape[-2:])

    def writer(self, path: Path, grid: Grid, tags: Mapping[str, str]) -> CogWriter | ZarrWriter:
        """Return a writer of the layer's file, of what its ending says."""
        classes = bool(self.bands[0].classes)
        nodata = 255 if classes and self.nodata is None else self.nodata
        dtype = self.dtype or ("uint8" if classes else "float32")
        told = {"QUANTITY": self.quantity, "UNIT": self.bands[0].unit} if self.quantity else {}
        if path.suffix == ".zarr":
            return ZarrWriter(path, grid, self.bands, dtype, nodata, told | dict(tags), self.name)
        return CogWriter(path, grid, self.bands, dtype, nodata, told | dict(tags))


class Shown(dict[str, Path]):
    """The files of a map by layer, for pictures. ``in_memory``: the bands of those that are still in memory."""

    def __init__(self, files: Mapping[str, Path]):
        super().__init__(files)
        self.in_memory: dict[str, np.ndarray] = {}


class MapFiles:
    """Writers of all layers of one map, one file each: one layer in QGIS."""

    def __init__(self, layers: Sequence[tuple[Path, Layer]], grid: Grid, tags: Mapping[str, str]):
        self._layers = [layer for _, layer in layers]
        self._writers = [layer.writer(path, grid, tags) for path, layer in layers]

    def __enter__(self) -> MapFiles:
        with ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    @property
    def shown(self) -> dict[str, np.ndarray]:
        """The bands of small layers, which are still in memory; see `CogWriter.shown`."""
        found = {layer.name: writer.shown for layer, writer in zip(self._layers, self._writers, strict=True)}
        return {name: values for name, values in found.items() if values is not None}

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add text to every file's metadata."""
        for writer in self._writers:
            writer.tag(tags)

    def write_rows(self, row: int, strip: Strip, hidden: np.ndarray) -> None:
        """Add the rows from ``row`` on to every file; ``hidden`` (n, W): pixels that are missing in all of them."""
        for layer, writer in zip(self._layers, self._writers, strict=True):
            writer.write_rows(row, np.where(hidden, np.float32(np.nan), layer.of(strip)))
