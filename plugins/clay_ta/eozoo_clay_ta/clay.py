"""The Clay v1 / v1.5 encoder, written anew with the published parameter names, so that published weights fit.

A vision transformer over 8 x 8 pixel patches whose patch-embedding kernels are generated from the wavelengths of the
bands (a hypernetwork after DOFA, Xiong et al. 2024, arXiv:2403.15356). Position (scaled by the ground sampling
distance), time and place are added to the patch tokens. Model: Clay Foundation Model v1.5, Clay-foundation/model.
No masking: this is the encoder as it is used after pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from eozoo_core import ZooError
from eozoo_core.layers import embed_patches
from torch import Tensor, nn

PATCH = 8  # pixels
WAVE_DIM = 128  # features of a wavelength, and of every token of the hypernetwork
KERNEL_TOKENS = 128  # learned tokens that the wavelengths attend to
KERNEL_SCALE = 0.02


@dataclass(frozen=True)
class ClaySize:
    """Width, depth, heads, features per head and the ratio of the hidden layer of a block to the width."""

    dim: int
    depth: int
    heads: int
    dim_head: int = 64
    mlp_ratio: float = 4.0

    @property
    def gflop(self) -> float:
        """10^9 floating-point operations of the blocks for one window of 24 x 24 pixels (10 tokens)."""
        inner, tokens = self.heads * self.dim_head, 10
        block = tokens * (4 * self.dim * inner + 2 * self.dim * self.dim * self.mlp_ratio) + 2 * tokens**2 * inner
        return 2 * self.depth * block / 1e9


SIZES = {
    "clay_v1_5_large": ClaySize(1024, 24, 16),
    "clay_v1_base": ClaySize(768, 12, 12),
    "clay_small": ClaySize(384, 6, 6, 64, 2.0),
    "clay_tiny": ClaySize(192, 6, 4, 48, 2.0),
    "clay_micro": ClaySize(64, 2, 4, 16, 2.0),
}


class ClayEncoder(nn.Module):
    """Bands with wavelengths -> tokens. See ``forward``."""

    def __init__(self, size: ClaySize):
        super().__init__()
        self.size = size
        self.cls_token = nn.Parameter(torch.randn(1, 1, size.dim) * 0.02)
        self.patch_embedding = PatchEmbedding(size.dim)
        self.transformer = Transformer(size)

    def forward(
        self,
        pixels: Tensor,
        time: Tensor,
        latlon: Tensor,
        gsd: Tensor,
        waves: Tensor,
        kernel: tuple[Tensor, Tensor] | None = None,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Return tokens ``(B, 1 + L, dim)``: the class token, then the L = (H/8)(W/8) patches row by row.

        pixels: (B, C, H, W) float, z-scored per band; H = W, a multiple of 8. NaN is not allowed: it would spread.
        time:   (B, 4) sine and cosine of week/52 and of hour/24 (UTC), each times 2 pi; zeros = not known.
        latlon: (B, 4) sine and cosine of latitude, then of longitude; zeros = not known.
        gsd:    () or (B,) metres per pixel.
        waves:  (C,) central wavelengths in micrometres.
        kernel: what ``patch_embedding.kernel(waves)`` gave, where it is constant; spares generating it.
        asked:  (n,) the numbers of the tokens to return; the last block then works on no others. None = all.

        Raises ZooError for windows that are not square or no multiple of 8 pixels.
        """
        height, width = pixels.shape[-2:]
        if height != width or height % PATCH or not height:
            raise ZooError(f"Clay takes square windows of a multiple of {PATCH} pixels, not {height} x {width}")
        weight, bias = self.patch_embedding.kernel(waves) if kernel is None else kernel
        tokens = embed_patches(pixels, weight.to(pixels.dtype), bias.to(pixels.dtype))
        tokens = tokens + self.encoding(height // PATCH, time, latlon, gsd)
        return self.transformer(torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1), asked)

    def encoding(self, side: int, time: Tensor, latlon: Tensor, gsd: Tensor) -> Tensor:
        """Position, time and place of every patch ``(B, side * side, dim)``; the last 8 features are time and place."""
        position = position_encoding(side, self.size.dim - 8, gsd)
        place = torch.cat([time, latlon], dim=1)[:, None].expand(-1, side * side, -1)
        return torch.cat([position.expand(place.shape[0], -1, -1), place], dim=2)


class PatchEmbedding(nn.Module):
    """Generates the kernel of the patch embedding from the wavelengths of the bands."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight_generator = WeightGenerator(dim)
        self.fclayer = ResidualLayer()
        self.apply(_xavier)  # after both are built: the published order, so that a seed draws the published start

    def kernel(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight ``(dim, C, 8, 8)`` and bias ``(dim,)`` for waves ``(C,)`` in micrometres.

        The kernels of all bands depend on the whole set of wavelengths: they attend to each other.
        """
        weight, bias = self.weight_generator(self.fclayer(wave_encoding(waves)))
        return weight.reshape(len(waves), -1, PATCH, PATCH).transpose(0, 1) * KERNEL_SCALE, bias


