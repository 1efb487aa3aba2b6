"""Pixels of a map that get no prediction: classes, clouds. Read strip by strip beside the map's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import Part
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.mosaic import Mosaic
from eozoo_core.raster.read import read_info
from eozoo_core.raster.tiles import Window
from eozoo_core.settings.maps import MaskSettings


class RowMask:
    """Says which pixels of a map get no prediction, row by row. Mask rasters of another grid go by the nearest pixel.

    ``scl``: the scene's own classification. Raises ZooError where a mask is set and the map has no CRS, the mask lies
    beside the map, or there is no such classification.
    """

    def __init__(self, grid: Grid, settings: MaskSettings, source: str, scl: Part | None = None):
        self._grid, self._settings, self._row = grid, settings, 0
        self._classes = self._open(settings.classes, source)
        self._clouds = self._open(settings.clouds, source)
        if settings.scl and scl is None:
            raise ZooError(f"{source}: has no band SCL, which infer.mask.scl needs; take it out")
        self._scl = self._open(scl.address if settings.scl and scl else None, source, scl)

    def next(self, count: int) -> np.ndarray:
        """Return which pixels (count, width) of the next rows are masked. Unknown class or cloud = masked."""
        window = Window(self._row, 0, count, self._grid.width)
        self._row += count
        hidden = np.zeros((count, self._grid.width), bool)
        if count and self._classes is not None:
            classes = self._classes.read(window, 1)[0]
            hidden |= np.isnan(classes) | np.isin(classes, self._settings.excluded)
        if count and self._clouds is not None:
            hidden |= ~(self._clouds.read(window, 1)[0] <= self._settings.max_cloud)
        if count and self._scl is not None:
            classes = self._scl.read(window, 1)[0]
            hidden |= np.isnan(classes) | np.isin(classes, self._settings.scl)
        return hidden

    def _open(self, path: Path | str | None, source: str, part: Part | None = None) -> Mosaic | None:
        if path is None:
            return None
        if self._grid.crs is None or self._grid.transform is None:
            raise ZooError(f"{source}: has no CRS, so {path} cannot be laid over it; unset infer.mask")
        mosaic = Mosaic(self._grid, "nearest", part.missing if part else ())
        mosaic.add(Path(path), (part.band or 1,) if part else read_info(path).bands[:1], lambda values: values)
        if len(mosaic) == 0:
            raise ZooError(f"{path}: lies beside {source}; take the mask of that place")
        return mosaic
