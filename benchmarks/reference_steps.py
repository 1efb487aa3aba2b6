"""A training step of each system as its document describes it, written plainly: `bench_training` compares with it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

Step = Callable[[], object]


class UNet(nn.Module):
    """The U-Net of the canopy document: 64 channels, four halvings, bilinear up-sampling, two heads."""

    def __init__(self, bands: int = 14, width: int = 64):
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.entry = _twice(bands, width)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _twice(a, b)) for a, b in pairwise(sizes))
        joined = [(2 * 8 * width, 4 * width), (8 * width, 2 * width), (4 * width, width), (2 * width, width // 2)]
        self.up = nn.ModuleList(_twice(a, b, a // 2) for a, b in joined)
        self.mean, self.spread = nn.Conv2d(width // 2, 1, 1), nn.Conv2d(width // 2, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, bands, H, W) -> mean and spread, each (B, 1, H, W)."""
        kept = [self.entry(x)]
        for down in self.down:
            kept.append(down(kept[-1]))
        x = kept.pop()
        for up in self.up:
            finer = kept.pop()
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            rows, cols = finer.shape[2] - x.shape[2], finer.shape[3] - x.shape[3]
            x = F.pad(x, [cols // 2, cols - cols // 2, rows // 2, rows - rows // 2])
            x = up(torch.cat([finer, x], dim=1))
        return self.mean(x), F.softplus(self.spread(x))


def _twice(inputs: int, outputs: int, middle: int | None = None) -> nn.Sequential:
    parts: list[nn.Module] = []
    for a, b in ((inputs, middle or outputs), (middle or outputs, outputs)):
        parts += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


def unet_step(image: torch.Tensor, target: torch.Tensor) -> Step:
    """Adam, clipped to norm 1, on the likelihood of labelled pixels, which are picked by numpy on the host."""
    network = UNet(image.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, weight_decay=1e-8)

    def step() -> float:
        mean, spread = network(image)
        labelled = torch.from_numpy(~torch.isnan(target).numpy())
        variance = torch.exp(spread[labelled]) + 1e-8
        errors = mean[labelled] - target[labelled]
        loss = (0.5 / variance * errors**2 + 0.5 * torch.log(variance)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


class PixelTransformer(nn.Module):
    """The encoder of the pixel document: three of torch's layers over 16 dates, their mean, and its projector."""

    def __init__(self, bands: int = 11, dates: int = 16, width: int = 64):
        super().__init__()
        self.embed = nn.Linear(bands, width)
        layer = nn.TransformerEncoderLayer(width, 8, 256, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.output = nn.Linear(width, width)
        self.projector = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128, bias=False))
        rates = 10000.0 ** (-torch.arange(0, width, 2) / width)
        angles = torch.arange(dates)[:, None] * rates
        self.register_buffer("places", torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, dates, bands) -> (B, 128)."""
        return self.projector(self.output(self.layers(self.embed(x) + self.places).mean(dim=1)))


def twins_step(first: torch.Tensor, second: torch.Tensor) -> Step:
    """AdamW on one view after the other, gradients clipped by value; standardised bands (B, dates, bands)."""
    network = PixelTransformer(first.shape[2], first.shape[1])
    groups = [[p for p in network.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    optimizer = torch.optim.AdamW([{"params": g} for g in groups], lr=1e-5, weight_decay=1.5e-6)

    def step() -> None:
        optimizer.zero_grad()
        views = [network(first), network(second)]
        z1, z2 = ((z - z.mean(0)) / z.std(0) for z in views)
        correlation = z1.T @ z2 / len(first)
        diagonal = torch.diagonal(correlation)
        off = correlation.pow(2).sum() - diagonal.pow(2).sum()
        ((diagonal - 1).pow(2).sum() + 5e-4 * off).backward()
        nn.utils.clip_grad_value_(network.parameters(), 1.0)
        optimizer.step()

    return step


def clay_step(encoder: Callable[[], torch.Tensor], context: torch.Tensor, target: torch.Tensor) -> Step:
    """AdamW on a head over a frozen encoder, which sees every batch again: ``encoder()`` gives (B, features)."""
    with torch.no_grad():
        width = encoder().shape[1] + context.shape[1]
    head = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)

    def step() -> None:
        with torch.no_grad():
            found = encoder()
        loss = F.mse_loss(head(torch.cat([found, context], dim=1))[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
