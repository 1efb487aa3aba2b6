"""Pictures: false colours, class maps with legend, saved maps again, training curves, cross-correlation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.written import write_figure
from eozoo_core.score.plots import MISSING, canvas
from eozoo_core.score.quicklook import Panel, quicklook

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from matplotlib.figure import Figure

_MOST = 1500  # pixels a side
_STOPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_PAINTS = ((45, 0, 75), (150, 140, 190), (247, 247, 247), (240, 160, 65), (127, 59, 8))


def colour_picture(colours: np.ndarray, file: Path, title: str) -> Path:
    """Draw ``colours (H, W, 3)`` 1..255, NaN = missing (grey), as PNG."""
    figure, axes = _map()
    missing = np.isnan(colours).any(axis=2)
    shown = np.where(missing[..., None], int(MISSING[1:3], 16), np.nan_to_num(colours)).astype(np.uint8)
    axes.imshow(shown, interpolation="nearest")
    axes.set_title(f"{title}: three principal components of the embedding", fontsize=10)
    return _saved(figure, file)


def map_picture(file: Path, out: Path | None = None) -> Path:
    """Draw a saved map as PNG (``out``; None = beside it): classes and legend, three byte bands as colours, bands."""
    from eozoo_core.raster.read import RasterReader

    file = Path(file)
    if not file.is_file():
        raise ZooError(f"{file}: no such map; give one with --set prepare.picture.map=FILE.tif")
    with RasterReader(file) as data:
        values, info, legend = data.thumbnail(_MOST), data.info, data.legend()
    out = out or file.with_suffix(".png")
    if legend:
        return _class_picture(values[0], legend, out)
    if info.count == 3 and set(info.dtypes) == {"uint8"}:
        return colour_picture(np.moveaxis(values, 0, 2), out, file.stem)
    panels = [Panel(b, info.descriptions[i] or f"band {i + 1}", info.units[i]) for i, b in enumerate(values[:12])]
    quicklook(panels, out, file.stem, columns=4)
    return out


def correlation_picture(correlation: np.ndarray) -> np.ndarray:
    """Paint the cross-correlation ``(P, P)`` of two views: (H, W, 3) uint8, violet = -1, white = 0, orange = 1.

    An orange diagonal on white is what training aims at. The strip at the right shows the colours from 1 down to -1.
    Painted, not drawn with axes: it comes with every validation, and training waits for it.
    """
    side = len(correlation)
    strip = np.repeat(np.linspace(1, -1, side)[:, None], max(2, side // 24), axis=1)
    values = np.concatenate([correlation, np.full((side, max(1, side // 48)), np.nan), strip], axis=1)
    shown = np.stack([np.interp(values, _STOPS, colour) for colour in zip(*_PAINTS, strict=True)], axis=2)
    return np.kron(
        np.nan_to_num(shown, nan=255).round().astype(np.uint8), np.ones((max(1, 512 // side),) * 2 + (1,), np.uint8)
    )


def training_curves(run: Run, file: Path) -> Path:
    """Draw loss parts, effective rank and learning rate over the optimiser steps, from the run's log."""
    lines = run.read_log()
    steps = [line["step"] for line in lines]
    figure = canvas(6, 5)
    panels = {"loss": ("loss", "on_diag", "off_diag"), "RankMe": ("rankme",), "deviation": ("embedding_std",)}
    for place, (title, names) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 4, place + 1)
        for name in names:
            for kind, style in (("train", "-"), ("val", "--")):
                pairs = [(s, line[kind][name]) for s, line in zip(steps, lines, strict=True) if name in line[kind]]
                if pairs:
                    axes.plot(*zip(*pairs, strict=True), style, label=f"{name} ({kind})", linewidth=1.2)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=6)
    axes = figure.add_subplot(1, 4, 4)
    axes.plot(steps, [line["lr"] for line in lines])
    axes.set_title("learning rate", fontsize=10)
    figure.set_size_inches(14, 3.2)
    return _saved(figure, file)


def curve_picture(curves: dict[str, list[tuple[float, float, float]]], metric: str, file: Path) -> Path:
    """Draw a metric over the share of labels: predictor -> (share, mean, standard deviation over the draws)."""
    figure = canvas(6, 5)
    axes = figure.add_subplot()
    for name, points in ((n, p) for n, p in curves.items() if p):
        share, mean, deviation = (np.array(v) for v in zip(*points, strict=True))
        axes.errorbar(100 * share, mean, deviation, marker="o", markersize=4, capsize=3, label=name, linewidth=1.2)
    axes.set(xscale="log", xlabel="share of the training labels (%)", ylabel=metric)
    axes.grid(color="#e6e6e6")
    axes.legend(fontsize=8)
    return _saved(figure, file)


def _class_picture(values: np.ndarray, legend: dict[int, tuple[str, tuple[int, ...]]], file: Path) -> Path:
    from matplotlib.patches import Patch

    figure, axes = _map()
    shown = np.full((*values.shape, 3), int(MISSING[1:3], 16), np.uint8)
    for value, (_, colour) in legend.items():
        shown[values == value] = colour
    axes.imshow(shown, interpolation="nearest")
    present = [pair for value, pair in legend.items() if (values == value).any()]
    patches = [Patch(color=np.array(colour) / 255, label=name) for name, colour in present]
    patches += [Patch(color=MISSING, label="no data")] if np.isnan(values).any() else []
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    axes.set_title(file.stem, fontsize=10)
    return _saved(figure, file)


def _map() -> tuple[Figure, Any]:
    """A figure with axes for a picture: no ticks, no frame."""
    figure = canvas(6, 5)
    axes = figure.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure, axes


def _saved(figure: Figure, file: Path) -> Path:
    write_figure(file, figure)
    return file
