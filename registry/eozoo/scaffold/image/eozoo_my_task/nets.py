"""A small convolutional network. Any registered model that fits the task's slot can take its place."""

from __future__ import annotations

import torch
from eozoo_core import ZooError
from torch import nn


def my_task_net(in_channels: int = 4, outputs: int = 1, width: int = 16, depth: int = 3) -> nn.Module:
    """Residual 3 x 3 convolutions at full resolution; any image size.

    in_channels: bands. outputs: channels of the result. width: hidden channels. depth: residual blocks.
    Raises ZooError for a number below 1.
    """
    for name, value in {"in_channels": in_channels, "outputs": outputs, "width": width, "depth": depth}.items():
        if value < 1:
            raise ZooError(f"model.options.{name}: {value} is not a number >= 1")
    return Net(in_channels, outputs, width, depth)


class Net(nn.Module):
    """(B, C, H, W) without NaN -> (B, outputs, H, W)."""

    def __init__(self, in_channels: int, outputs: int, width: int, depth: int):
        super().__init__()
        self.entry = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict every pixel."""
        x = self.entry(x)
        for block in self.blocks:
            x = x + block(torch.relu(x))
        return self.head(torch.relu(x))
