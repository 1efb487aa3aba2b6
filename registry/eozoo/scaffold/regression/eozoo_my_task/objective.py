"""What is learned: a height in every pixel, from labels in some. Change this file first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.checking import Channel, channel
from eozoo_core.raster.cog import Band
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.score.statistics import ChannelStatistics

if TYPE_CHECKING:
    from eozoo_my_task.model import Scaled
    from eozoo_my_task.settings import MyTaskSettings

LABELLED = True  # whether SPLIT/label is read

BASELINE = "training mean"  # the constant prediction beside which the model is scored


def outputs(settings: MyTaskSettings) -> dict[str, str]:
    """Name -> unit of what ``predict`` gives; each is (B, channels, H, W)."""
    return {"height": settings.data.unit}


def layers(settings: MyTaskSettings, channels: int) -> list[Band]:
    """Bands of a map, from ``channels`` predicted ones."""
    return [Band("height", settings.data.unit)]


def finish(rows: np.ndarray) -> np.ndarray:
    """Turn blended predictions (channels, n, W) into the bands of a map; here they are the same."""
    return rows


def predictions(model: Scaled, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Predict every pixel of image (B, C, H, W), also where bands are missing: the caller masks those."""
    return {"height": model(image)}


def plausible_label(settings: MyTaskSettings) -> Channel:
    """Return what ``eozoo check`` compares labels with: their name, unit and plausible range."""
    known = channel("label", settings.data.unit)
    low, high = settings.data.label_range or (known.low, known.high)
    return replace(known, low=low, high=high)


def channels(bands: int, settings: MyTaskSettings) -> dict[str, int]:
    """Options of the network that follow from the data: bands in, one value out."""
    return {"in_channels": bands, "outputs": 1}


def example(image: np.ndarray, label: np.ndarray | None, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return image (C, H, W) and target (1, H, W): the label where all bands are there, else NaN."""
    assert label is not None
    return image, np.where(np.isfinite(image).all(axis=0), label, np.float32(np.nan))


def look_at_labels(settings: MyTaskSettings) -> ChannelStatistics:
    """Return what the labels of the training images are shown to, one ``update`` each."""
    return ChannelStatistics(["label"])


def output_scale(
    inputs: ChannelStatistics, labels: ChannelStatistics, settings: MyTaskSettings
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the network's output: training starts at the mean label."""
    return labels.mean.tolist(), labels.std.tolist()


def baseline(inputs: ChannelStatistics, labels: ChannelStatistics, settings: MyTaskSettings) -> list[float]:
    """Return the constant prediction that a model must beat: the mean label."""
    return labels.mean.tolist()


class Scores:
    """Metrics pooled over every label, in the unit of the label."""

    def __init__(self, loss: Callable, settings: MyTaskSettings):
        self._loss, self._metrics, self._losses = loss, RegressionMetrics(), np.zeros(2)

    def add(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Take one image: prediction and target (1, H, W)."""
        self._metrics.update(prediction, target)
        total, count = self._loss(torch.tensor(prediction)[None], torch.from_numpy(target)[None])
        self._losses += [float(total), float(count)]

    def sums(self) -> np.ndarray:
        """Everything as one float64 array, to be added over processes."""
        return np.concatenate([self._losses, self._metrics.sums()])

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """Return metric -> value; what is undefined is left out. Raises ZooError where nothing is labelled."""
        if not sums[1]:
            raise ZooError("no label where the image has data: there is nothing to score")
        values = RegressionMetrics.from_sums(sums[2:]).compute()
        kept = {name: values[name] for name in ("rmse", "mae", "bias", "r2", "n")}
        return {"loss": sums[0] / sums[1], **{k: float(v) for k, v in kept.items() if v is not None}}
