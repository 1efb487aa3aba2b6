"""Encoders of one pixel's time series, and the parts around them.

Every encoder takes ``bands (B, L, C)`` standardised (mean 0, deviation 1 per band) and ``doys (B, L)`` int64 days of
year 1..366, and gives an embedding ``(B, D)``. ``sample_size`` is L. The keyword ``position`` says what is known of the
dates: "doy" their day of year, "index" only their order (the documented behaviour).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from eozoo_core import ZooError
from torch import nn

from eozoo_barlow_twins.encoder_layer import EncoderLayer

YEAR = 365.25
SERIES = ("bands", "doys")


class Transformer(nn.Module):
    """Transformer encoder over the dates, mean over time, linear output (Lisaius et al. 2024).

    Post-norm layers with ReLU. At 11 bands and the defaults 154,880 parameters. Raises ZooError where ``latent_dim``
    is not a multiple of ``heads`` or is odd.
    """

    def __init__(
        self,
        in_channels: int = 11,
        sample_size: int = 16,
        latent_dim: int = 64,
        heads: int = 8,
        layers: int = 3,
        feedforward: int = 256,
        dropout: float = 0.1,
        position: str = "doy",
    ):
        super().__init__()
        if latent_dim % heads or latent_dim % 2:
            raise ZooError(f"btfm_transformer: latent_dim {latent_dim} must be even and a multiple of heads {heads}")
        self.latent_dim, self.position = latent_dim, _position(position, "btfm_transformer")
        self.embed = nn.Linear(in_channels, latent_dim)
        layer = EncoderLayer(latent_dim, heads, feedforward, dropout)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = nn.Linear(latent_dim, latent_dim)
        table = day_encoding(latent_dim) if position == "doy" else index_encoding(sample_size, latent_dim)
        self.register_buffer("table", table, persistent=False)  # follows from the settings

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Encode ``bands (B, L, C)``, ``doys (B, L)`` -> ``(B, D)``."""
        where = self.table[doys] if self.position == "doy" else self.table[: bands.shape[1]]
        return self.output(self.layers(self.embed(bands) + where).mean(dim=1))

    def last(self, count: int) -> list[nn.Module]:
        """The last ``count`` layers and the output, for fine-tuning in part."""
        return [*self.layers.layers[-count:], self.output]


class MLP(nn.Module):
    """Fully connected layers with batch normalisation and ReLU over the flattened series.

    With position "doy" each date carries sine and cosine of its day beside its bands. At 11 bands, 16 dates and
    position "index" 64,704 parameters.
    """

    def __init__(
        self,
        in_channels: int = 11,
        sample_size: int = 16,
        latent_dim: int = 64,
        hidden_dim: int = 128,
        layers: int = 2,
        position: str = "doy",
    ):
        super().__init__()
        self.latent_dim, self.position = latent_dim, _position(position, "btfm_mlp")
        width = sample_size * (in_channels + 2 * (position == "doy"))
        sizes = [width, *[hidden_dim] * (layers + 1)]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(sizes)
        )
        self.output = nn.Linear(hidden_dim, latent_dim)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Encode ``bands (B, L, C)``, ``doys (B, L)`` -> ``(B, D)``."""
        x = with_days(bands, doys) if self.position == "doy" else bands
        x = x.flatten(1)
        for block in self.blocks:
            x = block(x)
        return self.output(x)

    def last(self, count: int) -> list[nn.Module]:
        """The last ``count`` layers and the output, for fine-tuning in part."""
        return [*self.blocks[-count:], self.output]


class CNN(nn.Module):
    """3 x 3 convolutions over the picture (dates, bands) of a series, flattened into a linear output.

    With position "doy" sine and cosine of the day are two more columns of the picture. At 11 bands, 16 dates and
    position "index" 739,968 parameters.
    """

    def __init__(
        self,
        in_channels: int = 11,
        sample_size: int = 16,
        latent_dim: int = 64,
        channels: Sequence[int] = (32, 64),
        position: str = "doy",
    ):
        super().__init__()
        self.latent_dim, self.position = latent_dim, _position(position, "btfm_cnn")
        sizes = [1, *channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(b)) for a, b in pairwise(sizes)
        )
        width = in_channels + 2 * (position == "doy")
        self.output = nn.Linear(sizes[-1] * sample_size * width, latent_dim)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Encode ``bands (B, L, C)``, ``doys (B, L)`` -> ``(B, D)``."""
        x = (with_days(bands, doys) if self.position == "doy" else bands).unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        return self.output(x.flatten(1))

    def last(self, count: int) -> list[nn.Module]:
        """The last ``count`` layers and the output, for fine-tuning in part."""
        return [*self.blocks[-count:], self.output]


