"""Prithvi as a network for maps: bands of any sensor in, one or two values for every pixel out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from eozoo_core.errors import ZooError
from torch import nn

from eozoo_prithvi_refine.convnext import ConvNeXtBlock
from eozoo_prithvi_refine.encoder import PrithviEncoder, build_encoder
from eozoo_prithvi_refine.refiner import pad_to_multiple
from eozoo_prithvi_refine.variants import BANDS
from eozoo_prithvi_refine.weights import load_prithvi

TRAINABLE = ("all", "none")


def prithvi_dense(
    in_channels: int = 14,
    outputs: int = 2,
    encoder: str = "prithvi_eo_v2_tiny",
    bands: Sequence[int] = (),
    width: int = 32,
    blocks: int = 2,
    trainable: str = "all",
    pretrained: str | None = None,
) -> PrithviDense:
    """Build a network for maps around a Prithvi-EO-2.0 encoder, for any image size.

    in_channels: bands, standardised (mean 0, deviation 1), without NaN. outputs: channels of the map.
    encoder: name of a Prithvi variant. bands: which channels (from 0) are Prithvi's blue, green, red, narrow near
    infrared (B8A), 1.6 and 2.2 micrometres; empty = it has to find out. width, blocks: channels and ConvNeXt blocks at
    full resolution. trainable: "all", or "none" = the encoder keeps its weights.
    pretrained: file of published weights, every tensor matched, or "published": that of 'eozoo weights fetch'; None =
    random.

    Raises ZooError for an option out of range, and for weights that do not match.
    """
    if in_channels < 1 or outputs < 1 or width < 1 or blocks < 0:
        raise ZooError("model.options: in_channels, outputs and width are at least 1, blocks at least 0")
    if bands and (len(bands) != len(BANDS) or not all(0 <= b < in_channels for b in bands)):
        raise ZooError(f"model.options.bands: {list(bands)} must be {len(BANDS)} of the channels 0..{in_channels - 1}")
    if trainable not in TRAINABLE:
        raise ZooError(f"model.options.trainable: {trainable!r} is neither 'all' nor 'none'")
    network = PrithviDense(build_encoder(encoder), in_channels, outputs, tuple(bands), width, blocks)
    if pretrained:
        network.receipt = str(load_prithvi(network.encoder, pretrained, encoder, "model.options.pretrained"))
    network.encoder.requires_grad_(trainable == "all")
    return network


class PrithviDense(nn.Module):
    """What Prithvi sees around a pixel joined with the pixel itself.

    A token stands for 14 or 16 pixels, a shot for one or two: the encoder alone would average the label's own pixel
    away. So its tokens are projected to ``width`` channels, up-sampled bilinearly, joined with a convolution of the
    input at full resolution, and ConvNeXt blocks work on both. No batch norm: a sample's result is its own.

    ``receipt`` says what was loaded, None where nothing was.
    """

    def __init__(
        self, encoder: PrithviEncoder, in_channels: int, outputs: int, bands: Sequence[int], width: int, blocks: int
    ):
        super().__init__()
        self.receipt: str | None = None
        self.encoder = encoder
        self.to_six = _band_projection(in_channels, bands)
        self.project = nn.Conv2d(encoder.variant.embed_dim, width, 1)
        self.entry = nn.Conv2d(in_channels, width, 3, padding=1)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(blocks))
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) standardised bands without NaN -> (B, outputs, H, W)."""
        joined = self.join(torch.cat([self.entry(x), self._context(x)], dim=1))
        keep = torch.ones(x.shape[0], device=x.device)
        for block in self.blocks:
            joined = block(joined, keep)
        return self.head(F.gelu(joined))

    def _context(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens as a map: (B, C, H, W) -> (B, width, H, W)."""
        patch, (height, width) = self.encoder.variant.patch, x.shape[-2:]
        padded, top, left = pad_to_multiple(x, patch)
        rows, cols = padded.shape[-2] // patch, padded.shape[-1] // patch
        context = self.project(self.encoder.feature_map(self.encoder(self.to_six(padded)), rows, cols))
        context = F.interpolate(context, scale_factor=float(patch), mode="bilinear", align_corners=False)
        return context[..., top : top + height, left : left + width]


def _band_projection(in_channels: int, bands: Sequence[int]) -> nn.Conv2d:
    """A trained 1 x 1 convolution to Prithvi's six bands that begins as a choice of channels where they are known."""
    projection = nn.Conv2d(in_channels, len(BANDS), 1)
    if bands:
        with torch.no_grad():
            projection.weight.zero_()
            projection.bias.zero_()
            for six, channel in enumerate(bands):
                projection.weight[six, channel] = 1.0
    return projection
