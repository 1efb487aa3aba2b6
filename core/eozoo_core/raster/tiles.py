"""Windows that cover a raster to its last row and column, and the seamless blending of what a model says about them.

Everything here is numpy on whole windows; nothing loops over pixels and nothing holds more than a strip of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eozoo_core.errors import ZooError


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


def starts(length: int, size: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis: every ``stride`` pixels, the last one shifted inside.

    ``length`` pixels, windows of ``size``; a shorter axis gets the one start 0. Raises ZooError for a stride that would
    leave pixels out (``stride > size``) and for numbers below 1.
    """
    if length < 1:
        raise ZooError(f"a raster of {length} pixels along one side has nothing to predict; check the input file")
    if size < 1 or stride < 1:
        raise ZooError(f"window size {size} and stride {stride} must both be at least 1 pixel")
    if stride > size:
        raise ZooError(f"stride {stride} is larger than the window ({size}) and would leave gaps; use at most {size}")
    if length <= size:
        return [0]
    return [*range(0, length - size, stride), length - size]


def windows(height: int, width: int, size: int, stride: int) -> list[Window]:
    """Every window of a ``height`` x ``width`` raster in row-major order; together they cover every pixel.

    All windows have the same shape: ``size`` x ``size``, or the raster's own extent along a side that is shorter.
    Neighbours overlap by ``size - stride`` pixels, the last in a row or column by more. Raises ZooError as `starts`.
    """
    rows, cols = starts(height, size, stride), starts(width, size, stride)
    h, w = min(size, height), min(size, width)
    return [Window(row, col, h, w) for row in rows for col in cols]


def blend_weights(size: int, overlap: int) -> np.ndarray:
    """Weights ``(size,)`` float64 in (0, 1] along one side of a window; a window's weights are the outer product.

    A raised cosine over the ``overlap`` pixels at each end (at most half a window), 1 between. It is preferred to a
    linear ramp because value and slope both vanish at the window's edge, where a network sees least context: the
    outermost of 64 pixels weighs 1.5e-4 instead of 7.8e-3, so the step left at the edge is 50 times smaller. Pixels
    are taken at their centres, hence no weight is ever zero and a pixel covered once keeps its value.
    """
    ramp = min(overlap, size // 2)
    weights = np.ones(size)
    if ramp > 0:
        rising = np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / ramp) ** 2
        weights[:ramp] = rising
        weights[size - ramp :] = rising[::-1]
    return weights


class Blender:
    """Weighted mean of overlapping windows, given in the order of `windows` and returned as finished rows.

    Holds one strip (window height x raster width x bands) however tall the raster is. Accumulates in float64, so that
    float32 values on which all windows agree come back bit for bit. NaN has no weight: a pixel is NaN in the output
    only where every window that covers it said NaN. Each band has its own missing pixels.

    ``for window, values in ...: rows = blender.add(window, values)`` and at the end ``rows = blender.close()``.
    """

    def __init__(self, height: int, width: int, bands: int, size: int, stride: int):
        self._rows, self._cols = starts(height, size, stride), starts(width, size, stride)
        self._shape = min(size, height), min(size, width)
        overlap = size - stride
        down, across = (blend_weights(side, overlap) for side in self._shape)
        self._weights = down[:, None] * across[None, :]
        self._sum = np.zeros((bands, self._shape[0], width))
        self._weight = np.zeros_like(self._sum)
        self._next = 0

    def add(self, window: Window, values: np.ndarray) -> np.ndarray:
        """Take ``values (bands, height, width)`` of a window; return the rows ``(bands, n, raster width)`` float32 that
        no later window can touch, in order from the raster's first row (n is 0 for most windows).
        """
        i, j = divmod(self._next, len(self._cols))
        if i >= len(self._rows) or window != Window(self._rows[i], self._cols[j], *self._shape):
            raise ValueError(f"window {self._next} is not {window}: windows must come in the order of tiles.windows")
        finished = self._shift(self._rows[i] - self._rows[i - 1]) if i > 0 and j == 0 else self._rows_of(0)
        self._next += 1
        self._accumulate(slice(window.col, window.col + window.width), values)
        return finished

    def close(self) -> np.ndarray:
        """Return the remaining rows ``(bands, n, raster width)`` float32; raises ValueError if a window is missing."""
        total = len(self._rows) * len(self._cols)
        if self._next != total:
            raise ValueError(f"{self._next} of {total} windows were added; the raster is not covered")
        return self._rows_of(self._shape[0])

    def _accumulate(self, cols: slice, values: np.ndarray) -> None:
        if values.shape != (self._sum.shape[0], *self._shape):
            raise ValueError(f"values have shape {values.shape}, expected {(self._sum.shape[0], *self._shape)}")
        missing = np.isnan(values)
        if missing.any():
            weights = np.where(missing, 0.0, self._weights)
            values = np.where(missing, 0, values)
        else:
            weights = self._weights
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
