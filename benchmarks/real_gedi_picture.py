"""The picture of docs/real_data_gedi.md: a held-out tile beside its shots, and all held-out shots as a scatter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.score.plots import MISSING
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.real_gedi_tiles import Shots, Tile

TOP = 40.0  # m, end of the colours and of the scatter's axes


def draw(path: Path, number: int, tile: Tile, maps: Shots, shots: list[Shots], heights: list[np.ndarray]) -> Path:
    """Draw held-out tile ``number`` with its maps of mean and std (H, W), and all held-out shots; write a PNG."""
    figure = Figure(figsize=(11, 3.4), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    one, two, three = figure.subplots(1, 3)
    mean = _map(one, maps[0], "viridis", (0, TOP), f"tile 116_{number}, held out: RH95 and its shots")
    rows, cols = np.nonzero(tile.labelled)
    style = {"s": 26, "edgecolors": "white", "linewidths": 0.8}
    one.scatter(cols, rows, c=tile.heights, cmap="viridis", vmin=0, vmax=TOP, **style)
    figure.colorbar(mean, ax=one, label="m", extend="max")
    figure.colorbar(_map(two, maps[1], "magma", (0, None), "its standard deviation"), ax=two, label="m")
    _scatter(three, shots, heights)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _map(axes: Axes, values: np.ndarray, colours: str, limits: tuple[float, float | None], title: str):
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    colour_map = colormaps[colours].copy()
    colour_map.set_bad(MISSING)
    return axes.imshow(values, cmap=colour_map, vmin=limits[0], vmax=limits[1])


def _scatter(axes: Axes, shots: list[Shots], heights: list[np.ndarray]) -> None:
    mean, std = (np.concatenate([s[i] for s in shots]) for i in (0, 1))
    target = np.concatenate(heights)
    axes.errorbar(target, mean, yerr=std, fmt="o", ms=2.5, lw=0.4, color="#31688e", ecolor="#31688e55")
    end = 1.05 * target.max()
    axes.plot([0, end], [0, end], color="#333333", lw=0.8)
    axes.set(xlim=(0, end), ylim=(0, TOP), xlabel="GEDI RH95 (m)", ylabel="predicted, held-out tiles (m)")
    axes.set_title(f"all {target.size} shots, one standard deviation", fontsize=9)
