"""From a raster to a map: windows read once, predicted in batches and blended, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eozoo_core.raster.read import Reader
from eozoo_core.raster.tiles import Blender, Window, windows

Predict = Callable[[np.ndarray], np.ndarray]
READ_AHEAD = 1024  # rows; a file whose blocks are taller is read in strides and left to GDAL's cache


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut: windows of ``size`` pixels every ``stride`` pixels, ``batch_size`` of them at a time."""

    size: int = 256
    stride: int = 192
    batch_size: int = 8


def predicted_rows(
    reader: Reader,
    predict: Predict,
    tiling: Tiling,
    bands: Sequence[int],
    outputs: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Predict every pixel of ``reader``; yield blended rows ``(outputs, n, W)`` from top to bottom, each row once.

    Memory is bounded by a strip, however tall the scene. ``predict``: ``(B, C, size, size)`` float32, NaN = missing ->
    ``(B, outputs, size, size)``; the windows come in row-major order, and one in which everything is missing is not
    predicted at all. A scene smaller than the window is padded with NaN to the right and below. A pixel with any of its
    ``bands`` (1-based) missing is NaN in all outputs whatever the model says there. ``progress(done, total)`` counts
    windows. Raises ZooError for unreadable input and a stride above the window size.
    """
    grid = reader.info.grid
    todo = windows(grid.height, grid.width, tiling.size, tiling.stride)
    blender = Blender(grid.height, grid.width, outputs, tiling.size, tiling.stride)
    strip = RowBuffer(reader, bands, tiling.stride)
    batcher = _Batcher(predict, tiling, outputs)
    for number, window in enumerate(todo):
        batcher.put(window, *strip.window(window))
        if batcher.full or number + 1 == len(todo):
            for done, prediction in batcher.run():
                rows = blender.add(done, prediction)
                if rows.shape[1]:
                    yield rows
            if progress is not None:
                progress(number + 1, len(todo))
    rows = blender.close()
    if rows.shape[1]:
        yield rows


class RowBuffer:
    """Full-width rows of a raster, each read once, in whole rows of the file's blocks so that each is decoded once.

    Holds at most a window's height and one row of blocks (or one stride) more.
    """

    def __init__(self, reader: Reader, bands: Sequence[int], stride: int):
        self._reader, self._bands = reader, tuple(bands)
        self._height, self._width = reader.info.grid.height, reader.info.grid.width
        block = reader.block_rows
        self._chunk = -(-stride // block) * block if block <= READ_AHEAD else stride
        self._rows = np.empty((len(self._bands), 0, self._width), np.float32)
        self._first = self._next = 0

    @property
    def held(self) -> int:
        """Rows now in memory."""
        return self._rows.shape[1]

    def window(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """A view of a window's values ``(C, h, w)``, and the pixels ``(h, w)`` bool that miss any band.

        Windows come in row-major order: rows above the current one are gone.
        """
        stop = window.row + window.height
        if stop > self._next:
            self._advance(window.row, stop)
        rows, cols = slice(window.row - self._first, stop - self._first), window.slices[1]
        values = self._rows[:, rows, cols]
        return values, np.logical_or.reduce([np.isnan(band) for band in values])

    def _advance(self, first: int, stop: int) -> None:
        """Drop the rows above ``first`` and read on until ``stop``, rounded up to whole chunks."""
        stop = min(-(-stop // self._chunk) * self._chunk, self._height)
        kept, old = first - self._first, self.held
        rows = np.empty((len(self._bands), stop - first, self._width), np.float32)
        rows[:, : old - kept] = self._rows[:, kept:]
        self._rows = rows  # frees the old rows before new ones are read
        for row in range(self._next, stop, self._chunk):
            count = min(self._chunk, stop - row)
            rows[:, row - first : row - first + count] = self._reader.read(
                Window(row, 0, count, self._width), self._bands
            )
        self._first, self._next = first, stop


class _Batcher:
    """Collects windows into batches and gives their predictions back in order, masked where the input is missing."""

    def __init__(self, predict: Predict, tiling: Tiling, outputs: int):
        self._predict, self._tiling, self._outputs = predict, tiling, outputs
        self._waiting: list[tuple[Window, np.ndarray]] = []
        self._inputs: list[np.ndarray] = []

    @property
    def full(self) -> bool:
        """Whether a batch is ready, or so much missing area has queued up that it should be let through."""
        return len(self._inputs) == self._tiling.batch_size or len(self._waiting) >= 4 * self._tiling.batch_size

    def put(self, window: Window, values: np.ndarray, hidden: np.ndarray) -> None:
        """Queue a window; the values are copied."""
        self._waiting.append((window, hidden))
        if not hidden.all():
            size = self._tiling.size
            padded = np.full((values.shape[0], size, size), np.nan, np.float32)
            padded[:, : window.height, : window.width] = values
            self._inputs.append(padded)

    def run(self) -> list[tuple[Window, np.ndarray]]:
        """Predict what is queued; NaN where any input band is missing."""
        predicted = iter(self._call())
        results = []
        for window, hidden in self._waiting:
            if hidden.all():
                values = np.full((self._outputs, *hidden.shape), np.nan, np.float32)
            else:
                values = next(predicted)[:, : window.height, : window.width]
                values = np.where(hidden, np.float32(np.nan), values) if hidden.any() else values
            results.append((window, values))
        self._waiting, self._inputs = [], []
        return results

    def _call(self) -> np.ndarray:
        if not self._inputs:
            return np.empty((0,), np.float32)
        batch = np.stack(self._inputs)
        predicted = np.asarray(self._predict(batch))
        expected = (len(batch), self._outputs, *batch.shape[2:])
        if predicted.shape != expected:
            raise ValueError(f"the model returned {predicted.shape} for {batch.shape}, expected {expected}")
        return predicted
