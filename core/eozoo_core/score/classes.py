"""Scores of classes from a confusion matrix of counts: row = label, column = prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eozoo_core.run.written import write_figure

_MOST = 10  # classes of a matrix that fits into 80 columns


def confusion_of(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count class indices, int arrays of one shape: ``(K, K)`` int64, rows = labels, columns = predictions."""
    return np.bincount(np.ravel(target * classes + predicted), minlength=classes**2).reshape(classes, classes)


def balanced(counts: Sequence[int]) -> list[float]:
    """Return a weight per class, inverse to its ``counts``, whose mean over the labels is 1; 0 without labels."""
    labels = np.asarray(counts, np.float64)
    there = labels > 0
    return np.where(there, labels.sum() / (there.sum() * np.maximum(labels, 1)), 0.0).tolist()


def class_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Scores from counts ``(..., K, K)``: floats, or arrays ``(...)``; NaN = undefined, and left out of floats.

    accuracy; balanced_accuracy = mean recall; F1 = 2 TP / (labels + predicted), as mean (macro_f1) and weighted by
    labels; mean_iou, the mean of TP / (labels + predicted - TP); kappa (Cohen 1960, doi:10.1177/001316446002000104).
    Means are over the classes that occur in the labels.
    """
    confusion = np.asarray(confusion, np.float64)
    right, labels, found = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)
    there, total = labels > 0, labels.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):

        def mean(values: np.ndarray) -> np.ndarray:
            return np.where(there, values, 0).sum(-1) / there.sum(-1)

        f1, accuracy, chance = 2 * right / (labels + found), right.sum(-1) / total, (labels * found).sum(-1) / total**2
        values = {
            "accuracy": accuracy,
            "balanced_accuracy": mean(right / labels),
            "macro_f1": mean(f1),
            "weighted_f1": np.where(there, f1 * labels, 0).sum(-1) / total,
            "mean_iou": mean(right / (labels + found - right)),
            "kappa": (accuracy - chance) / np.where(chance < 1, 1 - chance, np.nan),
        }
    return {name: float(v) if np.ndim(v) == 0 else v for name, v in values.items() if np.ndim(v) or np.isfinite(v)}


def class_table(confusion: np.ndarray) -> list[dict[str, float | None]]:
    """Return labels, precision, recall, F1 and IoU of each class; None where undefined."""
    rows = []
    for k in range(len(confusion)):
        right, labels, found = confusion[k, k], confusion[k].sum(), confusion[:, k].sum()
        rows.append({
            "labels": int(labels),
            "precision": float(right / found) if found else None,
            "recall": float(right / labels) if labels else None,
            "f1": float(2 * right / (labels + found)) if labels else None,
            "iou": float(right / (labels + found - right)) if labels else None,
        })  # fmt: skip
    return rows


def class_text(confusion: np.ndarray, legend: Sequence[tuple[int, str]]) -> str:
    """Return the scores of each class (code, name) and how they are confused, in lines of at most 80 characters."""
    order = [f"{code} {name}"[:24] for code, name in legend]
    lines = [f"{'class':24}  {'labels':>11}  precision  recall     F1    IoU"]
    for name, row in zip(order, class_table(confusion), strict=True):
        cells = zip(("precision", "recall", "f1", "iou"), (9, 6, 5, 5), strict=True)
        numbers = "  ".join(f"{'' if row[key] is None else f'{row[key]:.3f}':>{width}}" for key, width in cells)
        lines.append(f"{name:24}  {row['labels']:>11,}  {numbers}".rstrip())
    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    if len(legend) <= _MOST:
        lines += ["", f"{'% of labels taken as':24}" + "".join(f"{code:>5}" for code, _ in legend)]
        lines += [
            f"{name:24}" + "".join(f"{value:>5.0f}" for value in row)
            for name, row in zip(order, shares, strict=True)
            if row.any()
        ]
        return "\n".join(lines)
    np.fill_diagonal(shares, 0)
    worst = np.argsort(-shares, axis=None, kind="stable")[:_MOST]
    lines += ["", "most confused, % of the labels"]
    for row, column in zip(*np.unravel_index(worst, shares.shape), strict=True):
        if shares[row, column]:
            lines.append(f"{shares[row, column]:>5.0f}  {order[row]} taken for {order[column]}")
    return "\n".join(lines)


def draw_confusion(confusion: np.ndarray, names: Sequence[str], file: Path) -> Path:
    """Draw a confusion matrix ``(K, K)`` of counts as shares of each row, as PNG."""
    from eozoo_core.score.plots import canvas

    side = 2.5 + 0.45 * len(names)
    figure = canvas(max(side, 4.5), max(side - 0.5, 4.0))
    axes = figure.add_subplot()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.spines[:].set_visible(False)
    for i, j in np.ndindex(*confusion.shape):
        if confusion[i].sum():
            colour = "white" if shares[i, j] > 0.6 else "black"
            axes.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="label")
    write_figure(file, figure)
    return file
