"""A U-Net, its convolution blocks, and the padding that lets it take any image size."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from eozoo_core.winograd import Conv3x3


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


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015, arXiv:1505.04597): ``depth`` halvings, skips, one 1x1 head; any image size.

    width: channels at full resolution, doubled at every halving; even. bilinear: up-sampling, else transposed
    convolutions. dropout: probability of dropping a channel at the bottleneck and before the head.
    """

    multiple = 1  # of the sides of an image, see `eozoo_core.task.System`

    def __init__(self, in_channels: int, outputs: int, width: int, depth: int, bilinear: bool, dropout: float):
        super().__init__()
        # Below two pixels at the bottleneck batch norm has nothing to average over when a batch holds one image.
        self.smallest = 2 ** (depth + 1)
        encoder = [width * 2**i for i in range(depth + 1)]
        decoder = [a // 2 if bilinear else a for a in encoder[-2::-1]]
        if bilinear:
            encoder[-1] = encoder[-2]
        deepest = encoder[-1]
        self.entry = DoubleConv(in_channels, width)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(DoubleConv(a, b) for a, b in pairwise(encoder))
        self.up = nn.ModuleList()
        below = deepest
        for skip, after in zip(encoder[-2::-1], decoder, strict=True):
            middle = (below + skip) // 2 if bilinear else None
            self.up.append(Up(below, skip, after, bilinear, middle))
            below = after
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(below, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        height, width = x.shape[-2:]
        x = self.entry(pad_right_bottom(x, 1, self.smallest))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x))
        x = self.dropout(x)
        for up in self.up:
            x = up(x, skips.pop())
        return crop(self.head(self.dropout(x)), height, width)
