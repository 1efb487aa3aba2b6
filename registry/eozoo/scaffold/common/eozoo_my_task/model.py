"""The network with the scaling that it was trained with: bands in their own units go in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Scaled(nn.Module):
    """Scale bands, fill what is missing, run the network, scale its output.

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

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), NaN = missing -> (B, outputs, H, W), finite everywhere: who writes a map masks it."""
        return self.network(self.filled(image)).float() * self.output_std + self.output_mean

    def filled(self, image: torch.Tensor) -> torch.Tensor:
        """Return the standardised bands, with the training mean where one is missing."""
        scaled = (image.float() - self.input_mean) / self.input_std
        return torch.where(torch.isfinite(scaled), scaled, 0.0)
