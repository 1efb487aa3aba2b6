"""The training loop, as one function. It decides when; the task's ``step`` decides how."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from signal import NSIG
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import Interrupted, ZooError
from eozoo_core.run.progress import progress_bar
from eozoo_core.signals import Interrupt
from eozoo_core.train.loading import Batches
from eozoo_core.train.loggers import Loggers
from eozoo_core.train.precision import validating
from eozoo_core.train.profile import profiler
from eozoo_core.train.rng import kept_generators
from eozoo_core.train.state import restore, snapshot
from eozoo_core.train.step import Sums
from eozoo_core.train.timetable import Timetable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run

Step = Callable[[list[Any], int], Sums | None]


def fit(
    run: Run,
    fabric: Fabric,
    state: dict[str, Any],
    batches: Batches,
    step: Step,
    validate: Callable[[], dict[str, float]] | None,
    monitor: str = "loss",
    derive: Callable[[dict[str, float]], dict[str, float]] | None = None,
) -> None:
    """Train as ``run.settings.train`` says, from the run's last checkpoint, and leave current.pt and best.pt.

    state:    name -> object with state_dict and load_state_dict, already set up by Fabric. "model", "optimizer" and
              "scheduler" (``schedule.Schedule``) must be there; a second optimiser or a discriminator joins them.
    batches:  see ``loading.Batches``.
    step:     f(micro_batches, optimiser_step) -> name -> (sum, count) to log, or None where the step was skipped.
              It does forward, backward and the optimiser steps. The sums may be tensors: they are read on the host only
              every ``train.log_every`` steps.
    validate: f() -> name -> float, the same on every process; None = no validation data, best.pt follows training.
              A value that is an array (H, W, 3) uint8 is a picture for the loggers, not a score.
    monitor:  the validation (or training) value whose minimum is best.pt.
    derive:   f(training means) -> more values for the log, for example rmse from mse.

    Raises ZooError at the first value that is not finite, before it reaches a checkpoint, and Interrupted on Ctrl-C,
    after saving.
    """
    loop = _Loop(run, fabric, state, batches, monitor, derive or (lambda values: {}))
    with ExitStack() as stack:
        loop.open(stack)
        for micro_batches in loop.remaining():
            state["scheduler"].apply(loop.position.step)
            loop.count(step(micro_batches, loop.position.step))
            if loop.is_boundary():
                loop.report(validate)
            else:
                loop.between()
            loop.stop_if_asked()


class _Loop:
    """The state and the chores of ``fit``."""

    def __init__(self, run: Run, fabric: Fabric, state: dict, batches: Batches, monitor: str, derive: Callable):
        self.run, self.fabric, self.batches = run, fabric, batches
        self.monitor, self.derive, self.train = monitor, derive, run.settings.train
        if self.train.precision == "fp16-mixed":
            state = {**state, "scaler": fabric.strategy.precision}
        self.state = state
        self.times = Timetable(len(batches), self.train)
        self.position = restore(run, fabric, state, len(batches))
        self.kept = self.position.step if run.has("current") else None  # the step of current.pt
        if self.times.ends(self.position) and not run.has("best"):
            raise ZooError(
                f"{run.file('current')}: is at epoch {self.position.epoch}, step {self.position.step}: the end of "
                "train.epochs or train.steps; raise it to train further"
            )
        if fabric.is_global_zero:
            run.cut_log(self.position.step)

    def open(self, stack: ExitStack) -> None:
        quiet = self.run.settings.runtime.quiet
        with kept_generators():  # what these import may draw from them
            self.logs = Loggers(self.run, self.position.step + 1) if self.fabric.is_global_zero else None
            if self.logs:
                stack.callback(self.logs.close)
            self.bar = stack.enter_context(progress_bar("train", self.times.total, "steps", quiet))
            self.profile = stack.enter_context(profiler(self.run, self.fabric))
        self.interrupt = stack.enter_context(Interrupt())
        self._mode(training=True)

    def remaining(self) -> Iterator[list[Any]]:
        """Yield the micro-batches of every optimiser step still to do; ``position`` is that of the step's start."""
        while not self.times.ends(self.position):
            epoch = iter(self.batches.epoch(self.position.epoch, self.position.batch))
            while group := self.times.take(epoch):
                yield group
                if self.position.batch == 0 or self.times.ends(self.position):
                    break
            else:
                raise RuntimeError(f"the loader ended at batch {self.position.batch} of {len(self.batches)}")

    def count(self, sums: Sums | None) -> None:
        """Take in the values of one step and move on; nothing here waits for the device."""
        self.position.add(sums)
        self.times.advance(self.position)
        self.profile.step()

    def is_boundary(self) -> bool:
        return self.position.batch == 0 or self.times.ends(self.position) or self.times.validates_within(self.position)

    def between(self) -> None:
        """Step-level chores inside an epoch. All processes find the same values, so that they fail together."""
        step = self.position.step
        if step % self.train.log_every == 0:
            values = self.position.pooled_means(self.fabric)
            values = self._finite(self._derived(values) if self.position.sums else values)
            self._show(values)
            if self.logs:
                self.logs.scalars({f"step/{k}": v for k, v in values.items()} | self._lr(), step)
        if self.train.save_every_steps and step % self.train.save_every_steps == 0:
            self._finite(self.position.pooled_means(self.fabric))
            self._save("current", self._snapshot())

    def report(self, validate: Callable[[], dict[str, float]] | None) -> None:
        """End an epoch or interval: validate where due, log the line, keep the checkpoints."""
        position, due = self.position, self.times.validates(self.position)
        train = self._trained()
        val = self._validate(validate) if due and validate else {}
        judged = val if validate else train
        if self.monitor not in judged and (val or (position.sums and not validate)):
            raise KeyError(f"monitor {self.monitor!r} is none of {', '.join(judged)}")
        score = judged.get(self.monitor, math.inf)
        if val:
            position.metrics = val
        better = score < position.best_val
        position.best_val = min(position.best_val, score)
        self._log(train, val)
        position.clear()
        content = self._snapshot()
        if better:
            self._save("best", content)
        if self.train.checkpoint_every and position.batch == 0 and position.epoch % self.train.checkpoint_every == 0:
            self._save(f"checkpoint_epoch_{position.epoch:03d}", content)
        self._save("current", content)

    def _trained(self) -> dict[str, float]:
        """Return the means of the epoch or interval that ends."""
        values = self.position.pooled_means(self.fabric)
        if self.position.sums:
            return self._finite(self._derived(values))
        if self.position.skipped >= self.times.per_epoch:
            raise ZooError(f"{self.run.path}: no training sample of a whole epoch has a label; look at the labels")
        return values

    def _derived(self, values: dict[str, float]) -> dict[str, float]:
        """Return the loss, what ``derive`` adds, and the other means, in this order: the first three are shown."""
        return {name: values[name] for name in values if name == "loss"} | self.derive(values) | values

    def stop_if_asked(self) -> None:
        asked = self.interrupt.requested
        if self.fabric.world_size > 1:  # all stop after the same step, or the others would wait forever
            import numpy as np

            from eozoo_core.train.launch import all_reduce_sums

            heard = all_reduce_sums(self.fabric, np.eye(NSIG)[asked])[1:]
            asked = int(np.argmax(heard)) + 1 if heard.any() else 0
        if not asked or self.times.ends(self.position):
            return
        self._finite(self.position.pooled_means(self.fabric))
        self._save("current", self._snapshot())
        self.fabric.barrier()  # a process that ends early makes the launcher kill the one that is still writing
        raise Interrupted(
            f"stopped at step {self.position.step}, saved in {self.run.path}; the same command goes on", asked
        )

    def _validate(self, validate: Callable[[], dict[str, float]]) -> dict[str, float]:
        import torch

        self._mode(training=False)
        with torch.no_grad(), kept_generators(), validating(self.fabric):
            values = validate()
        self._mode(training=True)
        for name in [name for name, value in values.items() if getattr(value, "ndim", 0) == 3]:
            picture = values.pop(name)
            if self.logs:
                self.logs.image(f"val/{name}", picture, self.position.step)
        return self._finite(values)

    def _mode(self, training: bool) -> None:
        for part in self.state.values():
            if hasattr(part, "train") and hasattr(part, "eval"):
                part.train(training)

    def _snapshot(self) -> dict[str, Any]:
        """Return the content of a checkpoint, on every process. Refuses to keep weights that are not finite."""
        import torch

        for name, part in self.state.items():
            part = getattr(part, "module", part)  # without Fabric's wrapper and its prefix
            for key, weight in part.named_parameters() if hasattr(part, "named_parameters") else ():
                if weight.requires_grad and not bool(torch.isfinite(weight).all()):
                    raise self._poisoned(f"{name}.{key}", "not finite")
        return snapshot(self.position, self.fabric, self.state, len(self.batches))

    def _save(self, which: str, content: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            self.run.save(which, content)
        if which == "current":
            self.kept = self.position.step

    def _log(self, train: dict[str, float], val: dict[str, float]) -> None:
        self._show(val or train)
        if not self.fabric.is_global_zero:
            return
        position = self.position
        epoch = position.epoch + (position.batch > 0)
        self.run.log({"epoch": epoch, "step": position.step, **self._lr(), "train": train, "val": val})
        named = {f"train/{k}": v for k, v in train.items()} | {f"val/{k}": v for k, v in val.items()}
        self.logs.scalars(named | self._lr(), position.step)

    def _lr(self) -> dict[str, float]:
        return {"lr": self.state["scheduler"].lr}

    def _show(self, values: dict[str, float]) -> None:
        text = " ".join(f"{k} {v:.3g}" for k, v in list(values.items())[:3])
        self.bar.update(self.position.step, f"epoch {self.position.epoch} {text}")

    def _finite(self, values: dict[str, float]) -> dict[str, float]:
        """Return plain floats: a numpy number in a checkpoint could not be read again."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._poisoned(name, value)
        return {name: float(value) for name, value in values.items()}

    def _poisoned(self, name: str, value: Any) -> ZooError:
        kept = f"; current.pt is still that of step {self.kept}" if self.kept is not None else ""
        return ZooError(
            f"{self.run.path}: {name} became {value} by step {self.position.step}; lower train.learning_rate, "
            f"set train.clip_norm or look at the data{kept}"
        )
