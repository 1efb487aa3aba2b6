"""Means in squares around pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def square_mean(x: torch.Tensor, size: int) -> torch.Tensor:
    """Mean of (B, C, H, W) in the square of ``size`` px (odd) around each pixel, of what lies inside the image."""
    half = size // 2
    # One axis after the other: the number of pixels inside is a product of rows and columns, so this is exact.
    rows = F.avg_pool2d(x, (size, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, size), stride=1, padding=(0, half), count_include_pad=False)
