"""Optimiser, learning rate and the optimiser step, from the shared train settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.launch import all_reduce_sums

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from eozoo_core.settings import TrainSettings

Sums = dict[str, tuple[Any, Any]]  # name -> (sum, count), 0-d tensors or numbers


def make_optimizer(parameters: Iterable[torch.nn.Parameter], train: TrainSettings) -> torch.optim.Optimizer:
    """Build ``train.optimizer`` over those parameters that require a gradient. Raises ZooError where none does."""
    import torch

    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        raise ZooError("no parameter is trainable; unfreeze a part of the model or enable its adapters")
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            trainable, lr=train.learning_rate, momentum=train.momentum, weight_decay=train.weight_decay
        )
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(trainable, lr=train.learning_rate, weight_decay=train.weight_decay)


class Schedule:
    """Sets the learning rate of optimisers as a function of the optimiser step, so that resuming is exact.

    ``lr_at(step)`` gives the absolute rate. A parameter group may carry ``lr_scale`` to train slower or faster.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer], lr_at: Callable[[int], float]):
        self._optimizers, self._lr_at, self.step, self.lr = list(optimizers), lr_at, 0, lr_at(0)

    def apply(self, step: int) -> None:
        """Set the rate for optimiser step ``step`` (0 = the first)."""
        self.step, self.lr = step, float(self._lr_at(step))
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * group.get("lr_scale", 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return the step and rate; the function itself follows from the settings."""
        return {"step": self.step, "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the step of a checkpoint; the rate there is what today's settings say."""
        self.apply(int(state["step"]))


def make_scheduler(
    optimizers: Iterable[torch.optim.Optimizer], train: TrainSettings, batches_per_epoch: int
) -> Schedule:
    """Build the Schedule that ``train.schedule`` asks for; see ``schedules.make_schedule``."""
    from eozoo_core.position import Timetable
    from eozoo_core.schedules import make_schedule

    times = Timetable(batches_per_epoch, train)
    factor = make_schedule(train.schedule, train.learning_rate, times.total, times.per_epoch)
    return Schedule(optimizers, lambda step: train.learning_rate * factor(step))


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
    logged: Sums = {}
    for i, batch in enumerate(micro_batches):
        last = i == len(micro_batches) - 1
        with fabric.no_backward_sync(model, enabled=not last):
            loss, sums = loss_sum(batch)
            # DDP averages the gradients of the processes: times world_size it is their sum.
            fabric.backward(loss * (fabric.world_size / total))
        for name, (value, count) in sums.items():
            before = logged.get(name, (0.0, 0))
            value = value.detach() if hasattr(value, "detach") else value  # or it would keep the graph
            logged[name] = (before[0] + value, before[1] + count)
    optimizer_step(fabric, model, optimizer, train)
    return logged
