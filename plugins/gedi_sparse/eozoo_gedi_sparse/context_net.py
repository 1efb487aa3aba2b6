"""A network for a few hundred shots: what a pixel and the means around it say, through one small hidden layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class ContextNet(nn.Module):
    """The network behind ``context_net``.

    Every pixel gets its own bands and their means in squares around it: the inputs with which a forest does well on
    sparse footprints. A layer of 1x1 convolutions, the same for all pixels, does the rest. Noise on the standardised
    inputs and dropout are drawn anew for every pixel; nothing learned looks at more than these few numbers, so a few
    hundred labels can carry it.
    """

    def __init__(self, in_channels: int, outputs: int, sizes: Sequence[int], hidden: int, dropout: float, noise: float):
        super().__init__()
        self.sizes, self.noise = tuple(sizes), noise
        inputs = in_channels * (1 + len(self.sizes))
        # Means vary less than pixels do: without this the noise would drown them.
        self.standardise = nn.BatchNorm2d(inputs, affine=False)
        self.mix = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Conv2d(hidden, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        x = self.standardise(torch.cat([x, *(square_mean(x, size) for size in self.sizes)], dim=1))
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        return self.head(self.mix(x))


def square_mean(x: torch.Tensor, size: int) -> torch.Tensor:
    """Mean of (B, C, H, W) in the square of ``size`` px (odd) around each pixel, of what lies inside the image."""
    half = size // 2
    # One axis after the other: the number of pixels inside is a product of rows and columns, so this is exact.
    rows = F.avg_pool2d(x, (size, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, size), stride=1, padding=(0, half), count_include_pad=False)