class WeightGenerator(nn.Module):
    """One transformer layer over learned tokens, wavelengths and a bias token; then two linear maps."""

    def __init__(self, dim: int):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WAVE_DIM, 4, 2048, dropout=0.0, activation="gelu", norm_first=False)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.fc_weight = nn.Linear(WAVE_DIM, dim * PATCH * PATCH)
        self.fc_bias = nn.Linear(WAVE_DIM, dim)
        self.weight_tokens = nn.Parameter(torch.randn(KERNEL_TOKENS, WAVE_DIM) * 0.02)
        self.bias_token = nn.Parameter(torch.randn(1, WAVE_DIM) * 0.02)

    def forward(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded waves ``(C, 128)`` -> flat kernels ``(C, dim * 64)`` and bias ``(dim,)``."""
        tokens = self.encoder(torch.cat([self.weight_tokens, waves, self.bias_token]))
        return self.fc_weight(tokens[KERNEL_TOKENS:-1] + waves), self.fc_bias(tokens[-1])


class ResidualLayer(nn.Module):
    """``x + gelu(l2(gelu(l1(x))))``."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(WAVE_DIM, WAVE_DIM)
        self.l2 = nn.Linear(WAVE_DIM, WAVE_DIM)

    def forward(self, x: Tensor) -> Tensor:
        """``(C, 128)`` -> the same shape."""
        return x + F.gelu(self.l2(F.gelu(self.l1(x))))


class Transformer(nn.Module):
    """Pre-norm blocks of attention and feed-forward, and a final norm."""

    def __init__(self, size: ClaySize):
        super().__init__()
        self.norm = nn.LayerNorm(size.dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(size), FeedForward(size.dim, int(size.dim * size.mlp_ratio))])
            for _ in range(size.depth)
        )

    def forward(self, x: Tensor, asked: Tensor | None = None) -> Tensor:
        """``(B, N, dim)`` -> the same shape, or ``(B, n, dim)``: those tokens alone."""
        for number, (attention, feed_forward) in enumerate(self.layers, 1):
            own = asked if number == len(self.layers) else None
            x = (x if own is None else x.index_select(1, own)) + attention(x, own)
            x = x + feed_forward(x)
        return self.norm(x)


class Attention(nn.Module):
    """Multi-head self-attention with its own norm; no biases."""

    def __init__(self, size: ClaySize):
        super().__init__()
        inner = size.heads * size.dim_head
        self.heads = size.heads
        self.norm = nn.LayerNorm(size.dim)
        self.to_qkv = nn.Linear(size.dim, inner * 3, bias=False)
        self.to_out = nn.Linear(inner, size.dim, bias=False)

    def forward(self, x: Tensor, asked: Tensor | None = None) -> Tensor:
        """``(B, N, dim)`` -> the same shape, or ``(B, n, dim)``: what those tokens take from all."""
        q, k, v = self.to_qkv(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = q if asked is None else q.index_select(2, asked)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Norm, linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, dim)`` -> the same shape."""
        return self.net(x)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def wave_encoding(waves: Tensor) -> Tensor:
    """Sine and cosine ``(C, 128)`` of wavelengths ``(C,)`` in micrometres at 64 frequencies from 1 to 1e-4."""
    half = WAVE_DIM // 2
    omega = 1.0 / 10000 ** (torch.arange(half, device=waves.device, dtype=torch.float32) / (half - 1))
    angle = waves.float()[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def position_encoding(side: int, dim: int, gsd: Tensor) -> Tensor:
    """Sine and cosine of column, then of row, at frequencies scaled by ``gsd`` () or (B,): ``(1 or B, side^2, dim)``.

    All frequencies lie within 2 % of ``gsd`` itself: that is how Clay was trained. Patch (0, 0) is the same whatever
    the gsd, so a window of a single patch does not see it.
    """
    index = torch.arange(dim // 4, device=gsd.device, dtype=torch.float32) / (dim // 4 - 1)
    omega = (1.0 / 10000 ** (2 * index / dim)) * gsd.float().reshape(-1, 1)
    steps = torch.arange(side, device=gsd.device, dtype=torch.float32)
    rows, cols = (grid.flatten()[:, None] for grid in torch.meshgrid(steps, steps, indexing="ij"))
    x, y = cols * omega[:, None], rows * omega[:, None]
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=2)


def clay_v1_5_large() -> ClayEncoder:
    """Return the size of the published v1.5 weights (311 M parameters), randomly initialised."""
    return ClayEncoder(SIZES["clay_v1_5_large"])


def clay_v1_base() -> ClayEncoder:
    """Return the size of the published v1.0 weights (92 M parameters), randomly initialised."""
    return ClayEncoder(SIZES["clay_v1_base"])


def clay_small() -> ClayEncoder:
    """Return a small size without published weights (11 M parameters)."""
    return ClayEncoder(SIZES["clay_small"])


def clay_tiny() -> ClayEncoder:
    """Return a very small size without published weights (4 M parameters)."""
    return ClayEncoder(SIZES["clay_tiny"])


def clay_micro() -> ClayEncoder:
    """Return the smallest size (1.4 M parameters, nearly all of them in the kernel generator), for tests."""
    return ClayEncoder(SIZES["clay_micro"])
