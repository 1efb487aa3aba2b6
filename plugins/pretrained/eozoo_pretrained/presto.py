"""Presto's encoder of pixel series (Tseng et al. 2023, arXiv:2304.14065), with the published names of weights.

A month has a token for each group of bands of which all are known, and one for its land cover; a sample has one token
for its terrain and one for its place. What is missing is masked out of attention, so samples of a batch may differ.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = {  # name in the weights -> bands that are one token; VV, VH | B2, B3, B4 | ... | NDVI
    "S1": (0, 1),
    "S2_RGB": (2, 3, 4),
    "S2_Red_Edge": (5, 6, 7),
    "S2_NIR_10m": (8,),
    "S2_NIR_20m": (9,),
    "S2_SWIR": (10, 11),
    "ERA5": (12, 13),
    "SRTM": (14, 15),
    "NDVI": (16,),
}
COVER, PLACE = "cover", "place"  # tokens beside those of the groups
WIDTH, HEADS, MONTHS, UNKNOWN = 128, 8, 24, 9  # UNKNOWN: class of land cover, whose token is left out


class Encoder(nn.Module):
    """Normalised bands (B, T, 17), classes, places and months -> embedding (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.eo_patch_embed = nn.ModuleDict({name: nn.Linear(len(of), WIDTH) for name, of in GROUPS.items()})
        self.dw_embed = nn.Embedding(UNKNOWN + 1, WIDTH)
        self.latlon_embed = nn.Linear(3, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.LayerNorm(WIDTH)
        self.pos_embed = nn.Parameter(_positions(MONTHS, WIDTH // 2)[None], requires_grad=False)
        self.month_embed = nn.Embedding.from_pretrained(_months(WIDTH // 4))
        self.channel_embed = nn.Embedding(len(GROUPS) + 1, WIDTH // 4)
        self.given = frozenset((*GROUPS, COVER, PLACE))

    def only(self, given: Collection[str]) -> None:
        """Make no tokens of what is not ``given`` (groups, COVER): as if masked, but faster. They do not learn."""
        self.given = frozenset(given)
        self.latlon_embed.requires_grad_(PLACE in self.given)
        self.dw_embed.requires_grad_(COVER in self.given)
        for name, embed in self.eo_patch_embed.items():
            embed.requires_grad_(name in self.given)

    def forward(
        self,
        x: torch.Tensor,
        cover: torch.Tensor,
        place: torch.Tensor,
        month: torch.Tensor,
        missing: torch.Tensor,
        elapsed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Encode samples.

        x: (B, T, 17) normalised, T <= 24. cover: (B, T) class 0..8, 9 = not known. place: (B, 2) degrees latitude and
        longitude, NaN = not known. month: (B, T) 0..11. missing: (B, T, 17), True = the value is not there. elapsed:
        (B, T) months since the first, 0..23; None = the dates are months in a row.
        """
        when, where = self.month_embed(month), self.pos_embed[:, : x.shape[1]].expand(x.shape[0], -1, -1)
        where = where if elapsed is None else self.pos_embed[0][elapsed]
        tokens, hidden = [], []
        for number, (name, bands) in enumerate(GROUPS.items()):
            if name not in self.given:
                continue
            group, gaps = x[:, :, bands], missing[:, :, bands].any(dim=2)
            if name == "SRTM":  # terrain does not change: one token, without month and position
                code = F.pad(self.channel_embed.weight[number], (WIDTH // 4, WIDTH // 2))
                tokens.append(self.eo_patch_embed[name](group[:, :1]) + code)
                hidden.append(gaps[:, :1])
            else:
                tokens.append(self.eo_patch_embed[name](group) + self._code(when, number, where))
                hidden.append(gaps)
        if COVER in self.given:
            tokens.append(self.dw_embed(cover) + self._code(when, len(GROUPS), where))
            hidden.append(cover == UNKNOWN)
        nowhere = ~torch.isfinite(place).all(dim=1, keepdim=True)
        tokens.insert(0, self.latlon_embed(_on_sphere(torch.nan_to_num(place)))[:, None])
        seen = ~torch.cat([nowhere, *hidden], dim=1)
        seen = torch.cat([seen[:, :1] | ~seen.any(dim=1, keepdim=True), seen[:, 1:]], dim=1)  # never none at all
        return self._encoded(torch.cat(tokens, dim=1), seen)

    def _code(self, when: torch.Tensor, number: int, where: torch.Tensor) -> torch.Tensor:
        channel = self.channel_embed.weight[number].expand(*when.shape[:2], -1)
        return torch.cat([when, channel, where], dim=2)

    def _encoded(self, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            tokens = block(tokens, seen[:, None, None])
        kept = seen[..., None].to(tokens.dtype)
        return self.norm((tokens * kept).sum(dim=1) / kept.sum(dim=1))


class Block(nn.Module):
    """A transformer block, layer norm first; tokens (B, N, 128), ``seen`` (B, 1, 1, N) says which are attended to."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Let tokens look at those that are seen."""
        batch, count = x.shape[:2]
        parts = self.attn["qkv"](self.norm1(x)).reshape(batch, count, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.attn["proj"](found.transpose(1, 2).reshape(batch, count, WIDTH))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


def _on_sphere(place: torch.Tensor) -> torch.Tensor:
    """Degrees (B, 2) of latitude and longitude -> x, y, z (B, 3) on the unit sphere."""
    lat, lon = torch.deg2rad(place).unbind(dim=1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)


def _positions(count: int, width: int) -> torch.Tensor:
    """Sine and cosine (count, width) of positions, base 1000."""
    half = torch.arange(width, dtype=torch.float64) // 2
    angle = torch.arange(count, dtype=torch.float64)[:, None] / 1000 ** (2 * half / width)
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()


def _months(width: int) -> torch.Tensor:
    """Sine, then cosine, (12, width) of the time of the year."""
    angle = torch.arange(12, dtype=torch.float64)[:, None] * (2 * math.pi / 12)
    return torch.cat([angle.sin().expand(-1, width // 2), angle.cos().expand(-1, width // 2)], dim=1).float()


def encoder_tensors(state: dict, path: object) -> dict:
    """The encoder's part of the published file, under the encoder's own names."""
    return {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
