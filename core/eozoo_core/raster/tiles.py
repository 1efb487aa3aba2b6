"""Windows that cover a raster to its last row and column, and the seamless blending of what a model says about them.

Everything here is numpy on whole windows; nothing loops over pixels and nothing holds more than a strip of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eozoo_core.errors import ZooError

_ROUND = 16  # pixels; sides that are free are rounded up to this: convolutions like it, and it costs only overlap


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels: first row and column (0-based) and its height and width, all in pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """``(rows, columns)`` to index the last two axes of an array of the whole raster."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut: the one place that decides how many windows there are, where, and how large.

    window:   the largest side of a window, px. overlap: pixels that neighbours share at least; fewer than ``window``.
    multiple: the network takes every side that is a multiple of it; 0 = not known, then all windows have ``window``.
    """

    window: int = 256
    overlap: int = 32
    multiple: int = 0

    def __post_init__(self) -> None:
        if self.window < 1 or not 0 <= self.overlap < self.window:
            raise ZooError(
                f"window {self.window} and overlap {self.overlap} leave no way forward; give a window of 1 pixel or "
                "more and an overlap below it"
            )

    def side(self, length: int) -> int:
        """Pixels of the raster that a window sees along an axis of ``length``.

        A shorter axis is seen whole. On a longer one there are as few windows as ``window`` and ``overlap`` allow and,
        where the network takes other sides, they are as small as that number of them allows.
        """
        if length < 1:
            raise ZooError(f"a raster of {length} pixels along one side has nothing to predict; check the input file")
        if length <= self.window or not self.multiple:
            return min(length, self.window)
        count = self._count(length, self.window)
        least = -(-(length + (count - 1) * self.overlap) // count)
        return min(_up(least, _up(_ROUND, self.multiple)), self.window)

    def padded(self, side: int) -> int:
        """Pixels that the network gets for a window that sees ``side`` pixels: what there is none of is missing."""
        return min(_up(side, self.multiple), self.window) if self.multiple else self.window

    def starts(self, length: int) -> list[int]:
        """First pixels of the windows along an axis: spread evenly from the first pixel to the last."""
        side = self.side(length)
        steps = self._count(length, side) - 1
        return [step * (length - side) // max(steps, 1) for step in range(steps + 1)]

    def step(self, length: int) -> int:
        """The largest distance between windows along an axis."""
        starts = self.starts(length)
        return max((second - first for first, second in pairwise(starts)), default=length)

    def windows(self, height: int, width: int) -> list[Window]:
        """Every window of a ``height`` x ``width`` raster in row-major order; together they cover every pixel.

        All have one shape, and neighbours share ``overlap`` pixels or more. Raises ZooError for an empty raster.
        """
        h, w = self.side(height), self.side(width)
        return [Window(row, col, h, w) for row in self.starts(height) for col in self.starts(width)]

    def _count(self, length: int, side: int) -> int:
        return 1 if length <= side else -(-(length - self.overlap) // (side - self.overlap))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def blend_weights(side: int, before: int, after: int) -> np.ndarray:
    """Weights ``(side,)`` float64 in (0, 1] along one side of a window; a window's weights are the outer product.

    before, after: pixels that it shares with its neighbours, 0 at the raster's edge. There the weight is a raised
    cosine (over half a window at most), 1 between; those of two neighbours sum to 1. It is preferred to a linear ramp
    because value and slope both vanish at the window's edge, where a network sees least context: the outermost of 64
    pixels weighs 1.5e-4 instead of 7.8e-3, so the step left at the edge is 50 times smaller. Pixels are taken at their
    centres, hence no weight is ever zero and a pixel covered once keeps its value.
    """
    weights = np.ones(side)
    for ramp, end in ((min(before, side // 2), weights), (min(after, side // 2), weights[::-1])):
        end[:ramp] *= np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / max(ramp, 1)) ** 2
    return weights


def weights_along(starts: list[int], side: int) -> list[np.ndarray]:
    """Return `blend_weights` of the windows of one axis."""
    shared = [0, *(first + side - second for first, second in pairwise(starts)), 0]
    return [blend_weights(side, before, after) for before, after in pairwise(shared)]


class Blender:
    """Weighted mean of overlapping windows, given in the order of `Tiling.windows` and returned as finished rows.

    Holds one strip (window height x raster width x bands) however tall the raster is. Accumulates in float64, so that
    float32 values on which all windows agree come back bit for bit. NaN has no weight: a pixel is NaN in the output
    only where every window that covers it said NaN. Each band has its own missing pixels.

    ``for window, values in ...: rows = blender.add(window, values)`` and at the end ``rows = blender.close()``.
    """

    def __init__(self, height: int, width: int, bands: int, tiling: Tiling):
        self._rows, self._cols = tiling.starts(height), tiling.starts(width)
        self._shape = tiling.side(height), tiling.side(width)
        self._down = weights_along(self._rows, self._shape[0])
        self._across = weights_along(self._cols, self._shape[1])
        self._sum = np.zeros((bands, self._shape[0], width))
        self._weight = np.zeros_like(self._sum)
        self._next = 0

    def add(self, window: Window, values: np.ndarray) -> np.ndarray:
        """Take ``values (bands, height, width)`` of a window; return the rows ``(bands, n, raster width)`` float32 that
        no later window can touch, in order from the raster's first row (n is 0 for most windows).
        """
        i, j = divmod(self._next, len(self._cols))
        if i >= len(self._rows) or window != Window(self._rows[i], self._cols[j], *self._shape):
            raise ValueError(f"window {self._next} is not {window}: windows must come in the order of Tiling.windows")
        finished = self._shift(self._rows[i] - self._rows[i - 1]) if i > 0 and j == 0 else self._rows_of(0)
        self._next += 1
        self._accumulate(slice(window.col, window.col + window.width), self._down[i][:, None] * self._across[j], values)
        return finished

    def close(self) -> np.ndarray:
        """Return the remaining rows ``(bands, n, raster width)`` float32; raises ValueError if a window is missing."""
        total = len(self._rows) * len(self._cols)
        if self._next != total:
            raise ValueError(f"{self._next} of {total} windows were added; the raster is not covered")
        return self._rows_of(self._shape[0])

    def _accumulate(self, cols: slice, weights: np.ndarray, values: np.ndarray) -> None:
        if values.shape != (self._sum.shape[0], *self._shape):
            raise ValueError(f"values have shape {values.shape}, expected {(self._sum.shape[0], *self._shape)}")
        missing = np.isnan(values)
        if missing.any():
            weights = np.where(missing, 0.0, weights)
            values = np.where(missing, 0, values)
        self._sum[:, :, cols] += values * weights
        self._weight[:, :, cols] += weights

    def _rows_of(self, count: int) -> np.ndarray:
        """The blended first ``count`` rows of the strip."""
        total, weight = self._sum[:, :count], self._weight[:, :count]
        mean = np.full(total.shape, np.nan)
        np.divide(total, weight, out=mean, where=weight > 0)
        return mean.astype(np.float32)

    def _shift(self, count: int) -> np.ndarray:
        """Return the first ``count`` rows and move the strip down the raster by as many."""
        finished = self._rows_of(count)
        for strip in (self._sum, self._weight):
            strip[:, :-count] = strip[:, count:]
            strip[:, -count:] = 0
        return finished
