"""Learning-rate schedules as functions of the optimiser step, so that a resumed run goes on exactly.

A `Factor` maps the number of optimiser steps already taken (0 before the first) to a factor on the base learning
rate; it has no state and can be given to ``torch.optim.lr_scheduler.LambdaLR`` as it is. No torch is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.train.timetable import Timetable

if TYPE_CHECKING:
    import torch

    from eozoo_core.settings import ScheduleSettings, TrainSettings

Factor = Callable[[int], float]


def constant(step: int) -> float:
    """Return the base rate at every step."""
    return 1.0


def cosine(total_steps: int) -> Factor:
    """Half a cosine wave from 1 at step 0 to 0 at ``total_steps``, and 0 after it.

    Loshchilov and Hutter 2017, "SGDR", equation 5 without restarts. The last step taken, number ``total_steps - 1``,
    still has a small positive rate.
    """
    if total_steps < 1:
        raise ZooError(f"schedule 'cosine' over {total_steps} steps: training must have at least 1 step")
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, total_steps) / total_steps))


def multistep(milestones: Sequence[int], gamma: float) -> Factor:
    """Multiply by ``gamma`` at each milestone: the step with that number is the first with the new rate."""
    if not milestones or list(milestones) != sorted(set(milestones)):
        raise ZooError(f"train.schedule.milestones {list(milestones)}: give at least one, in rising order")
    return lambda step: gamma ** sum(step >= milestone for milestone in milestones)


def triangular2(base: float, peak: float, step_size_up: int) -> Factor:
    """Rise linearly from ``base`` to ``peak`` in ``step_size_up`` steps and fall in as many; each cycle half as high.

    Smith 2017, "Cyclical learning rates for training neural networks", section 3.1 (triangular2), with the height
    measured above ``base``; the same numbers as torch's ``CyclicLR(mode="triangular2")``. ``base`` and ``peak`` are
    learning rates; the factor returned is the rate divided by ``base``. Fewer than one step up counts as one: a set
    smaller than half a batch would otherwise divide by zero.
    """
    if not 0 < base <= peak:
        raise ZooError(f"schedule 'triangular2' from {base:g} to {peak:g}: the peak must not be below the base rate")
    up = max(1, step_size_up)

    def factor(step: int) -> float:
        cycle, position = divmod(step, 2 * up)
        rise = 1 - abs(position / up - 1)
        return 1 + (peak / base - 1) * rise / 2**cycle

    return factor


def with_warmup(schedule: Factor, warmup_steps: int) -> Factor:
    """Rise linearly over ``warmup_steps`` to the start of ``schedule``, which then begins at its step 0.

    Step ``i`` of the warm-up has the factor ``(i + 1) / warmup_steps`` times the schedule's first: the very first step
    already learns, and the last of the warm-up has the full rate.
    """
    if warmup_steps <= 0:
        return schedule
    return lambda step: (
        (step + 1) / warmup_steps * schedule(0) if step < warmup_steps else schedule(step - warmup_steps)
    )


def make_schedule(settings: ScheduleSettings, base_rate: float, total_steps: int, steps_per_epoch: float) -> Factor:
    """Return the schedule that ``settings`` asks for, as a factor on ``base_rate`` by optimiser step.

    ``total_steps``: optimiser steps of the whole run, warm-up included; ``steps_per_epoch`` turns the half cycle of
    triangular2 from epochs into steps (rounded down, at least 1). Milestones count from the beginning of the run.
    Raises ZooError where the numbers do not go together.
    """
    warmup = settings.warmup_steps
    if settings.name == "triangular2":
        if warmup:
            raise ZooError("train.schedule.warmup_steps: 'triangular2' begins at its lowest rate; leave warm-up at 0")
        return triangular2(base_rate, settings.max_learning_rate, int(settings.half_cycle_epochs * steps_per_epoch))
    warmup = min(warmup, total_steps // 5)  # so that a default meant for long runs does not fill a short one
    if settings.name == "constant":
        return with_warmup(constant, warmup)
    if settings.name == "cosine":
        return with_warmup(cosine(total_steps - warmup), warmup)
    if settings.name == "multistep":
        return with_warmup(multistep([m - warmup for m in settings.milestones], settings.gamma), warmup)
    known = ["constant", "cosine", "multistep", "triangular2"]
    raise ZooError(f"train.schedule.name {settings.name!r} is unknown.{did_you_mean(settings.name, known)}")


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
    """Build the Schedule that ``train.schedule`` asks for; see `make_schedule`."""
    times = Timetable(batches_per_epoch, train)
    factor = make_schedule(train.schedule, train.learning_rate, times.total, times.per_epoch)
    return Schedule(optimizers, lambda step: train.learning_rate * factor(step))
