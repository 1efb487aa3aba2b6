"""The model: metadata -> fusion -> Prithvi -> ConvNeXt head -> a bounded change added to the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eozoo_prithvi_refine.convnext import ConvNeXtHead
from eozoo_prithvi_refine.encoder import PrithviEncoder
from eozoo_prithvi_refine.fallback import Fallback
from eozoo_prithvi_refine.metadata import Fusion, MetadataEmbedding
from eozoo_prithvi_refine.settings import ModelSettings
from eozoo_prithvi_refine.variants import BANDS, MEAN, STD

# Pre-training's spread holds deserts and snow; within a tile reflectance varies about four times less. The head sees it
# enlarged so that it learns from the first steps on.
_LIVELY = 4.0


class PrithviRefiner(nn.Module):
    """Refines ``(B, 4, H, W)`` reflectance (B02, B03, B04, B08) of any size, given month and biome.

    Patch tokens alone cannot sharpen (120 px are 9 x 9 tokens): they are projected to ``head_width`` channels,
    up-sampled, joined with the image at full resolution, and the ConvNeXt blocks work there. The result is a change
    of at most ``max_change``, added to the input and held in 0..``max_reflectance``. An untrained model returns its
    input, within those bounds.

    ``encoder``: adapted; None leaves Prithvi out. ``around``: another network for maps, see `Around`.
    """

    def __init__(self, settings: ModelSettings, encoder: PrithviEncoder | None, around: Around | None = None):
        super().__init__()
        self.assemble(settings, encoder, around)

    def assemble(self, settings: ModelSettings, encoder: PrithviEncoder | None, around: Around | None = None) -> None:
        """Add all parts; the order of their random numbers, and of parameters in optimisers, is that of this list."""
        self.settings = settings
        for name, values in zip(("mean", "std"), input_statistics()):
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.metadata, self.fusion = MetadataEmbedding(), Fusion()
        width = settings.head_width
        self.encoder = encoder
        if encoder is not None:
            self.to_six = band_mapping()
            self.project = nn.Conv2d(encoder.variant.embed_dim, width, 1)
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)
        self.around = around
        channels = 8 + width * ((encoder is not None) + (around is not None))
        head = ConvNeXtHead(channels, width, settings.num_convnext_blocks, settings.drop_path)
        self.head = Fallback(head, settings.cpu_fallback)

    def forward(
        self,
        image: torch.Tensor,
        month: torch.Tensor,
        biome: torch.Tensor,
        time: torch.Tensor | None = None,
        location: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return refined ``(B, 4, H, W)`` reflectance and features ``(B, head_width, H, W)``, both finite.

        image: NaN = missing; a missing pixel is seen as the average of pre-training, and the caller marks it in the
        result. month: (B,) 1-12; biome: (B,) 0-16, whole numbers. time (B, 2) and location (B, 2) as in
        ``coordinates``, NaN or None = not known; encoders that are not ``_tl`` do not look at them.
        """
        missing = ~torch.isfinite(image).all(dim=1, keepdim=True)
        seen, image = image, torch.where(missing, self.mean, image)
        scaled = (image - self.mean) / self.std
        fused = self.fusion(scaled, self.metadata(month, biome))
        joined = [_LIVELY * scaled, _LIVELY * fused]
        if self.encoder is not None:
            joined.append(self._context(fused, time, location))
        if self.around is not None:
            joined.append(self.around(scaled, seen))
        x = torch.cat([part.to(fused.dtype) for part in joined], dim=1)
        features, change = self.head(x, self.head.head.draw(x.shape[0], x.device))
        limit = self.settings.max_change
        refined = image.float() + limit * torch.tanh(change.float() / limit)
        return refined.clamp(0.0, self.settings.max_reflectance), features.float()

    def _context(self, fused: torch.Tensor, time: torch.Tensor | None, location: torch.Tensor | None) -> torch.Tensor:
        """What Prithvi sees around each pixel: ``(B, 4, H, W)`` -> ``(B, head_width, H, W)``."""
        patch, (height, width) = self.encoder.variant.patch, fused.shape[-2:]
        padded, top, left = pad_to_multiple(fused, patch)
        rows, cols = padded.shape[-2] // patch, padded.shape[-1] // patch
        when = {}
        if self.encoder.variant.coordinates:
            when = {"temporal": None if time is None else time[:, None], "location": location}
        tokens = self.encoder(self.to_six(padded), **when)
        context = self.project(self.encoder.feature_map(tokens, rows, cols))
        context = F.interpolate(context.float(), scale_factor=float(patch), mode="bilinear", align_corners=False)
        return context[..., top : top + height, left : left + width]


class Around(nn.Module):
    """Channels that a registered network for maps has for each pixel, from zero on: training starts without them.

    network: gives (B, width, H, W). takes: what of "image" (standardised, missing pixels at their mean), "values"
    (reflectance, 0 where missing) and "missing" (1 = missing), each (B, 4, H, W), it is called with, in its order.
    """

    def __init__(self, network: nn.Module, takes: Sequence[str], width: int):
        super().__init__()
        self.network, self.takes = network, tuple(takes)
        self.join = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, scaled: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return (B, width, H, W) for images of any size. image: reflectance, NaN = missing."""
        there, (height, width) = torch.isfinite(image), image.shape[-2:]
        known = {"image": scaled, "values": torch.where(there, image, 0.0), "missing": (~there).float()}
        multiple = max(1, int(getattr(self.network, "multiple", 1)))
        padded = [pad_to_multiple(known[role], multiple) for role in self.takes]
        _, top, left = padded[0]
        found = self.join(self.network(*(values for values, _, _ in padded)).float())
        return found[..., top : top + height, left : left + width]


def input_statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the four bands in pre-training, reflectance 0..1, rounded to float32."""
    mean, std = (tuple(float(np.float32(v) / np.float32(10000)) for v in values[:4]) for values in (MEAN, STD))
    return mean, std


def band_mapping() -> nn.Conv2d:
    """Build the 1 x 1 convolution from blue, green, red, NIR to Prithvi's six bands, in standardised units.

    The four bands are themselves (B08 for the narrow NIR). The two short-wave infrared bands are not measured; each
    begins at 0.5 red + 0.5 NIR, in standard deviations of pre-training. It is trained with the head.
    """
    mapping = nn.Conv2d(4, len(BANDS), 1)
    with torch.no_grad():
        mapping.weight.zero_()
        mapping.bias.zero_()
        mapping.weight[:4, :, 0, 0] = torch.eye(4)
        mapping.weight[4:, 2:4, 0, 0] = 0.5
    return mapping


def pad_to_multiple(image: torch.Tensor, multiple: int) -> tuple[torch.Tensor, int, int]:
    """Reflect ``(B, C, H, W)`` outwards on all sides to the next multiple; return it and the rows and columns added
    above and on the left. Works for any size: an image smaller than its padding is reflected to and fro.
    """
    height, width = image.shape[-2:]
    top, left = (-height % multiple) // 2, (-width % multiple) // 2
    rows = _reflected(height, -height % multiple, top, image.device)
    cols = _reflected(width, -width % multiple, left, image.device)
    return image[..., rows, :][..., cols], top, left


def _reflected(length: int, added: int, before: int, device: torch.device) -> torch.Tensor:
    """Indices of ``length + added`` pixels, the first ``before`` of them mirrored at the edge pixel."""
    period = max(1, 2 * (length - 1))
    index = (torch.arange(length + added, device=device) - before) % period
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)
