"""The Prithvi-EO-2.0 encoder: a vision transformer over time, rows and columns, with the published key names."""

from __future__ import annotations

from functools import partial

import torch
from eozoo_core import ZooError
from eozoo_core.errors import did_you_mean
from eozoo_core.layers import embed_patches
from torch import nn
from torch.utils.checkpoint import checkpoint

from eozoo_prithvi_refine.positions import CoordinateEncoder, position_table, resize_table
from eozoo_prithvi_refine.variants import BANDS, VARIANTS, Variant


class PatchEmbed(nn.Module):
    """Cuts ``(B, C, T, H, W)`` into patches of one frame and projects each to a token."""

    def __init__(self, patch: int, dim: int):
        super().__init__()
        kernel = (1, patch, patch)
        self.proj = nn.Conv3d(len(BANDS), dim, kernel_size=kernel, stride=kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens ``(B, T * h * w, D)``."""
        frames = x.transpose(1, 2).flatten(0, 1)
        tokens = embed_patches(frames, self.proj.weight[:, :, 0], self.proj.bias)
        return tokens.unflatten(0, (x.shape[0], x.shape[2])).flatten(1, 2)


class PrithviEncoder(nn.Module):
    """Pre-norm transformer with CLS token and a fixed position table (Szwarcman et al. 2024, arXiv:2412.02732).

    Input is standardised with ``variants.MEAN`` and ``STD``. LayerNorm has eps 1e-5, as the published model. Where
    height or width do not divide by the patch, the last rows and columns are not seen: pad before (see ``refiner``).
    """

    def __init__(self, variant: Variant):
        from timm.models.vision_transformer import Block  # 2 s to import

        super().__init__()
        dim, self.variant = variant.embed_dim, variant
        side = variant.image // variant.patch
        self.grid = (variant.frames, side, side)
        self.patch_embed = PatchEmbed(variant.patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", position_table(dim, *self.grid))
        if variant.coordinates:
            self.temporal_embed_enc = CoordinateEncoder(dim)
            self.location_embed_enc = CoordinateEncoder(dim)
        norm = partial(nn.LayerNorm, eps=1e-5)
        self.blocks = nn.ModuleList(
            [Block(dim, variant.heads, qkv_bias=True, norm_layer=norm) for _ in range(variant.depth)]
        )
        self.norm = norm(dim)
        self.checkpointing = False
        self._initialise()

    def tokens(
        self, x: torch.Tensor, temporal: torch.Tensor | None = None, location: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what enters the first block: ``(B, 1 + T * h * w, D)`` with positions, CLS first.

        x ``(B, 6, H, W)`` or ``(B, 6, T, H, W)``, standardised; temporal ``(B, T, 2)`` = year and day of year, location
        ``(B, 2)`` = latitude and longitude in degrees, both only for ``coordinates`` variants; None, or NaN in a pair =
        not known: its encoding is left out, as the published model does without coordinates.
        """
        if x.ndim == 4:
            x = x.unsqueeze(2)
        patch = self.variant.patch
        grid = (x.shape[2], x.shape[3] // patch, x.shape[4] // patch)
        if min(grid) < 1:
            raise ZooError(f"image of {x.shape[3]} x {x.shape[4]} px is smaller than one patch of {patch} px")
        table = resize_table(self.pos_embed, self.grid, grid)
        tokens = self.patch_embed(x) + table[:, 1:]
        tokens = self._add_coordinates(tokens, grid, temporal, location)
        cls = (self.cls_token + table[:, :1]).expand(x.shape[0], -1, -1)
        return torch.cat([cls.to(tokens.dtype), tokens], dim=1)

    def forward(
        self, x: torch.Tensor, temporal: torch.Tensor | None = None, location: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the last block's output after the final norm, ``(B, 1 + T * h * w, D)``, CLS first."""
        tokens = self.tokens(x, temporal, location)
        for block in self.blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return self.norm(tokens)

    def layers(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return every block's output ``(B, 1 + N, D)``; the final norm is on the last only."""
        tokens, outputs = self.tokens(x), []
        for block in self.blocks:
            tokens = block(tokens)
            outputs.append(tokens)
        return [*outputs[:-1], self.norm(outputs[-1])]

    def feature_map(self, tokens: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
        """Turn ``(B, 1 + T * rows * cols, D)`` into ``(B, T * D, rows, cols)``: CLS dropped, the grid as it was cut."""
        batch, count, dim = tokens.shape
        frames = (count - 1) // (rows * cols)
        maps = tokens[:, 1:].reshape(batch, frames, rows, cols, dim)
        return maps.permute(0, 1, 4, 2, 3).reshape(batch, frames * dim, rows, cols)

    def _add_coordinates(
        self,
        tokens: torch.Tensor,
        grid: tuple[int, int, int],
        temporal: torch.Tensor | None,
        location: torch.Tensor | None,
    ) -> torch.Tensor:
        if not self.variant.coordinates:
            if temporal is not None or location is not None:
                raise ZooError("this encoder takes no time and location; choose a variant that ends in _tl")
            return tokens
        if temporal is not None:
            per_frame = self.temporal_embed_enc(temporal)
            tokens = tokens + per_frame.repeat_interleave(grid[1] * grid[2], dim=1)
        if location is not None:
            tokens = tokens + self.location_embed_enc(location[:, None])
        return tokens

    def _initialise(self) -> None:
        """Random weights to train from scratch: Xavier for matrices, as in masked-autoencoder practice."""
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


def build_encoder(name: str) -> PrithviEncoder:
    """Build a variant by name, randomly initialised. Raises ZooError for an unknown name."""
    if name not in VARIANTS:
        raise ZooError(f"no encoder {name!r}.{did_you_mean(name, VARIANTS)}")
    return PrithviEncoder(VARIANTS[name])


def prithvi_eo_v2_600() -> PrithviEncoder:
    """Prithvi-EO-2.0-600M: 1280 wide, 32 blocks, patches of 14 px, 631 million parameters."""
    return build_encoder("prithvi_eo_v2_600")


def prithvi_eo_v2_600_tl() -> PrithviEncoder:
    """Prithvi-EO-2.0-600M-TL, which also takes time and location."""
    return build_encoder("prithvi_eo_v2_600_tl")


def prithvi_eo_v2_300() -> PrithviEncoder:
    """Prithvi-EO-2.0-300M: 1024 wide, 24 blocks, patches of 16 px, 304 million parameters."""
    return build_encoder("prithvi_eo_v2_300")


def prithvi_eo_v2_300_tl() -> PrithviEncoder:
    """Prithvi-EO-2.0-300M-TL, which also takes time and location."""
    return build_encoder("prithvi_eo_v2_300_tl")


def prithvi_eo_v2_100() -> PrithviEncoder:
    """Prithvi-EO-2.0-100M without coordinates: 768 wide, 12 blocks, patches of 16 px."""
    return build_encoder("prithvi_eo_v2_100")


def prithvi_eo_v2_100_tl() -> PrithviEncoder:
    """Prithvi-EO-2.0-100M-TL, 86 million parameters in the encoder."""
    return build_encoder("prithvi_eo_v2_100_tl")


def prithvi_eo_v2_tiny() -> PrithviEncoder:
    """Prithvi-EO-2.0-tiny without coordinates: 192 wide, 12 blocks, patches of 16 px."""
    return build_encoder("prithvi_eo_v2_tiny")


def prithvi_eo_v2_tiny_tl() -> PrithviEncoder:
    """Prithvi-EO-2.0-tiny-TL, 5.6 million parameters."""
    return build_encoder("prithvi_eo_v2_tiny_tl")
