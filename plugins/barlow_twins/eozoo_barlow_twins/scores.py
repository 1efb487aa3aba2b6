"""Scores of the land-cover classifier as sums that add up, in validation and in ``eozoo eval``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from eozoo_core.score.classes import class_scores, confusion_of
from eozoo_core.task import Arrays
from eozoo_core.task.baselines import Baseline

_LEAST = 1e-6  # probability of a class that training never saw: a floor instead of infinite loss


class ClassSums:
    """Mean cross-entropy ("loss", whatever the training's is) and `class_scores` over labelled pixels."""

    def __init__(self, classes: int):
        self._loss, self._confusion = 0.0, np.zeros((classes, classes), np.int64)

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """See `Metrics.add`; target: class index."""
        target = batch["target"]
        log_p = predicted.get("log_probabilities")
        if log_p is None:  # of several draws, or a baseline
            log_p = np.log(np.maximum(predicted["probabilities"], _LEAST))
        self._loss += float(log_p[np.arange(len(target)), target].astype(np.float64).sum())
        self._confusion += confusion_of(target, log_p.argmax(axis=1), len(self._confusion))

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return np.concatenate([[self._loss], self._confusion.ravel()])

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """See `Metrics.compute`."""
        confusion = sums[1:].reshape(self._confusion.shape)
        return {"loss": -float(sums[0]) / float(confusion.sum())} | class_scores(confusion)


def most_frequent(counts: Sequence[int]) -> dict[str, Baseline]:
    """Return "most_frequent": every pixel has the shares of the classes among the training labels."""
    share = np.asarray(counts, np.float64) / sum(counts)

    def everywhere(batch: Arrays) -> Arrays:
        return {"probabilities": np.broadcast_to(share, (len(batch["target"]), len(share)))}

    return {"most_frequent": everywhere}
