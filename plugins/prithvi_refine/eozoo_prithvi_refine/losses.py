"""The document's losses. Each is a mean over the valid pixels of a tile, summed over tiles: ``(sum, tiles)``.

So the loss of a batch is the mean over its tiles, whatever the batch size, and a tile with few valid pixels weighs as
much as any other. All are computed in float32 outside of mixed precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from eozoo_prithvi_refine.spectra import edge_mask, edges, evi, ndvi, spectral_angle

Parts = dict[str, torch.Tensor]  # name -> values per tile (B,)


class TileLoss:
    """A weighted sum of parts, each a value per tile. Called with (image, reference, valid) -> (sum, tiles)."""

    def __init__(self, weights: dict[str, float], parts: Callable[..., Parts]):
        self.weights, self._parts = weights, parts

    def per_tile(self, image: torch.Tensor, reference: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, Parts]:
        """Return the loss ``(B,)`` and its parts by name; 0 where a tile has no valid pixel.

        image, reference: (B, 4, H, W) reflectance; valid: (B, H, W) bool. Values of invalid pixels are not looked at
        and may be NaN.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, reference = (torch.where(valid[:, None], x.float(), 0.1) for x in (image, reference))
            parts = self._parts(image, reference, valid)
        return sum(weight * parts[name] for name, weight in self.weights.items()), parts

    def __call__(self, image: torch.Tensor, reference: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return the sum over tiles and the number of tiles with a valid pixel."""
        return self.per_tile(image, reference, valid)[0].sum(), int(valid.flatten(1).any(dim=1).sum())


def tile_values(
    loss: Callable[..., Any], image: torch.Tensor, reference: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, Parts]:
    """Return ``TileLoss.per_tile``; anybody else's loss is called with one tile after the other and has no parts."""
    if isinstance(loss, TileLoss):
        return loss.per_tile(image, reference, valid)
    filled = [torch.where(valid[:, None], x.float(), 0.1) for x in (image, reference)]
    each = (loss(*(x[i : i + 1] for x in (*filled, valid)))[0] for i in range(image.shape[0]))
    return torch.stack([value.reshape(()) for value in each]), {}


def spectral_plausibility(ndvi_rmse: float = 1.0, evi_rmse: float = 0.5, sam: float = 0.3) -> TileLoss:
    """RMSE of NDVI and of EVI, and mean spectral angle (radians), with these weights inside the loss."""
    return TileLoss({"ndvi_rmse": ndvi_rmse, "evi_rmse": evi_rmse, "sam": sam}, _spectral)


def identity_edge(l1: float = 1.0, edge: float = 0.5) -> TileLoss:
    """Mean absolute difference (reflectance) and that of the Sobel magnitudes, with these weights inside the loss.

    Against the input it is the document's identity/edge-guard; against the target it ties brightness and sharpness.
    """
    return TileLoss({"l1": l1, "edge_l1": edge}, _identity)


def least_squares(scores: torch.Tensor, goal: float, weight: torch.Tensor) -> torch.Tensor:
    """Return the LSGAN loss per tile ``(B,)``: mean of (score - goal)^2 over the patches that ``weight`` counts.

    scores, weight: (B, 1, h, w), weight 0 or 1. Mao et al. 2017, arXiv:1611.04076, equation 2 with a = 0, b = c = 1.
    """
    squares = (scores.float() - goal).square() * weight
    return squares.flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)


def _spectral(image: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> Parts:
    return {
        "ndvi_rmse": _root(_mean((ndvi(image) - ndvi(target)).square(), valid)),
        "evi_rmse": _root(_mean((evi(image) - evi(target)).square(), valid)),
        "sam": _mean(spectral_angle(image, target), valid),
    }


def _identity(image: torch.Tensor, reference: torch.Tensor, valid: torch.Tensor) -> Parts:
    difference = (image - reference).abs().mean(dim=1)
    edge = (edges(image) - edges(reference)).abs().mean(dim=1)
    return {"l1": _mean(difference, valid), "edge_l1": _mean(edge, edge_mask(valid))}


def _mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean per tile over valid pixels, 0 where there is none."""
    return (values * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


def _root(mean_square: torch.Tensor) -> torch.Tensor:
    """Square root whose gradient is finite at 0."""
    return (mean_square + 1e-12).sqrt()
