"""Several maps of one scene, written together, strip by strip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid


class MapFiles:
    """A writer like ``CogWriter`` that shares the bands among files: one map, one layer in QGIS.

    A map of classes is uint8 with 255 for missing; all others are float32 with NaN.
    """

    def __init__(self, layers: Sequence[tuple[Path, list[Band]]], grid: Grid, tags: Mapping[str, str]):
        self.grid, self.bands = grid, [band for _, bands in layers for band in bands]
        self._writers = []
        for file, own in layers:
            kind = ("uint8", 255) if own[0].classes else ("float32", None)
            self._writers.append(CogWriter(file, grid, own, *kind, tags))

    def __enter__(self) -> MapFiles:
        with ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def write_rows(self, row: int, values: np.ndarray) -> None:
        """Add rows (bands, n, width), each file its bands."""
        first = 0
        for writer in self._writers:
            count = len(writer.bands)
            writer.write_rows(row, values[first : first + count])
            first += count
