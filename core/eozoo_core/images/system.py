"""A network for images with the scaling that it was trained with: bands in their own units go in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from eozoo_core.task.survey import Survey
from eozoo_core.task.system import System, Tensors


class ImageSystem(System):
    """Standardise the bands of "image" (B, C, H, W), fill what is missing with the training mean, run a network.

    ``raw`` gives "output" (B, K, H, W): the network's times ``scale`` plus ``shift``, one number per channel, so that
    training can start at the mean label. A standard deviation of 0 counts as 1. ``network.multiple``, where it has
    one, is that of the system. A subclass writes ``finish``.
    """

    def __init__(self, network: nn.Module, survey: Survey, shift: Sequence[float], scale: Sequence[float]):
        super().__init__()
        self.network, self.multiple = network, int(getattr(network, "multiple", 0))
        self.receipt = str(getattr(network, "receipt", None) or "")
        for name, (mean, std) in {"input": (survey.mean, survey.std), "output": (shift, scale)}.items():
            self.register_buffer(f"{name}_mean", torch.tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
            spread = torch.tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(f"{name}_std", torch.where(spread == 0, 1.0, spread))

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "image" standardised and without gaps."""
        return {"image": standardised(arrays, self.input_mean, self.input_std)}

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output" (B, K, H, W), finite everywhere."""
        return {"output": self.network(staged["image"]).float() * self.output_std + self.output_mean}


class ClassSystem(ImageSystem):
    """Bands (B, C, H, W) in their own units -> "probability" (B, K, H, W) of each class."""

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn logits into probabilities; core chooses the likeliest class."""
        return {"probability": raw["output"].softmax(dim=1)}


def standardised(arrays: Tensors, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return "image" (B, C, H, W) standardised, 0 where it is missing, with the "jitter" of training where it is not.

    mean, std: broadcast against it.
    """
    scaled = (arrays["image"].float() - mean) / std
    if "jitter" in arrays:
        scaled = scaled + arrays["jitter"]
    return scaled.nan_to_num(0.0, 0.0, 0.0)  # a third of isfinite and where
