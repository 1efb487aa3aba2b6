"""Pictures of how good the uncertainty is, of what ``calibration`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.run.written import write_figure
from eozoo_core.score.plots import INK, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RAW, _SCALED = "#3b528b", "#d1603d"


def draw_calibration(found: dict[str, Any], scaled: dict[str, Any] | None, unit: str, path: Path) -> None:
    """RMSE over predicted std per bin, and observed over expected coverage; raw, and with variances scaled."""
    figure = canvas(9.2, 4.2)
    error, cover = figure.subplots(1, 2)
    for judged, colour, label in ((found, _RAW, "as predicted"), (scaled, _SCALED, "variances scaled")):
        if judged is None:
            continue
        bins, shares = judged["std_bins"], judged["coverage"]
        style = {"color": colour, "marker": "o", "linewidth": 1.2, "markersize": 4, "label": label}
        error.plot([b["std"] for b in bins], [b["rmse"] for b in bins], **style)
        cover.plot([c["expected"] for c in shares], [c["observed"] for c in shares], **style)
    top = 1.05 * max(max(b["std"], b["rmse"]) for judged in (found, scaled) if judged for b in judged["std_bins"])
    for axes, limit in ((error, top), (cover, 1.0)):
        axes.plot([0, limit], [0, limit], color=INK, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
        axes.legend(frameon=False, fontsize=8)
    error.set(xlabel=f"predicted standard deviation ({unit}), RMS per bin", ylabel=f"RMSE of the bin ({unit})")
    cover.set(xlabel="expected share inside the interval", ylabel="observed share")
    _save(figure, path)


def draw_most_certain(found: dict[str, Any], unit: str, path: Path) -> None:
    """RMSE of the share of samples with the smallest predicted standard deviation."""
    figure = canvas(5.0, 3.8)
    axes = figure.subplots()
    curve = found["most_certain"]
    axes.plot([c["share"] for c in curve], [c["rmse"] for c in curve], color=_RAW, linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of most certain pixels", ylabel=f"their RMSE ({unit})")
    _save(figure, path)


def draw_residuals(x: np.ndarray, y: np.ndarray, error: np.ndarray, unit: str, path: Path) -> None:
    """Prediction - target where it was measured; x, y (n,) in the CRS's unit, NaN = place not known."""
    figure = canvas(6.4, 5.2)
    axes = figure.subplots()
    known = np.isfinite(x) & np.isfinite(y)
    limit = float(np.percentile(np.abs(error[known]), 98)) or 1.0
    dots = axes.scatter(
        x[known], y[known], c=error[known], s=6, cmap="RdBu", vmin=-limit, vmax=limit, linewidths=0, rasterized=True
    )
    figure.colorbar(dots, ax=axes, extend="both").set_label(f"prediction - target ({unit})")
    axes.set(aspect="equal", xlabel="x", ylabel="y")
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(axis="x", rotation=30)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)
