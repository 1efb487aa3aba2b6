"""Learning-rate schedules as functions of the optimiser step, so that a resumed run goes on exactly.

A `Factor` maps the number of optimiser steps already taken (0 before the first) to a factor on the base learning
rate; it has no state and can be given to ``torch.optim.lr_scheduler.LambdaLR`` as it is. No torch is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.train.timetable import Timetable, passes

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


def linear(total_steps: int) -> Factor:
    """A straight line from 1 at step 0 to 0 at ``total_steps``, and 0 after it; the last step taken is above 0."""
    if total_steps < 1:
        raise ZooError(f"schedule 'linear' over {total_steps} steps: training must have at least 1 step")
    return lambda step: 1 - min(step, total_steps) / total_steps


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


def warmup_of(settings: ScheduleSettings, total_steps: int) -> int:
    """Return the steps of warm-up in a run of ``total_steps``: those asked for, at most a fifth of the run."""
    return min(settings.warmup_steps, total_steps // 5)


def make_schedule(train: TrainSettings, times: Timetable) -> Factor:
    """Return the schedule that ``train.schedule`` asks for, as a factor on ``train.learning_rate`` by optimiser step.

    Cosine and linear reach 0 at ``times.total``; milestones count from the beginning of the run; the half cycle of
    triangular2 is rounded down to steps, at least 1. Raises ZooError where the numbers do not go together.
    """
    settings, warmup = train.schedule, warmup_of(train.schedule, times.total)
    if settings.name == "triangular2":
        if settings.warmup_steps:
            raise ZooError("train.schedule.warmup_steps: 'triangular2' begins at its lowest rate; leave warm-up at 0")
        _no_hold(settings)
        half_cycle = int(settings.half_cycle_epochs * times.per_epoch)
        return triangular2(train.learning_rate, settings.max_learning_rate, half_cycle)
    if settings.name == "multistep":
        _no_hold(settings)
        return with_warmup(multistep([m - warmup for m in settings.milestones], settings.gamma), warmup)
    if settings.name == "constant":
        return with_warmup(constant, warmup)
    falling = times.total - warmup - settings.hold_steps
    if falling < 1:
        raise ZooError(
            f"train.schedule.hold_steps {settings.hold_steps}: with {warmup} steps of warm-up no step is left to fall "
            f"in, of {times.total} in the whole run; set it below {times.total - warmup}, or train longer"
        )
    fall = {"cosine": cosine, "linear": linear}[settings.name](falling)
    return with_warmup(lambda step: fall(max(0, step - settings.hold_steps)), warmup)


def _no_hold(settings: ScheduleSettings) -> None:
    if settings.hold_steps:
        raise ZooError(f"train.schedule.hold_steps: is for cosine and linear; with {settings.name!r} leave it at 0")


def plan_steps(train: TrainSettings, samples: int) -> Timetable:
    """Return the timetable of a training on ``samples`` samples, before there are any batches.

    The last, smaller batch of an epoch is left out, unless it is the only one, as in ``loading.Loader``. Raises
    ZooError where ``train.schedule`` does not fit this run. ``--dry-run`` and ``check`` ask here.
    """
    times = Timetable(max(1, samples * passes(train, samples) // train.batch_size), train)
    make_schedule(train, times)
    return times


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
    factor = make_schedule(train, Timetable(batches_per_epoch, train))
    return Schedule(optimizers, lambda step: train.learning_rate * factor(step))
