"""Networks for any image: (B, C, H, W) standardised bands without NaN -> (B, outputs, H, W).

For values channel 0 is the mean and channel 1, where there are two, the raw log-scale (`eozoo_core.task.label_loss`);
for classes the channels are logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from eozoo_core.errors import ZooError
from eozoo_core.unet import UNet
from torch import nn


def unet(in_channels: int = 4, outputs: int = 1, width: int = 32, depth: int = 4, dropout: float = 0.0) -> nn.Module:
    """U-Net with bilinear up-sampling: 4.3 million parameters with the default width, 270 thousand with width 8.

    in_channels: bands. outputs: channels of the result. width: channels at full resolution, even, doubled at each of
    ``depth`` halvings. dropout: probability 0..1 of dropping a channel at the bottleneck and before the head (for
    Monte-Carlo dropout). Raises ZooError for an option out of range.
    """
    _check(in_channels=in_channels, outputs=outputs, width=width, depth=depth)
    if width % 2:
        raise ZooError(f"model.options.width: {width} is not even")
    if not 0 <= dropout < 1:
        raise ZooError(f"model.options.dropout: {dropout} is not a probability 0 <= p < 1")
    return UNet(in_channels, outputs, width, depth, bilinear=True, dropout=dropout)


def residual_cnn(in_channels: int = 4, outputs: int = 1, width: int = 32, depth: int = 3) -> nn.Module:
    """Residual 3 x 3 convolutions at full resolution; sees 2 depth + 3 pixels across.

    in_channels: bands. outputs: channels of the result. width: hidden channels. depth: residual blocks.
    Raises ZooError for a number below 1.
    """
    _check(in_channels=in_channels, outputs=outputs, width=width, depth=depth)
    return ResidualCNN(in_channels, outputs, width, depth)


class ResidualCNN(nn.Module):
    """The network behind ``residual_cnn``."""

    multiple = 1

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


def forest(
    in_channels: int = 4,
    outputs: int = 2,
    trees: int = 300,
    leaf: int = 3,
    squares: tuple[int, ...] = (3, 7, 15),
) -> nn.Module:
    """Extremely randomised trees on a pixel's bands and their means around it, for a few hundred labels; no steps.

    in_channels: bands. outputs: 1 = the mean alone, 2 = with a deviation, the error at labels that trees did not see.
    trees: how many. leaf: fewest labels of a leaf. squares: sides of the squares whose means are taken, px, odd; () =
    the pixel alone. Raises ZooError for an option out of range; growing needs ``eozoo[forest]``, maps do not.
    """
    return _forest(in_channels, outputs, (trees, leaf), squares)


def quantile_forest(
    in_channels: int = 4,
    outputs: int = 2,
    trees: int = 300,
    leaf: int = 3,
    squares: tuple[int, ...] = (3, 7, 15),
    quantile: float | None = None,
) -> nn.Module:
    """A forest whose deviation is that of the labels in the leaves that a pixel falls into: another one everywhere.

    quantile: of these labels, 0..1 (0.5 = their median), in place of the mean; None = the mean. All else and what it
    raises: see `forest`.
    """
    if quantile is not None and not 0 < quantile < 1:
        raise ZooError(f"model.options.quantile: {quantile} is not a number between 0 and 1")
    return _forest(in_channels, outputs, (trees, leaf), squares, True, quantile)


def _forest(
    bands: int,
    outputs: int,
    size: tuple[int, int],
    squares: Sequence[int],
    spread: bool = False,
    quantile: float | None = None,
) -> nn.Module:
    from eozoo_core.images.trees import PixelForest

    _check(in_channels=bands, trees=size[0], leaf=size[1])
    if outputs > 2:
        raise ZooError("model.name: a forest gives values, not classes; choose a network for classes")
    if any(side < 3 or side % 2 == 0 for side in squares):
        raise ZooError(f"model.options.squares: {list(squares)} must be odd numbers of pixels from 3 on")
    return PixelForest(bands, outputs, size, spread, quantile, squares)


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ZooError(f"model.options.{name}: {value} is not a number >= 1")
