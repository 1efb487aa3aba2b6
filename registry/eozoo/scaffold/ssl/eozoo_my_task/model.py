"""The encoder with the scaling that it was trained with, and the head that training needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Scaled(nn.Module):
    """Scale bands, fill what is missing, encode; in training a linear head says what the hidden values were.

    All scaling lies in buffers, so a checkpoint holds what was trained. A standard deviation of 0 counts as 1.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: tuple[Sequence[float], Sequence[float]],
        outputs: tuple[Sequence[float], Sequence[float]],
    ):
        super().__init__()
        self.network = network
        for name, (mean, std) in {"input": inputs, "output": outputs}.items():
            self.register_buffer(f"{name}_mean", torch.tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
            spread = torch.tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(f"{name}_std", torch.where(spread == 0, 1.0, spread))
        with torch.no_grad():
            features = network(torch.zeros(1, len(inputs[0]), 8, 8)).shape[1]
        self.head = nn.Conv2d(features, len(outputs[0]), 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), NaN = missing or hidden -> the values (B, C, H, W) that are expected there."""
        return self.head(self.features(image)).float() * self.output_std + self.output_mean

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> features (B, D, H, W), finite everywhere: who writes a map masks them."""
        scaled = (image.float() - self.input_mean) / self.input_std
        return self.network(torch.where(torch.isfinite(scaled), scaled, 0.0))
