"""Scores of tiles as pooled sums: the document's table, PSNR and SSIM, the same over any batching and any processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from eozoo_core.task import Arrays
from eozoo_core.task.system import Tensors

from eozoo_prithvi_refine.losses import tile_values
from eozoo_prithvi_refine.spectra import edge_mask, edges, evi, ndvi, spectral_angle

_SUMS = ("loss", "tiles", "pixels", "ndvi", "evi", "sam", "l1", "square", "edge_pixels", "edge", "same", "same_edge")
_SSIM = ("ssim", "ssim_pixels")


class RefineScores:
    """Sums over tiles, as `Metrics` of the task; RMSE, SAM and L1 are pooled over valid pixels.

    ``with_ssim``: SSIM too. ``tiles``: what was added, tile by tile.
    """

    def __init__(self, criterion: Criterion, with_ssim: bool = False):
        self._criterion, self._ssim = criterion, with_ssim
        self.tiles: list[np.ndarray] = []

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """See `Metrics.add`."""
        arrays = (predicted["refined"], batch["opt_v1"], batch["target"])
        self.tiles.append(tile_sums(*map(torch.from_numpy, arrays), self._criterion, self._ssim))

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return sum(self.tiles, np.zeros(len(_SUMS) + len(_SSIM)))

    @staticmethod
    def compute(sums: np.ndarray) -> dict[str, float]:
        """Return the metrics; what has no pixel or is infinite is left out.

        Against the target: ndvi_rmse, evi_rmse, sam (radians), l1 and edge_l1 (reflectance, mean over bands), psnr (dB,
        for a range of 1), ssim. Against the input: identity_l1, identity_edge_l1. ``loss`` is the mean over tiles of
        the weighted losses without the adversarial one, whose judge changes as it learns.
        """
        s = dict(zip((*_SUMS, *_SSIM), sums.tolist()))
        n, edge_n = s["pixels"], s["edge_pixels"]
        if not n:
            return {}
        values = {
            "loss": s["loss"] / s["tiles"],
            "ndvi_rmse": math.sqrt(s["ndvi"] / n),
            "evi_rmse": math.sqrt(s["evi"] / n),
            "sam": s["sam"] / n,
            "l1": s["l1"] / n,
            "identity_l1": s["same"] / n,
        }
        if edge_n:
            values |= {"edge_l1": s["edge"] / edge_n, "identity_edge_l1": s["same_edge"] / edge_n}
        if s["square"] > 0:
            values["psnr"] = 10 * math.log10(n / s["square"])
        if s["ssim_pixels"]:
            values["ssim"] = s["ssim"] / s["ssim_pixels"]
        return values


class Criterion:
    """The weighted losses that need no discriminator: spectral and target against target, identity against input."""

    def __init__(self, losses: dict[str, tuple[float, Callable[..., Any]]]):
        self._losses = {name: pair for name, pair in losses.items() if pair[0] > 0}

    def __call__(
        self, refined: torch.Tensor, image: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the weighted loss per tile ``(B,)`` and all parts per tile by name."""
        total, logged = refined.new_zeros(len(refined)), {}
        for name, (weight, loss) in self._losses.items():
            value, parts = tile_values(loss, refined, image if name == "identity" else target, valid)
            total = total + weight * value
            logged |= {f"{name}_{part}": v for part, v in parts.items()} | {f"{name}_loss": value}
        return total, logged


class RefineLoss:
    """The weighted losses of a batch, as the loss of the task."""

    def __init__(self, criterion: Criterion):
        self.criterion = criterion

    def __call__(self, raw: Tensors, batch: Tensors) -> dict[str, tuple[Any, Any]]:
        """Return "loss" and its parts as sums over tiles, and how many tiles have a valid pixel."""
        loss, parts, valid = self.per_tile(raw, batch)
        tiles = valid.flatten(1).any(1).sum()
        return {"loss": (loss.sum(), tiles)} | {name: (values.sum(), tiles) for name, values in parts.items()}

    def per_tile(self, raw: Tensors, batch: Tensors) -> tuple[torch.Tensor, Tensors, torch.Tensor]:
        """Return the weighted loss (B,), its parts by name, and where pixels are valid (B, H, W)."""
        image, target = batch["opt_v1"], batch["target"]
        valid = valid_pixels(image, target)
        return *self.criterion(raw["refined"], image, target, valid), valid


def valid_pixels(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return ``(B, H, W)`` bool: every band of input and target is there."""
    return (torch.isfinite(image) & torch.isfinite(target)).all(dim=1)


@torch.no_grad()
def tile_sums(
    refined: torch.Tensor, image: torch.Tensor, target: torch.Tensor, criterion: Criterion, with_ssim: bool = False
) -> np.ndarray:
    """Return the sums of one batch of tiles ``(B, 4, H, W)`` reflectance, NaN = missing, as float64."""
    valid = valid_pixels(image, target)
    loss, _ = criterion(refined, image, target, valid)
    refined, image, target = (torch.where(valid[:, None], x.float(), 0.1) for x in (refined, image, target))
    inner = edge_mask(valid)
    maps = [
        (ndvi(refined) - ndvi(target)).square(),
        (evi(refined) - evi(target)).square(),
        spectral_angle(refined, target),
        (refined - target).abs().mean(dim=1),
        (refined - target).square().mean(dim=1),
    ]
    wanted, sharp, own = edges(target), edges(refined), edges(image)
    edge, same_edge = (sharp - wanted).abs().mean(dim=1), (sharp - own).abs().mean(dim=1)
    same = (refined - image).abs().mean(dim=1)
    values = [loss.double().sum(), valid.flatten(1).any(1).sum(), valid.sum(), *(_total(m, valid) for m in maps)]
    values += [inner.sum(), _total(edge, inner), _total(same, valid), _total(same_edge, inner)]
    values += _ssim(refined, target, valid) if with_ssim else [0.0, 0.0]
    return np.array([float(v) for v in values])


def _total(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return values[mask].sum(dtype=torch.float64 if values.device.type != "mps" else None)


def _ssim(refined: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> list[Any]:
    """Sum and count of SSIM (Wang et al. 2004: Gaussian of 1.5 px, range 1) over pixels whose 11 x 11 px are valid."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    if min(refined.shape[-2:]) < 11:
        return [0.0, 0.0]
    _, full = structural_similarity_index_measure(
        refined, target, data_range=1.0, kernel_size=11, sigma=1.5, return_full_image=True
    )
    outside = torch.nn.functional.max_pool2d((~valid).float().unsqueeze(1), 11, stride=1)[:, 0] > 0
    inner = full[..., 5:-5, 5:-5].mean(dim=1)
    return [_total(inner, ~outside), (~outside).sum()]
