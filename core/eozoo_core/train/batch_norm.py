"""Batch normalisation over the samples of all processes, on any device: two processes learn what one does."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def pool_batch_norm(module: nn.Module) -> None:
    """Let every batch norm in ``module`` that trains take mean and variance over all processes; in place.

    Parameters, buffers and their names stay, and so does what a layer does in evaluation mode. Torch's own
    SyncBatchNorm is for GPUs alone.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm):
            layer.forward = partial(_pooled, layer)


def _pooled(layer: _BatchNorm, values: torch.Tensor) -> torch.Tensor:
    """What ``layer`` gives for ``values`` (B, C, ...) of this process, with the statistics of all."""
    if not layer.training:
        return type(layer).forward(layer, values)
    axes, shape = [axis for axis in range(values.ndim) if axis != 1], (1, -1) + (1,) * (values.ndim - 2)
    with torch.autocast(values.device.type, enabled=False):
        given = values.float()
        size = torch.full((1,), given.numel() / given.shape[1], dtype=given.dtype, device=given.device)
        sums = _AllSum.apply(torch.cat([given.sum(axes), size]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = given - mean.reshape(shape)
        variance = _AllSum.apply(centred.square().sum(axes)) / count
        found = centred * torch.rsqrt(variance + layer.eps).reshape(shape)
        if layer.affine:
            found = found * layer.weight.reshape(shape) + layer.bias.reshape(shape)
        _remember(layer, mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
    return found.to(values.dtype)


@torch.no_grad()
def _remember(layer: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Move the running statistics, as torch does."""
    if layer.running_mean is None:
        return
    layer.num_batches_tracked += 1
    share = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), share)


class _AllSum(torch.autograd.Function):
    """Sum over processes; the gradient is summed too, because every process's loss depends on the sum."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
