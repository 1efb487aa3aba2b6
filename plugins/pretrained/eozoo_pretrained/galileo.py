"""Galileo's nano encoder of patches (Tseng et al. 2025, arXiv:2502.09356), with the published names of weights.

A patch of the ground has a token for each group of bands and date, one for each group of maps, and the whole scene has
tokens for weather and place. Groups that are not given have no tokens; what is missing of the others is masked out of
attention, so samples of a batch may differ.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import nn
from torch.nn import functional as F

_COVER = ("water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice")
_DW = tuple(f"DW_{name}" for name in _COVER)
_WC = ("WC_temporarycrops", "WC_maize", "WC_wintercereals", "WC_springcereals", "WC_irrigation")
# Name in the weights -> bands of one token, in the published order; by what the bands depend on.
SPACE_TIME = {
    "S1": ("VV", "VH"),
    "S2_RGB": ("B2", "B3", "B4"),
    "S2_Red_Edge": ("B5", "B6", "B7"),
    "S2_NIR_10m": ("B8",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
    "NDVI": ("NDVI",),
}
SPACE = {"SRTM": ("elevation", "slope"), "DW": _DW, "WC": _WC}
TIME = {"ERA5": ("temperature_2m", "total_precipitation_sum"), "TC": ("def", "soil", "aet"), "VIIRS": ("avg_rad",)}
STATIC = {
    "LS": ("landscan",),
    "location": ("x", "y", "z"),
    "DW_static": tuple(f"{name}_static" for name in _DW),
    "WC_static": tuple(f"{name}_static" for name in _WC),
}
GROUPS = SPACE_TIME | SPACE | TIME | STATIC
WIDTH, DEPTH, HEADS, DATES, KERNEL = 128, 4, 8, 24, 8  # KERNEL: side in px of the stored kernels of patches
UNKNOWN_MONTH = 12  # its code is 0, the mean of those of the year
_QUARTER = WIDTH // 4  # of a code: group, place in the series, month and place in the scene

Given = Mapping[str, torch.Tensor]


class Encoder(nn.Module):
    """Normalised bands of groups -> tokens of every patch of ``patch`` px a side (1 to 8), averaged: (B, h, w, 128)."""

    def __init__(self, patch: int = KERNEL) -> None:
        super().__init__()
        self.patch = patch
        self.pos_embed = nn.Parameter(_waves(torch.arange(DATES), _QUARTER), requires_grad=False)
        self.month_embed = nn.Embedding.from_pretrained(_months(_QUARTER))
        self.s_t_channel_embed = nn.Parameter(torch.zeros(len(SPACE_TIME), _QUARTER))
        self.sp_channel_embed = nn.Parameter(torch.zeros(len(SPACE), _QUARTER))
        self.t_channel_embed = nn.Parameter(torch.zeros(len(TIME), _QUARTER))
        self.st_channel_embed = nn.Parameter(torch.zeros(len(STATIC), _QUARTER))
        self.space_time_embed = nn.ModuleDict({name: PatchEmbed(len(of), patch) for name, of in SPACE_TIME.items()})
        self.space_embed = nn.ModuleDict({name: PatchEmbed(len(of), patch) for name, of in SPACE.items()})
        self.time_embed = nn.ModuleDict({name: nn.Linear(len(of), WIDTH) for name, of in TIME.items()})
        self.static_embed = nn.ModuleDict({name: nn.Linear(len(of), WIDTH) for name, of in STATIC.items()})
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)

    def learn(self, groups: Collection[str]) -> None:
        """Train blocks and norm, and of the embeddings those of ``groups``: what is never used has no gradient."""
        self.blocks.requires_grad_()
        self.norm.requires_grad_()
        kinds = {
            self.s_t_channel_embed: self.space_time_embed,
            self.sp_channel_embed: self.space_embed,
            self.t_channel_embed: self.time_embed,
            self.st_channel_embed: self.static_embed,
        }
        for codes, embeds in kinds.items():
            codes.requires_grad_(any(name in groups for name in embeds))
            for name, embed in embeds.items():
                embed.requires_grad_(name in groups)

    def forward(self, given: Given, hidden: Given, months: torch.Tensor, metres: float) -> torch.Tensor:
        """Return the mean of all tokens that a patch has and sees, (B, h, w, 128); 0 where it has none.

        given: group -> normalised bands, finite: (B, T, C, H, W) of `SPACE_TIME`, (B, C, H, W) of `SPACE`, (B, T, C)
        of `TIME`, (B, C) of `STATIC`; sides are multiples of the patch, and groups of the first two are needed. hidden:
        group -> True where a token is not there: (B, T, h, w), (B, h, w), (B, T), (B,). months: (B, T) 0..11,
        12 = not known. metres: side of a pixel.
        """
        tokens, masked = self.tokens(given, hidden, months, metres)
        batch, height, width = tokens[0].shape[0], *tokens[0].shape[2:4]
        shared = [name for name in given if name in TIME or name in STATIC]
        kept = [~mask for mask in masked]
        many = sum(mask.sum(dim=1) for mask, name in zip(kept, given) if name not in shared)
        total = sum((t * k[..., None]).sum(dim=1) for t, k, name in zip(tokens, kept, given) if name not in shared)
        for one, seen, name in zip(tokens, kept, given):
            if name in shared:  # one for all patches
                many = many + seen.sum(dim=1).reshape(batch, 1, 1)
                total = total + (one * seen[..., None]).sum(dim=1).reshape(batch, 1, 1, WIDTH)
        return total.reshape(batch, height, width, WIDTH) / many.clamp(min=1)[..., None]

    def tokens(
        self, given: Given, hidden: Given, months: torch.Tensor, metres: float
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return tokens and masks of each group in the order of ``given``: (B, T or 1, h, w, 128) and the same but
        for the last axis; of groups for the whole scene (B, T or 1, 128) and (B, T or 1). Arguments as for `forward`.
        """
        found, masked = [], []
        for name, values in given.items():
            token, code = self._embedded(name, values, months, metres)
            found.append(token + code)
            mask = hidden[name] if name in SPACE_TIME or name in TIME else hidden[name][:, None]
            masked.append(mask)
        shapes = [one.shape for one in found]
        x = torch.cat([one.flatten(1, -2) for one in found], dim=1)
        seen = ~torch.cat([one.flatten(1) for one in masked], dim=1)
        nothing = ~seen.any(dim=1, keepdim=True)
        looked = torch.cat([seen[:, :1] | nothing, seen[:, 1:]], dim=1)[:, None, None]  # never at none at all
        for block in self.blocks:
            x = block(x, looked)
        parts = self.norm(x).split([math.prod(shape[1:-1]) for shape in shapes], dim=1)
        return [part.reshape(shape) for part, shape in zip(parts, shapes)], masked

    def _embedded(
        self, name: str, values: torch.Tensor, months: torch.Tensor, metres: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of a group, without and as their code: what it is, when, which month, where."""
        dates = months.shape[1]
        order, month = (
            self.pos_embed[:dates].expand(*months.shape, -1),
            F.pad(self.month_embed.weight, (0, 0, 0, 1))[months],
        )
        if name in SPACE_TIME:
            flat = self.space_time_embed[name](values.flatten(0, 1))
            token = flat.reshape(*months.shape, *flat.shape[1:])
            where = _where(*token.shape[2:4], self.patch * metres / 10).to(token)
            parts = (
                self.s_t_channel_embed[list(SPACE_TIME).index(name)],
                order[:, :, None, None],
                month[:, :, None, None],
            )
            return token, _code(token, *parts, where)
        if name in SPACE:
            token = self.space_embed[name](values)[:, None]
            where, none = _where(*token.shape[2:4], self.patch * metres / 10).to(token), torch.zeros_like(order[0, 0])
            return token, _code(token, self.sp_channel_embed[list(SPACE).index(name)], none, none, where)
        none = torch.zeros_like(order[0, 0])
        if name in TIME:
            token = self.time_embed[name](values)
            return token, _code(token, self.t_channel_embed[list(TIME).index(name)], order, month, none)
        token = self.static_embed[name](values)[:, None]
        return token, _code(token, self.st_channel_embed[list(STATIC).index(name)], none, none, none)


class PatchEmbed(nn.Module):
    """Pixels (N, C, H, W) -> tokens (N, h, w, 128) of patches of any side from 1 to 8 px.

    The stored kernels have 8 x 8 px; for another side they are resized by the pseudo-inverse of bicubic resizing
    (Beyer et al. 2023, FlexiViT, arXiv:2212.08013): a resized patch gives what the patch gave.
    """

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.proj, self.side = nn.Conv2d(channels, WIDTH, KERNEL, KERNEL), side
        self.register_buffer("resizing", resizing(side) if side != KERNEL else None, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed patches."""
        weight = self.proj.weight
        if self.resizing is not None:
            weight = (weight.flatten(2) @ self.resizing.to(weight).T).unflatten(2, (self.side, self.side))
        return F.conv2d(x, weight, self.proj.bias, stride=self.side).permute(0, 2, 3, 1)


class Block(nn.Module):
    """A transformer block, layer norm first; tokens (B, N, 128), ``seen`` (B, 1, 1, N) says which are attended to."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("q", "k", "v", "proj")})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Let tokens look at those that are seen."""
        normed = self.norm1(x)
        query, key, value = (self.attn[n](normed).unflatten(2, (HEADS, -1)).transpose(1, 2) for n in ("q", "k", "v"))
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.attn["proj"](found.transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


def resizing(side: int) -> torch.Tensor:
    """Return the matrix (side^2, 64) that turns a kernel of 8 x 8 px into one of ``side`` px."""
    pixels = torch.eye(KERNEL**2, device="cpu").reshape(-1, 1, KERNEL, KERNEL)
    return torch.linalg.pinv(F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).flatten(1))


def _code(token: torch.Tensor, *quarters: torch.Tensor) -> torch.Tensor:
    """Join quarters of a code, each broadcast against the tokens (..., 128)."""
    return torch.cat([quarter.expand(*token.shape[:-1], _QUARTER) for quarter in quarters], dim=-1)


def _where(height: int, width: int, size: float) -> torch.Tensor:
    """Sine and cosine (h, w, 32) of column and row of a patch of ``size`` x 10 m."""
    column, row = (_waves(torch.arange(n) * size, _QUARTER // 2) for n in (width, height))
    return torch.cat([column.expand(height, -1, -1), row[:, None].expand(-1, width, -1)], dim=2)


def _waves(place: torch.Tensor, width: int) -> torch.Tensor:
    """Sine, then cosine (N, width) of positions; the exponent's divisor is 2 width, as published."""
    speed = 1.0 / 10000 ** (torch.arange(width // 2) / width / 2.0)
    angle = place.float()[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _months(width: int) -> torch.Tensor:
    """Sine, then cosine, (12, width) of the time of the year."""
    angle = torch.arange(12, dtype=torch.float64)[:, None] * (2 * math.pi / 12)
    return torch.cat([angle.sin().expand(-1, width // 2), angle.cos().expand(-1, width // 2)], dim=1).float()
