"""ConvNeXt blocks at full resolution, and the head that turns them into a change of the image."""

from __future__ import annotations

import torch
from torch import nn


class ConvNeXtBlock(nn.Module):
    """Depthwise 7 x 7, LayerNorm, expand by 4, GELU, contract, residual (Liu et al. 2022)."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Map ``x (B, C, H, W)``; ``keep (B,)`` multiplies the branch (stochastic depth: 0 or 1/probability)."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.contract(nn.functional.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2) * keep[:, None, None, None].to(y.dtype)


class ConvNeXtHead(nn.Module):
    """Full-resolution channels -> refined features and the change of four bands.

    Stochastic depth grows linearly from 0 at the first block to ``drop_path`` at the last (Huang et al. 2016); the
    draw is an argument, so that a forward pass can be repeated exactly. The last layer begins at zero: an untrained
    model returns its input.
    """

    def __init__(self, channels: int, width: int, blocks: int, drop_path: float):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList([ConvNeXtBlock(width) for _ in range(blocks)])
        self.change = nn.Conv2d(width, 4, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self._drop = [drop_path * i / max(1, blocks - 1) for i in range(blocks)]

    def draw(self, batch: int, device: torch.device) -> torch.Tensor:
        """Return factors ``(blocks, B)`` for the branches: all 1 outside of training."""
        factors = torch.ones(len(self.blocks), batch, device=device)
        if self.training:
            for row, drop in zip(factors, self._drop):
                if drop > 0:
                    row.bernoulli_(1 - drop).div_(1 - drop)
        return factors

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map ``x (B, channels, H, W)`` to features ``(B, width, H, W)`` and change ``(B, 4, H, W)``."""
        x = self.stem(x)
        for block, factors in zip(self.blocks, keep):
            x = block(x, factors)
        return x, self.change(x)
