"""Vegetation indices, spectral angle and edges of (B, 4, H, W) reflectance (blue, green, red, NIR), differentiable.

Every function gives finite values and gradients for finite input, identical spectra and black pixels included; which
pixels count is decided by masks, before any ratio or mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

BLUE, GREEN, RED, NIR = range(4)
DARKEST = 0.01  # reflectance; sums of bands below it carry more noise than vegetation


def ndvi(image: torch.Tensor) -> torch.Tensor:
    """Return (NIR - red) / (NIR + red), ``(B, H, W)``; Rouse et al. 1974.

    The denominator is at least 0.01: over nearly black pixels the index goes to 0 instead of anywhere.
    """
    nir, red = image[:, NIR], image[:, RED]
    return (nir - red) / (nir + red).clamp(min=DARKEST)


def evi(image: torch.Tensor) -> torch.Tensor:
    """Return 2.5 (NIR - red) / (NIR + 6 red - 7.5 blue + 1), ``(B, H, W)``; Huete et al. 2002.

    The denominator, above 1 for vegetation and soil, passes through 0 for bright blue (cloud, snow); there, below 0.5,
    the index means nothing and the denominator is held at 0.5.
    """
    nir, red, blue = image[:, NIR], image[:, RED], image[:, BLUE]
    return 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1).clamp(min=0.5)


def spectral_angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the angle between the spectra of each pixel, radians, ``(B, H, W)``; Kruse et al. 1993.

    Computed as 2 atan2(|u - v|, |u + v|) of the unit vectors (Kahan 2006), which is exact for small angles where the
    arc cosine has lost all digits and has an infinite gradient. Nearly black spectra have no direction: the angle of
    two of them goes to 0.
    """
    u, v = (x / _norm(x, 1e-6).unsqueeze(1) for x in (a, b))
    return 2 * torch.atan2(_norm(u - v, 1e-12), _norm(u + v, 1e-5))


def edges(image: torch.Tensor) -> torch.Tensor:
    """Return the Sobel gradient magnitude per band, ``(B, C, H - 2, W - 2)``, reflectance per pixel.

    Kernels divided by 8, so that a ramp of 1 per pixel gives 1. Only pixels with all eight neighbours have a value.
    """
    smooth, slope = image.new_tensor([1.0, 2.0, 1.0]), image.new_tensor([-1.0, 0.0, 1.0])
    across = torch.outer(smooth, slope) / 8
    kernels = torch.stack([across, across.T])[:, None].repeat(image.shape[1], 1, 1, 1)
    gradient = F.conv2d(image, kernels, groups=image.shape[1])
    return _norm(gradient.unflatten(1, (-1, 2)).transpose(1, 2), 1e-12)


def edge_mask(valid: torch.Tensor) -> torch.Tensor:
    """Return where `edges` saw only valid pixels: ``valid (B, H, W)`` bool -> ``(B, H - 2, W - 2)`` bool."""
    return F.max_pool2d((~valid).float().unsqueeze(1), 3, stride=1)[:, 0] == 0


def _norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Length along axis 1, with a finite gradient at 0; eps is squared length."""
    return (x.square().sum(dim=1) + eps).sqrt()
