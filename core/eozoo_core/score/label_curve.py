"""Picture of cross-validation with few labels: the score of every predictor over the share of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eozoo_core.run.written import write_figure
from eozoo_core.score.plots import INK, canvas

_COLOURS = ("#d1603d", "#3b528b", "#2a9d8f", "#8d6cab", "#c79a2b", "#6b8e23", "#5c8fbf", "#a05195")
_APART = 1.02  # neighbouring predictors are moved so far along the logarithmic axis that their bars do not cover


def draw_label_curve(
    shares: Sequence[float], scores: Mapping[str, Sequence[Sequence[float]]], metric: str, title: str, path: Path
) -> None:
    """Draw a line for each predictor through its means over the draws; bars reach from the lowest draw to the highest.

    shares: of the labels, ascending. scores: predictor, the model first -> for each share the ``metric`` of every draw
    (none: a gap in the line).
    """
    figure = canvas(6.6, 4.4)
    axes = figure.subplots()
    for number, (name, every) in enumerate(scores.items()):
        mean = np.array([np.mean(draws) if len(draws) else np.nan for draws in every])
        ends = np.array([[min(draws, default=np.nan), max(draws, default=np.nan)] for draws in every]).T
        x = np.array(shares) * 100 * _APART ** (number - len(scores) / 2)
        style = {"color": INK, "linewidth": 2.2} if number == 0 else {"color": _COLOURS[(number - 1) % len(_COLOURS)]}
        bars = np.abs(ends - mean)
        axes.errorbar(x, mean, bars, label=name, marker="o", markersize=4, capsize=2, elinewidth=0.9, **style)
    axes.set_xscale("log")
    axes.set_xticks([100 * share for share in shares], [f"{100 * share:g}" for share in shares])
    axes.minorticks_off()
    axes.set(xlabel="share of the labels trained on (%)", ylabel=metric, title=title)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    write_figure(path, figure)
