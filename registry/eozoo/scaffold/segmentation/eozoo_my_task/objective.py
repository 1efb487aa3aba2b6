"""What is learned: the class of every pixel, from labels in some. Change this file first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.checking import Classes
from eozoo_core.raster.cog import Band
from eozoo_core.score.statistics import ChannelStatistics

if TYPE_CHECKING:
    from eozoo_my_task.model import Scaled
    from eozoo_my_task.settings import MyTaskSettings

LABELLED = True  # whether SPLIT/label is read

BASELINE = "class frequencies"  # the constant prediction beside which the model is scored


def outputs(settings: MyTaskSettings) -> dict[str, str]:
    """Name -> unit of what ``predict`` gives; each is (B, channels, H, W)."""
    return {"class": "class index", "probability": "1"}


def layers(settings: MyTaskSettings, channels: int) -> list[Band]:
    """Bands of a map: the class, then the probability of each."""
    names = settings.data.classes
    return [Band("class", "class index"), *(Band(f"probability of {name}", "1") for name in names)]


def finish(rows: np.ndarray) -> np.ndarray:
    """Turn blended probabilities (K, n, W) into the bands of a map: the likeliest class, and the probabilities."""
    missing = np.isnan(rows).any(axis=0)
    best = np.where(missing, np.float32(np.nan), np.nan_to_num(rows).argmax(axis=0).astype("float32"))
    return np.concatenate([best[None], rows])


def predictions(model: Scaled, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Predict every pixel of image (B, C, H, W), also where bands are missing: the caller masks those."""
    probability = torch.softmax(model(image), dim=1)
    return {"class": probability.argmax(dim=1, keepdim=True).float(), "probability": probability}


def plausible_label(settings: MyTaskSettings) -> Classes:
    """Return what ``eozoo check`` compares labels with: the classes that there are."""
    return Classes(dict(enumerate(settings.data.classes)))


def channels(bands: int, settings: MyTaskSettings) -> dict[str, int]:
    """Options of the network that follow from the data: bands in, a logit per class out."""
    return {"in_channels": bands, "outputs": len(settings.data.classes)}


def example(image: np.ndarray, label: np.ndarray | None, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return image (C, H, W) and target (1, H, W): the class where all bands are there, else NaN."""
    assert label is not None
    return image, np.where(np.isfinite(image).all(axis=0), label, np.float32(np.nan))


class ClassCounts:
    """How many pixels of each class the labels of the training images hold."""

    def __init__(self, classes: int):
        self.count = np.zeros(classes, int)

    def update(self, label: np.ndarray) -> None:
        """Take a label (1, H, W), NaN = none. Raises ZooError for a class that has no name."""
        found, classes = label[np.isfinite(label)], len(self.count)
        wrong = found[(found < 0) | (found >= classes) | (found % 1 != 0)]
        if wrong.size:
            raise ZooError(f"a label holds {wrong[0]:g}; data.classes names {classes} classes, 0 to {classes - 1}")
        self.count += np.bincount(found.astype(int), minlength=classes)


def look_at_labels(settings: MyTaskSettings) -> ClassCounts:
    """Return what the labels of the training images are shown to, one ``update`` each."""
    return ClassCounts(len(settings.data.classes))


def output_scale(
    inputs: ChannelStatistics, labels: ClassCounts, settings: MyTaskSettings
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the network's output: logits start at those of the class frequencies."""
    return baseline(inputs, labels, settings), [1.0] * len(settings.data.classes)


def baseline(inputs: ChannelStatistics, labels: ClassCounts, settings: MyTaskSettings) -> list[float]:
    """Return the constant prediction that a model must beat: the logits of the class frequencies (one added each)."""
    return np.log((labels.count + 1) / (labels.count + 1).sum()).tolist()


class Scores:
    """Metrics pooled over every labelled pixel, from one confusion matrix."""

    def __init__(self, loss: Callable, settings: MyTaskSettings):
        self._loss, self._losses, self._classes = loss, np.zeros(2), len(settings.data.classes)
        self._confusion = np.zeros((self._classes, self._classes))  # row: label, column: prediction

    def add(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Take one image: logits (K, H, W) and target (1, H, W)."""
        total, count = self._loss(torch.tensor(prediction)[None], torch.from_numpy(target)[None])
        self._losses += [float(total), float(count)]
        labelled = np.isfinite(target[0])
        pairs = target[0][labelled].astype(int) * self._classes + prediction.argmax(axis=0)[labelled]
        self._confusion += np.bincount(pairs, minlength=self._classes**2).reshape(self._confusion.shape)

    def sums(self) -> np.ndarray:
        """Everything as one float64 array, to be added over processes."""
        return np.concatenate([self._losses, self._confusion.ravel()])

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """Return metric -> value. Intersection over union is the mean over the classes that occur in the labels."""
        if not sums[1]:
            raise ZooError("no label where the image has data: there is nothing to score")
        confusion = sums[2:].reshape(self._confusion.shape)
        right, labels, found = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        there = labels > 0
        iou = right[there] / (labels + found - right)[there]
        return {
            "loss": float(sums[0] / sums[1]),
            "accuracy": float(right.sum() / confusion.sum()),
            "mean_iou": float(iou.mean()),
            "n": float(confusion.sum()),
        }
