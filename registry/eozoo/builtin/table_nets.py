"""Networks of features (B, C), standardised and without gaps, that give K numbers for each sample."""

from __future__ import annotations

import torch
from eozoo_core import ZooError
from torch import nn


def linear(in_channels: int = 4, outputs: int = 1) -> nn.Module:
    """One weight for each feature and output, and a constant.

    in_channels: features. outputs: numbers for each sample.
    """
    return nn.Linear(in_channels, outputs)


def mlp(
    in_channels: int = 4,
    outputs: int = 1,
    width: int = 128,
    depth: int = 3,
    dropout: float = 0.0,
    batch_norm: bool = False,
    residual: bool = True,
) -> nn.Module:
    """Fully connected layers with ReLU.

    in_channels: features. outputs: numbers for each sample. width: of the hidden layers. depth: how many there are.
    dropout: share of hidden numbers left out in training. batch_norm: before every ReLU. residual: every layer adds to
    what it gets. Raises ZooError for a number that cannot be.
    """
    for name, value in {"in_channels": in_channels, "outputs": outputs, "width": width, "depth": depth}.items():
        if value < 1:
            raise ZooError(f"model.options.{name}: {value} is not a number >= 1")
    if not 0 <= dropout < 1:
        raise ZooError(f"model.options.dropout: {dropout} is not a share from 0 to below 1")
    blocks = [_block(width, dropout, batch_norm) for _ in range(depth - 1)]
    return MLP(nn.Linear(in_channels, width), nn.ModuleList(blocks), nn.Linear(width, outputs), dropout, residual)


class MLP(nn.Module):
    """(B, C) -> (B, outputs)."""

    def __init__(self, entry: nn.Module, blocks: nn.ModuleList, head: nn.Module, dropout: float, residual: bool):
        super().__init__()
        self.entry, self.blocks, self.head = entry, blocks, head
        self.dropout, self.residual = nn.Dropout(dropout), residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict every sample by itself."""
        x = self.entry(x)
        for block in self.blocks:
            x = x + block(x) if self.residual else block(x)
        return self.head(self.dropout(torch.relu(x)))


def _block(width: int, dropout: float, batch_norm: bool) -> nn.Sequential:
    norm = [nn.BatchNorm1d(width)] if batch_norm else []
    return nn.Sequential(*norm, nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
