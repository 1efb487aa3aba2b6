"""A light PatchGAN discriminator: is this patch of about 34 px a real image? Isola et al. 2017, arXiv:1611.07004."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PatchDiscriminator(nn.Module):
    """Scores overlapping patches: ``(B, 4, H, W)`` reflectance, 0 where missing -> ``(B, 1, about H/4, about W/4)``.

    Two strided and two plain 4 x 4 convolutions see 34 px: fine texture, and a grid of 28 x 28 patches from a 120 px
    tile. (One more strided layer would see 70 px, half a tile.) GroupNorm, because instance statistics of small maps
    are noise and batch statistics do not exist at batch 1; through its means a patch knows the image's contrast.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        leaky = nn.LeakyReLU(0.2)
        self.layers = nn.Sequential(
            nn.Conv2d(4, width, 4, stride=2, padding=1),
            leaky,
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(8, 2 * width),
            leaky,
            nn.Conv2d(2 * width, 4 * width, 4, padding=1),
            nn.GroupNorm(8, 4 * width),
            leaky,
            nn.Conv2d(4 * width, 1, 4, padding=1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores; 1 = real, 0 = made, after training with least squares."""
        return self.layers(image)


def patch_weight(valid: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return 1 for patches that are at least half valid, else 0: ``valid (B, H, W)`` bool -> shape of ``scores``."""
    share = F.adaptive_avg_pool2d(valid.float().unsqueeze(1), scores.shape[-2:])
    return (share >= 0.5).float()


def patch_discriminator(width: int = 32) -> PatchDiscriminator:
    """Build the discriminator; ``width`` channels after the first layer, a multiple of 4."""
    return PatchDiscriminator(width)
