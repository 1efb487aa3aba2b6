"""A small convolutional encoder. Any registered model that fits the task's slot can take its place."""

from __future__ import annotations

import torch
from eozoo_core import ZooError
from torch import nn


def my_task_net(in_channels: int = 4, width: int = 16, depth: int = 3) -> nn.Module:
    """Residual 3 x 3 convolutions at full resolution; any image size.

    in_channels: bands. width: features per pixel. depth: residual blocks. Raises ZooError for a number below 1.
    """
    for name, value in {"in_channels": in_channels, "width": width, "depth": depth}.items():
        if value < 1:
            raise ZooError(f"model.options.{name}: {value} is not a number >= 1")
    return Encoder(in_channels, width, depth)


class Encoder(nn.Module):
    """(B, C, H, W) without NaN -> features (B, width, H, W)."""

    def __init__(self, in_channels: int, width: int, depth: int):
        super().__init__()
        self.entry = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode every pixel."""
        x = self.entry(x)
        for block in self.blocks:
            x = x + block(torch.relu(x))
        return x
