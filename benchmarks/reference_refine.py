"""A training step of the refinement document, written plainly: `bench_training` compares with it.

A frozen encoder of plain layers with adapters of rank 8 on attention and MLP, its tokens up-sampled beside the image,
four ConvNeXt blocks at full resolution, spectral, identity and adversarial losses, a discriminator with an optimiser of
its own that sees real and refined images one after the other. Nothing is masked: the document's tiles have no gaps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reference_steps import Step


class Adapted(nn.Module):
    """A frozen linear layer and what an adapter adds to it."""

    def __init__(self, inputs: int, outputs: int, rank: int = 8):
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.down, self.up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.base(x) + 2.0 * self.up(self.down(F.dropout(x, 0.1, self.training)))


class Block(nn.Module):
    """Attention and MLP, both on normalised tokens and with a residual; attention as its formula says."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = Adapted(width, 3 * width), Adapted(width, width)
        self.expand, self.contract = Adapted(width, 4 * width), Adapted(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, width) -> the same shape."""
        q, k, v = self.qkv(self.first(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        shares = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1)
        x = x + self.out((shares @ v).transpose(1, 2).flatten(2))
        return x + self.contract(F.gelu(self.expand(self.second(x))))


class ConvNeXt(nn.Module):
    """Depthwise 7 x 7, LayerNorm, four times as wide and back, residual."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.mix(self.norm(self.depthwise(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Refiner(nn.Module):
    """Image, month and biome -> refined image."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, channels: int = 32):
        super().__init__()
        self.patch, self.biome = patch, nn.Embedding(17, 64)
        self.metadata = nn.Sequential(nn.Linear(65, 64), nn.GELU(), nn.Linear(64, 4))
        self.fuse, self.six = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 6, 1)
        self.tokens = nn.Conv2d(6, width, patch, stride=patch).requires_grad_(False)
        self.blocks, self.norm = nn.Sequential(*(Block(width, heads) for _ in range(depth))), nn.LayerNorm(width)
        self.project, self.stem = nn.Conv2d(width, channels, 1), nn.Conv2d(8 + channels, channels, 3, padding=1)
        self.head = nn.Sequential(*(ConvNeXt(channels) for _ in range(4)), nn.Conv2d(channels, 4, 1))

    def forward(self, image: torch.Tensor, month: torch.Tensor, biome: torch.Tensor) -> torch.Tensor:
        """(B, 4, H, W), (B,), (B,) -> (B, 4, H, W)."""
        told = self.metadata(torch.cat([month[:, None] / 12, self.biome(biome)], dim=1))
        fused = self.fuse(torch.cat([image, told[:, :, None, None].expand(-1, -1, *image.shape[2:])], dim=1))
        height, width = image.shape[2:]
        padded = F.pad(self.six(fused), (0, -width % self.patch, 0, -height % self.patch), mode="reflect")
        found = self.tokens(padded)
        tokens = self.norm(self.blocks(found.flatten(2).transpose(1, 2)))
        context = self.project(tokens.transpose(1, 2).unflatten(2, found.shape[2:]))
        context = F.interpolate(context, size=padded.shape[2:], mode="bilinear")[..., :height, :width]
        return image + 0.5 * torch.tanh(2 * self.head(self.stem(torch.cat([image, fused, context], dim=1))))


def refine_step(image: torch.Tensor, target: torch.Tensor, sizes: tuple[int, int, int, int]) -> Step:
    """AdamW on the refiner, clipped to norm 1, and then on the discriminator. ``sizes``: those of `Refiner`."""
    refiner, judge = Refiner(*sizes), _discriminator()
    trained = [p for p in refiner.parameters() if p.requires_grad]
    ours, its = torch.optim.AdamW(trained, lr=1e-4), torch.optim.AdamW(judge.parameters(), lr=1e-5)
    month, biome = torch.full((len(image),), 6.0), torch.full((len(image),), 4)

    def step() -> float:
        refined = refiner(image, month, biome)
        loss = _spectral(refined, target) + 0.5 * _identity(refined, image)
        loss = loss + 0.05 * (judge(refined) - 1).square().mean()
        ours.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        ours.step()
        its.zero_grad()
        real, made = judge(target), judge(refined.detach())
        (0.5 * ((real - 1).square().mean() + made.square().mean())).backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        its.step()
        return loss.item()

    return step


def _discriminator(width: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.GroupNorm(8, 2 * width), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, 1, 1), nn.GroupNorm(8, 4 * width), nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 4, 1, 1),
    )  # fmt: skip


def _spectral(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """RMSE of NDVI and half of that of EVI, and 0.3 times the spectral angle."""
    (blue, _, red, near), (tblue, _, tred, tnear) = image.unbind(1), target.unbind(1)
    ndvi = (near - red) / (near + red + 1e-6) - (tnear - tred) / (tnear + tred + 1e-6)
    evi, tevi = (2.5 * (n - r) / (n + 6 * r - 7.5 * b + 1) for n, r, b in ((near, red, blue), (tnear, tred, tblue)))
    angle = torch.acos(F.cosine_similarity(image, target, dim=1).clamp(-1 + 1e-6, 1 - 1e-6))
    roots = ndvi.square().mean().sqrt() + 0.5 * (evi - tevi).square().mean().sqrt()
    return roots + 0.3 * angle.mean()


def _identity(image: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, and half of that of the Sobel magnitudes."""
    return (image - given).abs().mean() + 0.5 * (_edges(image) - _edges(given)).abs().mean()


def _edges(image: torch.Tensor) -> torch.Tensor:
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    flat = image.flatten(0, 1)[:, None]
    across, down = (F.conv2d(flat, k[None, None], padding=1) for k in (kernel, kernel.T))
    return (across.square() + down.square() + 1e-6).sqrt()
