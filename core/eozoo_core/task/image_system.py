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
        for name, (mean, std) in {"input": (survey.mean, survey.std), "output": (shift, scale)}.items():
            self.register_buffer(f"{name}_mean", torch.tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
            spread = torch.tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(f"{name}_std", torch.where(spread == 0, 1.0, spread))

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "image" standardised and without gaps."""
        return {"image": ((arrays["image"].float() - self.input_mean) / self.input_std).nan_to_num(0.0, 0.0, 0.0)}

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output" (B, K, H, W), finite everywhere."""
        return {"output": self.network(staged["image"]).float() * self.output_std + self.output_mean}
