"""The optimiser step: gradients clipped, and pooled over micro-batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from eozoo_core.train.launch import all_reduce_sums

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from eozoo_core.settings import TrainSettings

Sums = dict[str, tuple[Any, Any]]  # name -> (sum, count), 0-d tensors or numbers


def optimizer_step(fabric: Fabric, model: Any, optimizer: Any, train: TrainSettings) -> None:
    """Clip the gradients as set (after unscaling, in fp16), step the optimiser and clear the gradients."""
    import torch

    if train.clip_norm is not None:
        fabric.clip_gradients(model, optimizer, max_norm=train.clip_norm, error_if_nonfinite=False)
        if train.clip_value is not None:  # not through Fabric: it would unscale fp16 gradients a second time
            torch.nn.utils.clip_grad_value_([p for g in optimizer.param_groups for p in g["params"]], train.clip_value)
    elif train.clip_value is not None:
        fabric.clip_gradients(model, optimizer, clip_val=train.clip_value)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def pooled_step(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    train: TrainSettings,
    micro_batches: list[dict],
    loss_sum: Callable[[dict], tuple[torch.Tensor, Sums]],
) -> Sums | None:
    """Take one optimiser step on the mean over all labelled elements of all micro-batches and processes.

    Each micro-batch has its number of labelled elements, a Python int, under "count"; ``loss_sum(batch)`` gives the
    *sum* of the loss over them and the sums to log. The divisor is the count of the whole step, so how it is cut into
    micro-batches and processes does not matter. Returns None, and leaves the weights alone, where nothing is labelled.
    """
    import numpy as np

    total = float(all_reduce_sums(fabric, np.array([sum(b["count"] for b in micro_batches)], dtype=np.float64))[0])
    if total == 0:
        return None
    logged: list[Sums] = []
    for i, batch in enumerate(micro_batches):
        last = i == len(micro_batches) - 1
        with fabric.no_backward_sync(model, enabled=not last):
            loss, sums = loss_sum(batch)
            # DDP averages the gradients of the processes: times world_size it is their sum.
            fabric.backward(loss * (fabric.world_size / total))
        # Detached, or it would keep the graph.
        logged.append({n: (v.detach() if hasattr(v, "detach") else v, count) for n, (v, count) in sums.items()})
    optimizer_step(fabric, model, optimizer, train)
    return added(logged)


def added(parts: Iterable[Sums]) -> Sums:
    """Add sums and counts by their names."""
    total: Sums = {}
    for sums in parts:
        for name, (value, count) in sums.items():
            before = total.get(name, (0.0, 0))
            total[name] = (before[0] + value, before[1] + count)
    return total
