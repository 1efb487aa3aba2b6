"""From a scene to a map: the value at the centre of every 9 x 9 window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from eozoo_clay_ta.grid import HALF, WINDOW, KoGrid
from eozoo_clay_ta.sample_schema import KELVIN, LSMASK, SZA, one_hot, time7
from eozoo_clay_ta.scenes import Scene
from eozoo_clay_ta.static import Static

if TYPE_CHECKING:
    import torch

    from eozoo_clay_ta.model import TaModel
    from eozoo_clay_ta.settings import ClayInfer


@dataclass(frozen=True)
class TaMap:
    """ta (H, W) float32 in the unit asked for, NaN = missing; how many windows were predicted."""

    ta: np.ndarray
    windows: int


def predict_map(
    model: TaModel,
    scene: Scene,
    static: Static,
    when: datetime,
    grid: KoGrid,
    options: ClayInfer,
    progress: Callable[[int, int], None] | None = None,
) -> TaMap:
    """Predict the temperature at the centre of every window, ``options.stride`` pixels apart, interpolated between.

    A pixel is missing where its window leaves the grid or holds a missing value in any of the 19 channels, where it has
    no land-cover class, and over the sea with ``land_only``.
    """
    norm = model.normalisation()
    fields = np.concatenate([scene.bt, scene.rf, scene.sza[None], static.dem[None], static.lsmask[None]])
    usable = usable_centres(fields, static, options.land_only)
    nodes = node_rows(grid.height, options.stride), node_rows(grid.width, options.stride)
    rows, cols = (a.ravel() for a in np.meshgrid(*nodes, indexing="ij"))
    wanted = usable[rows, cols]
    z = np.full(len(rows), np.nan, np.float64)
    source = _Windows(norm.inputs(fields), static.classes(), when, grid)
    z[wanted] = _predict(model, source, cols[wanted], rows[wanted], options, progress)
    ta = z * norm.ta_std + norm.ta_mean + (KELVIN if options.unit == "K" else 0.0)
    full = spread(ta.reshape(len(nodes[0]), len(nodes[1])), nodes, (grid.height, grid.width))
    full[~usable] = np.nan
    return TaMap(full.astype(np.float32), int(wanted.sum()))


def usable_centres(fields: np.ndarray, static: Static, land_only: bool) -> np.ndarray:
    """Whether a pixel's window ``(H, W)`` lies inside and is complete, and the pixel has a class (and is land)."""
    good = np.isfinite(fields).all(axis=0)
    usable = np.zeros_like(good)
    view = np.lib.stride_tricks.sliding_window_view(good, (WINDOW, WINDOW))
    usable[HALF:-HALF, HALF:-HALF] = view.all(axis=(2, 3))
    usable &= static.classes() >= 0
    return usable & (fields[LSMASK] > 0.5) if land_only else usable


def node_rows(length: int, stride: int) -> np.ndarray:
    """Rows (or columns) that are predicted: from the first window centre to the last, both included."""
    last = length - HALF - 1
    return np.unique(np.r_[np.arange(HALF, last + 1, stride), last])


def spread(values: np.ndarray, nodes: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Interpolate bilinearly from ``values`` at ``nodes`` to every pixel of ``shape``; outside the nodes NaN.

    A missing node leaves its neighbours' pixels to the other nodes, by their weights; a pixel whose nodes are all
    missing is missing. At the nodes themselves the values are exact.
    """
    rows, cols = (_weights(n, s) for n, s in zip(nodes, shape))
    known = np.isfinite(values)
    total = rows @ np.where(known, values, 0) @ cols.T
    weight = rows @ known.astype(np.float64) @ cols.T
    with np.errstate(invalid="ignore", divide="ignore"):
        full = np.where(weight > 1e-9, total / weight, np.nan)
    full[np.ix_(*nodes)] = values
    return full


def _weights(nodes: np.ndarray, length: int) -> np.ndarray:
    """``(length, len(nodes))``: how much each node contributes to each pixel; zero rows outside."""
    at = np.arange(nodes[0], nodes[-1] + 1)
    matrix = np.zeros((length, len(nodes)))
    upper = np.clip(np.searchsorted(nodes, at, side="left"), 1, max(len(nodes) - 1, 1))
    if len(nodes) == 1:
        matrix[at, 0] = 1
        return matrix
    share = (at - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    matrix[at, upper - 1] = 1 - share
    matrix[at, upper] += share
    return matrix


class _Windows:
    """Batches for the model around given centres, gathered from one normalised map."""

    def __init__(self, x: np.ndarray, classes: np.ndarray, when: datetime, grid: KoGrid):
        self._view = np.lib.stride_tricks.sliding_window_view(x, (WINDOW, WINDOW), axis=(1, 2))
        self._sza, self._classes, self._grid = x[SZA], classes, grid
        self._when = np.datetime64(when, "m")
        self._lat, self._lon = grid.places

    def batch(self, cols: np.ndarray, rows: np.ndarray) -> dict[str, torch.Tensor]:
        import torch

        x = np.ascontiguousarray(self._view[:, rows - HALF, cols - HALF].swapaxes(0, 1))
        gsd = np.full(len(rows), self._grid.metres)
        loc = np.stack([self._lat[rows, cols], self._lon[rows, cols], gsd], axis=1).astype(np.float32)
        arrays = {
            "x": x,
            "time7": time7(np.full(len(rows), self._when), self._sza[rows, cols]),
            "loc": loc,
            "landcover_onehot": one_hot(self._classes[rows, cols]),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _predict(
    model: TaModel,
    source: _Windows,
    cols: np.ndarray,
    rows: np.ndarray,
    options: ClayInfer,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    import torch

    device = model.ta_mean.device
    out = np.empty(len(rows), np.float64)
    with torch.inference_mode():
        for start in range(0, len(rows), options.batch_size):
            part = slice(start, start + options.batch_size)
            batch = {name: value.to(device) for name, value in source.batch(cols[part], rows[part]).items()}
            out[part] = model(batch).double().cpu().numpy()
            if progress is not None:
                progress(min(start + options.batch_size, len(rows)), len(rows))
    return out
