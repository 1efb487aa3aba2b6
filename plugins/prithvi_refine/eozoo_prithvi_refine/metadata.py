"""Month and biome as four planes beside the image."""

from __future__ import annotations

import math

import torch
from torch import nn

from eozoo_prithvi_refine.settings import BIOMES

_HARMONICS = 3
_WIDTH = 64


class MetadataEmbedding(nn.Module):
    """Month (1-12, cyclic: December lies beside January) and biome (0-16) -> ``(B, 4)``.

    Biomes begin at zero: one that training never showed says nothing, where a random vector would shift the colours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.biome = nn.Embedding(BIOMES, _WIDTH)
        nn.init.zeros_(self.biome.weight)
        self.mix = nn.Sequential(nn.Linear(2 * _HARMONICS + _WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, 4))

    def forward(self, month: torch.Tensor, biome: torch.Tensor) -> torch.Tensor:
        """Embed ``month (B,)`` and ``biome (B,)``, whole numbers."""
        return self.mix(torch.cat([month_cycle(month), self.biome(biome)], dim=1))


def month_cycle(month: torch.Tensor) -> torch.Tensor:
    """Return sine and cosine of the first three harmonics of the year, ``(B, 6)``; month 13 would equal month 1."""
    angle = (month.float() - 1)[:, None] * (2 * math.pi / 12) * torch.arange(1, _HARMONICS + 1, device=month.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Fusion(nn.Module):
    """Image and metadata planes, 4 + 4 channels -> 4, by a 1 x 1 convolution (36 parameters).

    It begins as the image plus a little of the metadata, so that Prithvi sees an image from the first step on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.conv.weight[:, :4, 0, 0] = torch.eye(4)
            nn.init.normal_(self.conv.weight[:, 4:], std=0.1)
            nn.init.zeros_(self.conv.bias)

    def forward(self, image: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Fuse ``image (B, 4, H, W)`` with ``metadata (B, 4)``, the same for all pixels."""
        planes = metadata[:, :, None, None].expand(-1, -1, *image.shape[-2:])
        return self.conv(torch.cat([image, planes.to(image.dtype)], dim=1))
