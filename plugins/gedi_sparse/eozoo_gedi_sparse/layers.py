"""Convolution blocks that the networks of this plugin share, and the padding that lets them take any image size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from eozoo_core.winograd import Conv3x3
from torch import nn


class DoubleConv(nn.Sequential):
    """Twice (3x3 convolution, batch norm, ReLU): (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, middle: int | None = None):
        middle = middle or outputs
        layers: list[nn.Module] = []
        for a, b in ((inputs, middle), (middle, outputs)):
            layers += [Conv3x3(a, b, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Up(nn.Module):
    """Double the size of a map, join a finer one (the skip) where there is one, and convolve.

    Bilinear up-sampling uses align_corners=False: each output pixel then depends on its neighbours at fixed
    distances. With align_corners=True the spacing is (n - 1) / (2n - 1), so the same ground would get another value
    in a window of another size and blended windows would show seams.
    """

    def __init__(self, below: int, skip: int, outputs: int, bilinear: bool = True, middle: int | None = None):
        super().__init__()
        if bilinear:
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        else:
            self.up = nn.ConvTranspose2d(below, below // 2, kernel_size=2, stride=2)
            below = below // 2
        self.convolve = DoubleConv(below + skip, outputs, middle)

    def forward(self, below: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """Map (B, below, h, w) and skip (B, skip, H, W) with h = H // 2, w = W // 2 -> (B, outputs, H, W)."""
        x = self.up(below)
        if skip is not None:
            x = torch.cat([skip, _grow_to(x, skip.shape[-2], skip.shape[-1])], dim=1)
        return self.convolve(x)


def _grow_to(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Repeat the last row and column where an odd size lost one in pooling (zeros would darken that edge)."""
    if not _known(x.shape[-2], x.shape[-1], height, width):
        return _repeat_edge(x, height, width)
    if x.shape[-2] < height:
        x = torch.cat([x, x[..., -1:, :]], dim=-2)
    if x.shape[-1] < width:
        x = torch.cat([x, x[..., -1:]], dim=-1)
    return x


def pad_right_bottom(x: torch.Tensor, multiple: int, least: int) -> torch.Tensor:
    """Repeat the last row and column of (B, C, H, W) until both sizes are multiples of ``multiple`` and >= ``least``.

    Only to the right and below, so that a pixel keeps its place in the grid of the pooling layers.
    """
    height, width = (torch.sym_max(least, (size + multiple - 1) // multiple * multiple) for size in x.shape[-2:])
    if not _known(height, width):
        return _repeat_edge(x, height, width)
    if (height, width) == tuple(x.shape[-2:]):
        return x
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), mode="replicate")


def crop(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Take back what ``pad_right_bottom`` added."""
    return x[..., :height, :width] if _known(height, width) else _repeat_edge(x, height, width)


def _known(*sizes: int) -> bool:
    """False while a network is traced for export with sizes left free: then nothing may branch on them."""
    return all(isinstance(size, int) for size in sizes)


def _repeat_edge(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut, or fill up with the last row and column, whichever these sizes turn out to need."""
    rows, cols = (
        torch.minimum(torch.arange(wanted, device=x.device), torch.full((), there - 1, device=x.device))
        for wanted, there in ((height, x.shape[-2]), (width, x.shape[-1]))
    )
    return x.index_select(-2, rows).index_select(-1, cols)
