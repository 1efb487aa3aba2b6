"""The networks, all with one signature: (B, C, H, W) normalised bands -> (B, outputs, H, W).

Channel 0 is the mean of the target. Channel 1, where ``outputs`` is 2, is the raw log-scale of its distribution: the
log-variance for the Gaussian loss, log b for the Laplacian one, neither activated nor clamped here. The clamp is
``clamp_log_scale`` of `eozoo_core.task.label_loss`, and everybody who reads the channel calls it. For classes the
channels are their logits. Inputs hold no NaN: the system fills them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from eozoo_core.errors import ZooError
from eozoo_core.images.squares import square_mean
from eozoo_core.unet import UNet
from torch import nn


def gedi_unet(
    in_channels: int = 14, outputs: int = 2, width: int = 64, bilinear: bool = True, dropout: float = 0.0
) -> nn.Module:
    """U-Net of the training document: 17,250,818 parameters at the defaults.

    in_channels: bands. outputs: 2 = mean and log-scale, 1 = mean only, or a logit per class.
    width: channels at full resolution, even.
    bilinear: bilinear up-sampling, or transposed convolutions (wider decoder, about 31 million parameters at width 64).
    dropout: probability 0..1 of dropping a channel at the bottleneck and before the head (for Monte-Carlo dropout).
    Any image size from 1 x 1 on. Raises ZooError for an option out of range.
    """
    _check(in_channels, outputs, dropout)
    if width < 2 or width % 2:
        raise ZooError(f"model.options.width: {width} is not an even number of channels >= 2")
    return UNet(in_channels, outputs, width, 4, bilinear, dropout)


def timm_unet(
    in_channels: int = 14,
    outputs: int = 2,
    encoder: str = "resnet18",
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
    pretrained: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """U-Net around any timm encoder that gives feature maps for any image size.

    in_channels: bands; where pretrained weights expect 3, timm repeats and rescales its first kernel.
    encoder: a timm name, for example resnet18, efficientnet_b0, convnext_atto, swin_tiny_patch4_window7_224.
    decoder_channels: channels after each doubling, coarse to fine; as many as the encoder halves are used.
    pretrained: fetch the encoder's published weights (needs a network): for the start of a training only.
    outputs, dropout, image size: as for gedi_unet. Raises ZooError for an option out of range, an unknown encoder,
    one without feature maps or one for a fixed image size.
    """
    from eozoo_gedi_sparse.timm_encoder import TimmUNet

    _check(in_channels, outputs, dropout)
    if pretrained and os.environ.get("EOZOO_OFFLINE", "") not in ("", "0"):
        raise ZooError("model.options.pretrained: fetches weights and EOZOO_OFFLINE is set; unset it or set false")
    return TimmUNet(in_channels, outputs, encoder, tuple(decoder_channels), pretrained, dropout)


def context_net(
    in_channels: int = 14,
    outputs: int = 2,
    sizes: tuple[int, ...] = (3, 7, 15),
    hidden: int = 64,
    dropout: float = 0.3,
    noise: float = 0.5,
) -> nn.Module:
    """Small network for a few hundred shots: a pixel's bands and their means around it, one hidden layer.

    sizes: sides of the squares whose means are taken, px, odd. hidden: units. noise: standard deviation of the noise
    on the inputs in training, in their own standard deviations; with ``dropout``, what keeps it from learning by heart.
    in_channels, outputs, image size: as for gedi_unet. Raises ZooError for an option out of range.
    """
    _check(in_channels, outputs, dropout)
    if any(size < 3 or size % 2 == 0 for size in sizes):
        raise ZooError(f"model.options.sizes: {list(sizes)} must be odd numbers of pixels from 3 on")
    if hidden < 1:
        raise ZooError(f"model.options.hidden: {hidden} is not a number of units >= 1")
    if noise < 0:
        raise ZooError(f"model.options.noise: {noise} is negative")
    return ContextNet(in_channels, outputs, sizes, hidden, dropout, noise)


def _check(in_channels: int, outputs: int, dropout: float) -> None:
    if in_channels < 1:
        raise ZooError(f"model.options.in_channels: {in_channels} is not a number of bands >= 1")
    if outputs < 1:
        raise ZooError(f"model.options.outputs: {outputs} is not a number of channels >= 1")
    if not 0 <= dropout < 1:
        raise ZooError(f"model.options.dropout: {dropout} is not a probability 0 <= p < 1")


class ContextNet(nn.Module):
    """The network behind ``context_net``: what a pixel and the means around it say, through one small hidden layer.

    Every pixel gets its own bands and their means in squares around it: the inputs with which a forest does well on
    sparse footprints. A layer of 1x1 convolutions, the same for all pixels, does the rest. Noise on the standardised
    inputs and dropout are drawn anew for every pixel; nothing learned looks at more than these few numbers, so a few
    hundred labels can carry it.
    """

    multiple = 1

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
