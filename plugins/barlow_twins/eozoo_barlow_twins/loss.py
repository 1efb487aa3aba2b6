"""The Barlow Twins loss of two views, and losses over labelled pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from eozoo_core import ZooError


class Parts(NamedTuple):
    """The loss and what it consists of; total = on_diag + off_diag, the latter already weighted."""

    total: torch.Tensor
    on_diag: torch.Tensor
    off_diag: torch.Tensor
    correlation: torch.Tensor  # (P, P)


class BarlowTwinsLoss:
    """Sum over the diagonal of (C - 1)^2 plus ``lambda_offdiag`` times the sum of squares off it (Zbontar et al. 2021).

    C = z1' z2 / N with both views standardised over the N samples of the batch (of all processes: the step gathers the
    views, see `gather_all`). As documented, the deviation divides by N - 1, so that C_ii reaches (N - 1) / N. A
    constant dimension has C_ii = 0 and a zero gradient instead of NaN: ``eps`` is added to the variance. Arithmetic
    is float32 whatever the precision of training.
    """

    def __init__(self, lambda_offdiag: float = 5e-4, eps: float = 1e-8):
        if lambda_offdiag < 0 or eps <= 0:
            raise ZooError(f"barlow_twins: lambda_offdiag {lambda_offdiag} must be >= 0 and eps {eps} > 0")
        self.lambda_offdiag, self.eps = lambda_offdiag, eps

    def __call__(self, z1: torch.Tensor, z2: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return (loss, 1) for two views ``(B, P)``; one cross-correlation is one element."""
        return self.parts(z1, z2).total, 1

    def parts(self, z1: torch.Tensor, z2: torch.Tensor) -> Parts:
        """Return the loss in parts. Raises ZooError for fewer than two samples."""
        with torch.autocast(z1.device.type, enabled=False):
            z1, z2 = z1.float(), z2.float()
            if len(z1) < 2:
                raise ZooError("the Barlow Twins loss needs at least 2 samples in a batch; raise train.batch_size")
            c = self.standardise(z1).T @ self.standardise(z2) / len(z1)
            diagonal = c.diagonal()
            on = (diagonal - 1).square().sum()
            off = self.lambda_offdiag * (c.square().sum() - diagonal.square().sum())
            return Parts(on + off, on, off, c)

    def standardise(self, z: torch.Tensor) -> torch.Tensor:
        """Mean 0 and deviation 1 (N - 1) per dimension over the samples."""
        centred = z - z.mean(dim=0)
        return centred / (centred.square().sum(dim=0) / (len(z) - 1) + self.eps).sqrt()


def mixup_term(
    loss: BarlowTwinsLoss, za: torch.Tensor, zb: torch.Tensor, zm: torch.Tensor, order: torch.Tensor, share: float
) -> torch.Tensor:
    """Squared difference of the mixed view's cross-correlations from what a linear mixture would have.

    ``zm`` are projections of share * view a + (1 - share) * view b[order] (Bandara et al. 2023, "Guarding Barlow Twins
    against overfitting with mixed samples", equations 3 to 7). Weighted by lambda_offdiag; over this process's samples.
    """
    with torch.autocast(za.device.type, enabled=False):
        za, zb, zm = (loss.standardise(z.float()) for z in (za, zb, zm))
        n = len(za)
        to_a = zm.T @ za / n - (share * za.T @ za + (1 - share) * zb[order].T @ za) / n
        to_b = zm.T @ zb / n - (share * za.T @ zb + (1 - share) * zb[order].T @ zb) / n
        return 0.5 * loss.lambda_offdiag * (to_a.square().sum() + to_b.square().sum())


def gather_all(z: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, in the order of their ranks, with gradients; ``z`` itself with one process.

    Every process then computes the same loss. Summing the gradients of all its copies for the own rows gives
    world_size times the gradient, and DDP's mean over processes takes that factor out again.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return z
    return _Gather.apply(z)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


class PixelCrossEntropy:
    """Cross-entropy, summed over labelled pixels; target -1 = no label. ``weights``: one factor per class."""

    def __init__(self, weights: list[float] | None = None, label_smoothing: float = 0.0):
        self._weights, self._smoothing = weights, label_smoothing

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``logits (B, K)``, ``target (B,)`` int64 -> (sum, number of labelled pixels)."""
        weights = None if self._weights is None else logits.new_tensor(self._weights)
        total = F.cross_entropy(
            logits, target, weights, ignore_index=-1, reduction="sum", label_smoothing=self._smoothing
        )
        return total, (target >= 0).sum()


class PixelFocal:
    """Focal loss -w (1 - p)^gamma log p of the true class (Lin et al. 2017, equation 5), summed; target -1 = no label.

    With gamma 0 it is the cross-entropy.
    """

    def __init__(self, gamma: float = 2.0, weights: list[float] | None = None):
        if gamma < 0:
            raise ZooError(f"pixel_focal: gamma {gamma} must be >= 0")
        self._gamma, self._weights = gamma, weights

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``logits (B, K)``, ``target (B,)`` int64 -> (sum, number of labelled pixels)."""
        known = target >= 0
        log_p = F.log_softmax(logits, dim=1).gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)
        values = -((1 - log_p.exp()).clamp(min=0) ** self._gamma) * log_p
        if self._weights is not None:
            values = values * logits.new_tensor(self._weights)[target.clamp(min=0)]
        return (values * known).sum(), known.sum()
