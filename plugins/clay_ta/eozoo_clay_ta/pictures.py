"""Pictures of the plugin: a map with coastline, errors of stations on the map, one sample of a chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.run.written import write_figure
from eozoo_core.score.plots import MISSING
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eozoo_clay_ta.sample_schema import NAMES

_INK = "#333333"


def picture_of_map(file: Path, lsmask: np.ndarray) -> Path:
    """Draw a map of ``infer`` into a PNG beside it; its tags say when it is, of which encoder, and if synthetic."""
    from eozoo_core.raster.read import read_info, read_whole

    values, info = read_whole(file)[0], read_info(file)
    unit, tags = info.units[0], info.tags
    stamp = tags["TIME_UTC"]
    when = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[8:10]}:{stamp[10:]} UTC"
    title = f"{'SYNTHETIC: ' if 'SYNTHETIC' in tags else ''}{when}, {tags['ENCODER']}"
    return map_picture(values, lsmask, file.with_suffix(".png"), unit, title)


def map_picture(ta: np.ndarray, lsmask: np.ndarray, path: Path, unit: str, title: str) -> Path:
    """Draw a temperature map ``(H, W)``, missing in grey, with the coastline of the mask ``(H, W)``, 1 = land."""
    figure, axes = _axes()
    shown = axes.imshow(
        ta, cmap=colormaps["RdYlBu_r"].with_extremes(bad=MISSING), interpolation="nearest", **_range(ta)
    )
    _coast(axes, lsmask)
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, extend="both")
    bar.set_label(f"near-surface air temperature ({unit})", color=_INK)
    axes.set_title(title, fontsize=10, color=_INK)
    axes.set_xlabel(f"{np.isfinite(ta).mean():.1%} of {ta.shape[1]} x {ta.shape[0]} pixels predicted", fontsize=8)
    return write_figure(path, figure, tight=False)


def station_picture(
    lsmask: np.ndarray, cols: np.ndarray, rows: np.ndarray, values: np.ndarray, path: Path, title: str
) -> Path:
    """Draw one value per station (bias, K) at its pixel on the land/sea mask."""
    figure, axes = _axes()
    axes.imshow(np.where(lsmask > 0.5, 0.93, 0.80), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _coast(axes, lsmask)
    limit = max(float(np.abs(values).max(initial=0)), 0.1)
    dots = axes.scatter(cols, rows, c=values, s=46, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors=_INK, lw=0.6)
    figure.colorbar(dots, ax=axes, shrink=0.85).set_label("bias, prediction - station (K)", color=_INK)
    axes.set_title(title, fontsize=10, color=_INK)
    return write_figure(path, figure, tight=False)


def sample_picture(x: np.ndarray, path: Path, title: str) -> Path:
    """Draw the 19 channels of one sample ``(19, 9, 9)``, z-scores, in one mosaic of five columns."""
    columns, side = 5, x.shape[-1]
    step, rows = side + 2, -(-len(x) // columns)
    mosaic = np.full((rows * step, columns * step), np.nan)
    figure, axes = _axes()
    for i, name in enumerate(NAMES):
        row, col = (i // columns) * step + 2, (i % columns) * step + 1
        mosaic[row : row + side, col : col + side] = x[i]
        axes.text(col - 0.5, row - 0.8, name, fontsize=8, color=_INK)
    limit = max(float(np.nanpercentile(np.abs(x), 98)), 0.5)
    shown = axes.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(shown, ax=axes, shrink=0.85, extend="both").set_label("z-score (lsmask: 0 or 1)", color=_INK)
    axes.set_title(title, fontsize=10, color=_INK)
    return write_figure(path, figure, tight=False)


def _axes() -> tuple[Figure, object]:
    figure = Figure(figsize=(7.2, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure, axes


def _coast(axes: object, lsmask: np.ndarray) -> None:
    if lsmask.min() < 0.5 < lsmask.max():
        axes.contour(lsmask, levels=[0.5], colors="black", linewidths=0.5)


def _range(values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {"vmin": 0.0, "vmax": 1.0}
    low, high = np.percentile(known, [1, 99])
    return {"vmin": float(low), "vmax": float(max(high, low + 0.1))}
