"""Pictures of results: a density scatter of predictions against targets; maps are in ``quicklook``.

Drawn with matplotlib's Figure objects on the Agg canvas: no pyplot, no global state, no display.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.run.written import write_figure
from eozoo_core.score.metrics import RegressionMetrics

if TYPE_CHECKING:  # matplotlib takes most of a second to import: only who draws waits for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "#b8b8b8"
INK = "#333333"


def density_scatter(
    target: np.ndarray,
    pred: np.ndarray,
    path: str | Path,
    unit: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw predictions over targets (same shape and unit, NaN = missing) as a 2-D histogram and write a PNG.

    Colours count samples per cell on a log scale (below 500 samples each is a dot). The 1:1 line is drawn in, and n,
    RMSE, bias and R2 over all samples. ``limits`` of both axes in the unit; None = 0.1st to 99.9th percentile of both.
    Samples outside them are in the numbers and said to be outside. With nothing to compare the picture says so.
    """
    metrics = RegressionMetrics()
    metrics.update(pred, target)
    target, pred = np.ravel(target).astype(np.float64), np.ravel(pred).astype(np.float64)
    valid = np.isfinite(target) & np.isfinite(pred)
    target, pred = target[valid], pred[valid]
    figure, axes = _figure(5.6, 5.0)
    low, high = limits or limits_of(np.concatenate([target, pred]), 0.1, 99.9)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.9, linestyle=(0, (5, 3)), zorder=3)
    inside = (target >= low) & (target <= high) & (pred >= low) & (pred <= high)
    if inside.sum() < 500:
        axes.scatter(target[inside], pred[inside], s=14, color="#3b528b", alpha=0.6, linewidths=0)
    else:
        bins = np.linspace(low, high, 101 if inside.sum() > 5000 else 41)
        counts, _, _ = np.histogram2d(target[inside], pred[inside], bins=(bins, bins))
        from matplotlib.colors import LogNorm

        norm = LogNorm(1, max(counts.max(), 2))
        mesh = axes.pcolormesh(bins, bins, np.where(counts > 0, counts, np.nan).T, norm=norm, cmap="viridis")
        _colour_bar(figure, axes, mesh, "samples per cell")
    _numbers(axes, metrics.compute(), unit, int((~inside).sum()))
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=title)
    axes.set(xlabel=_label("target", unit), ylabel=_label("prediction", unit))
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    write_figure(path, figure)


def _colour_bar(figure: Figure, axes: Axes, mappable: object, label: str) -> None:
    beside = axes.inset_axes((1.025, 0, 0.04, 1))  # as high as the picture, whatever its shape
    bar = figure.colorbar(mappable, cax=beside)
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = canvas(width, height)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _numbers(axes: Axes, result: dict, unit: str, outside: int) -> None:
    """Write n and the metrics into the upper left corner, where predictions rarely are."""
    lines = [f"n = {result['n']:,}"]
    for name, key, suffix in (("RMSE", "rmse", unit), ("bias", "bias", unit), ("R²", "r2", "")):
        if result[key] is not None:
            lines.append(f"{name} = {result[key]:.3g} {suffix}".rstrip())
    if outside:
        lines.append(f"{outside:,} outside the axes")
    text = "\n".join(lines) if result["n"] else "no sample has both\ntarget and prediction"
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 4}
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=9, color=INK, bbox=box, zorder=4)


def limits_of(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Percentiles of finite ``values``, widened where they coincide so that there is something to draw."""
    if values.size == 0:
        return 0.0, 1.0
    bottom, top = (float(v) for v in np.percentile(values, [low, high]))
    if top - bottom <= 1e-6 * max(abs(top), abs(bottom)):
        half = max(abs(top) * 0.05, 0.5)
        return bottom - half, top + half
    return bottom, top


def _label(what: str, unit: str) -> str:
    return f"{what} ({unit})" if unit else what
