"""From a raster to a map: windows read once, predicted in batches and blended, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import Reader
from eozoo_core.raster.tiles import Blender, Tiling, Window

Ask = Callable[[np.ndarray], Callable[[], np.ndarray]]  # takes windows, returns what gives their predictions
Done = list[tuple[Window, np.ndarray]]  # windows with their predictions (outputs, h, w)
Progress = Callable[[int, int], None]  # gets windows that are done, and all
BATCHES = 8  # in a part at least, so that few are not full
READ_AHEAD = 1024  # rows; a file whose blocks are taller is read in strides and left to GDAL's cache


def predicted_rows(
    reader: Reader,
    ask: Ask,
    tiling: Tiling,
    batch_size: int,
    bands: Sequence[int],
    outputs: Callable[[], int],
    progress: Progress | None = None,
) -> Iterator[np.ndarray | None]:
    """Predict every pixel of ``reader``; yield blended rows ``(outputs, n, W)`` from top to bottom, each row once.

    Memory is bounded by a strip, however tall the scene. ``ask`` gets up to ``batch_size`` windows ``(B, C, h, w)``
    float32, NaN = missing; what it returns is called for their predictions ``(B, outputs, h, w)``. The windows come in
    row-major order, and one in which everything is missing is not predicted at all. A scene whose sides the network
    does not take is padded with NaN to the right and below. A pixel with any of its ``bands`` (1-based) missing is NaN
    in all outputs whatever the model says there. ``outputs()`` is asked where nothing was predicted that would tell.
    ``progress(done, total)`` counts windows. Raises ZooError for unreadable input.

    A scene whose windows fill less than one batch yields None once before it calls for predictions: whoever answers
    ``ask`` may put windows of other scenes into the same forward pass meanwhile. A batch never spans two parts (see
    `parts_of`), so batches are the same where workers predict the parts.
    """
    grid = reader.info.grid
    parts = parts_of(tiling, grid, batch_size)
    strip = RowBuffer(reader, bands, tiling.step(grid.height))
    batcher = _Batcher(ask, tiling, batch_size, outputs)
    waits = sum(map(len, parts)) < batch_size
    done = (found for part in parts for found in _predicted(part, strip, batcher, waits))
    return blended_rows(done, tiling, grid, progress)


def parts_of(tiling: Tiling, grid: Grid, batch_size: int) -> list[list[Window]]:
    """Return the windows of a scene in parts, whole rows of windows of at least `BATCHES` batches each."""
    windows, across = tiling.windows(grid.height, grid.width), len(tiling.starts(grid.width))
    each = across * max(1, -(-BATCHES * batch_size // across))
    return [windows[start : start + each] for start in range(0, len(windows), each)]


def predicted_part(
    reader: Reader,
    ask: Ask,
    tiling: Tiling,
    batch_size: int,
    bands: Sequence[int],
    outputs: Callable[[], int],
    part: Sequence[Window],
) -> np.ndarray:
    """Predict the windows of one of `parts_of` (n, outputs, h, w), as `predicted_rows` does."""
    strip = RowBuffer(reader, bands, tiling.step(reader.info.grid.height), part[0].row)
    found = _predicted(part, strip, _Batcher(ask, tiling, batch_size, outputs), waits=False)
    return np.stack([values for some in found for _, values in some or ()])


def blended_rows(
    found: Iterable[Done | None], tiling: Tiling, grid: Grid, progress: Progress | None = None
) -> Iterator[np.ndarray | None]:
    """Yield the rows that follow from predicted windows, which come in row-major order; None where that is found."""
    total, number = len(tiling.windows(grid.height, grid.width)), 0
    blender: Blender | None = None
    for some in found:
        if some is None:
            yield None
            continue
        for window, prediction in some:
            number += 1
            if total == 1:  # nothing to blend
                yield prediction.astype(np.float32, copy=False)
                break
            blender = blender or Blender(grid.height, grid.width, len(prediction), tiling)
            rows = blender.add(window, prediction)
            if rows.shape[1]:
                yield rows
        if progress is not None:
            progress(number, total)
    rows = blender.close() if blender else np.empty((0, 0))
    if rows.shape[1]:
        yield rows


def _predicted(part: Sequence[Window], strip: RowBuffer, batcher: _Batcher, waits: bool) -> Iterator[Done | None]:
    """Yield windows with their predictions; ``waits``: None before each."""
    for number, window in enumerate(part, 1):
        batcher.put(window, *strip.window(window))
        if batcher.full or number == len(part):
            batcher.ask()
            if waits:
                yield None
            yield batcher.results()


class RowBuffer:
    """Full-width rows of a raster, each read once, in whole rows of the file's blocks so that each is decoded once.

    Holds at most a window's height and one row of blocks (or one stride) more.
    """

    def __init__(self, reader: Reader, bands: Sequence[int], stride: int, first: int = 0):
        self._reader, self._bands = reader, tuple(bands)
        self._height, self._width = reader.info.grid.height, reader.info.grid.width
        block = reader.block_rows
        self._chunk = -(-stride // block) * block if block <= READ_AHEAD else stride
        self._rows = np.empty((len(self._bands), 0, self._width), np.float32)
        self._first = self._next = first

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
        if kept == old and stop - self._next <= self._chunk and first == self._next:
            self._rows = self._reader.read(Window(first, 0, stop - first, self._width), self._bands)
            self._first, self._next = first, stop
            return
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

    def __init__(self, ask: Ask, tiling: Tiling, batch_size: int, outputs: Callable[[], int]):
        self._ask, self._tiling, self._most, self._outputs = ask, tiling, batch_size, outputs
        self._waiting: list[tuple[Window, np.ndarray]] = []
        self._inputs: list[np.ndarray] = []
        self._channels = 0  # of what is predicted; 0 = not known yet
        self._shape: tuple[int, ...] = ()  # of what was asked for
        self._answer: Callable[[], np.ndarray] | None = None

    @property
    def full(self) -> bool:
        """Whether a batch is ready, or so much missing area has queued up that it should be let through."""
        return len(self._inputs) == self._most or len(self._waiting) >= 4 * self._most

    def put(self, window: Window, values: np.ndarray, hidden: np.ndarray) -> None:
        """Queue a window; the values are copied, but for those of all rows that are held: nothing else holds them."""
        self._waiting.append((window, hidden))
        if not hidden.all():
            height, width = (self._tiling.padded(side) for side in (window.height, window.width))
            if values.flags.c_contiguous and values.shape[1:] == (height, width):
                self._inputs.append(values)
                return
            padded = np.full((values.shape[0], height, width), np.nan, np.float32)
            padded[:, : window.height, : window.width] = values
            self._inputs.append(padded)

    def ask(self) -> None:
        """Ask for the predictions of what is queued."""
        self._answer = None
        if self._inputs:
            batch = np.stack(self._inputs) if len(self._inputs) > 1 else self._inputs[0][None]
            self._shape, self._answer = batch.shape, self._ask(batch)

    def results(self) -> list[tuple[Window, np.ndarray]]:
        """Return window and prediction of what was asked for; NaN where any input band is missing."""
        predicted, results = iter(self._predicted()), []
        for window, hidden in self._waiting:
            if hidden.all():
                self._channels = self._channels or self._outputs()
                values = np.full((self._channels, *hidden.shape), np.nan, np.float32)
            else:
                values = next(predicted)[:, : window.height, : window.width]
                values = np.where(hidden, np.float32(np.nan), values) if hidden.any() else values
            results.append((window, values))
        self._waiting, self._inputs = [], []
        return results

    def _predicted(self) -> np.ndarray:
        if self._answer is None:
            return np.empty((0,), np.float32)
        predicted = np.asarray(self._answer())
        count, _, height, width = self._shape
        self._channels = self._channels or (predicted.shape[1] if predicted.ndim > 1 else 0)
        expected = (count, self._channels, height, width)
        if predicted.shape != expected:
            raise ValueError(f"the model returned {predicted.shape} for {self._shape}, expected {expected}")
        return predicted