class Standardise(nn.Module):
    """(x - mean) / std per band, with the statistics of the training pixels as buffers: they travel in checkpoints."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """Digital numbers ``(..., C)`` -> standardised."""
        return (bands - self.mean) / self.std


class Encoder(nn.Module):
    """Standardisation and backbone: digital numbers in, embedding out.

    ``takes``: what the backbone is called with, in its order: "bands" standardised, "doys", "values" as they are.
    """

    def __init__(self, backbone: nn.Module, channels: int, takes: Sequence[str] = SERIES):
        super().__init__()
        self.standardise, self.backbone, self.takes = Standardise(channels), backbone, tuple(takes)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Encode ``bands (B, L, C)`` digital numbers, ``doys (B, L)`` -> ``(B, D)``."""
        given = {"bands": self.standardise(bands), "doys": doys, "values": bands}
        return self.backbone(*(given[role] for role in self.takes))

    def length(self, dates: int) -> int:
        """Return how long the embedding of anybody's encoder is, as two samples show."""
        training = self.training
        series = torch.zeros(2, dates, len(self.standardise.mean)), torch.ones(2, dates, dtype=torch.int64)
        with torch.no_grad():
            found = self.eval()(*series).shape[1]
        self.train(training)
        return found


def projector(latent_dim: int, width: int, hidden_layers: int, batch_norm: bool) -> nn.Sequential:
    """Linear-ReLU layers and a last linear one without bias; 24,704 parameters at (64, 128, 1, False)."""
    parts: list[nn.Module] = []
    for number in range(hidden_layers):
        parts.append(nn.Linear(width if number else latent_dim, width, bias=not batch_norm))
        parts += [nn.BatchNorm1d(width)] if batch_norm else []
        parts.append(nn.ReLU())
    return nn.Sequential(*parts, nn.Linear(width if hidden_layers else latent_dim, width, bias=False))


def index_encoding(length: int, width: int) -> torch.Tensor:
    """Sinusoids of the place in the series ``(length, width)`` (Vaswani et al. 2017, section 3.5, base 10000)."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    return _waves(torch.arange(length, dtype=torch.float64)[:, None] * rates)


def day_encoding(width: int) -> torch.Tensor:
    """Sinusoids of the day of year ``(367, width)``, row = day; row 0 is never used.

    Whole numbers of cycles a year, from 1 up to 26 (two weeks) in equal ratios: 31 December is beside 1 January.
    """
    half = width // 2
    cycles = torch.round(26.0 ** (torch.arange(half, dtype=torch.float64) / max(1, half - 1)))
    return _waves(2 * math.pi * torch.arange(367, dtype=torch.float64)[:, None] / YEAR * cycles)


def with_days(bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
    """Append sine and cosine of the day of year: ``(B, L, C)`` -> ``(B, L, C + 2)``."""
    angle = (2 * math.pi / YEAR) * doys.to(bands.dtype)
    return torch.cat([bands, angle.sin().unsqueeze(-1), angle.cos().unsqueeze(-1)], dim=-1)


def _waves(angle: torch.Tensor) -> torch.Tensor:
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2).float()


def _position(name: str, model: str) -> str:
    if name not in ("doy", "index"):
        raise ZooError(f"{model}: position {name!r} is unknown; use 'doy' (day of year) or 'index' (order only)")
    return name
