"""How the system of a task is computed on this machine; a long training is measured on some of its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eozoo_core.run.progress import print_message
from eozoo_core.task.data import tensors
from eozoo_core.task.first import plain_step
from eozoo_core.train.execution import (
    LEAST,
    Execution,
    by_rule,
    known,
    pixels_of,
    plan_training,
    samples_at_once,
    settled,
    slow_layout,
)
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.loading import Draw
from eozoo_core.train.precision import training_precision
from eozoo_core.train.probe import kept_ratio, place, ratio_of
from eozoo_core.train.schedule import plan_steps
from eozoo_core.train.timetable import passes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract
    from eozoo_core.task.data import Data
    from eozoo_core.task.system import System


def planned(task: Contract, run: Run, system: System, train: Data, fabric: Fabric) -> Execution:
    """Decide how training computes ``system``, on the device already, and lay it out so; see `plan_training`."""
    device, runtime = str(fabric.device), run.settings.runtime
    precision = training_precision(run, device)
    if (line := slow_layout(runtime, system, device, precision)) and not runtime.quiet:
        print_message(line)

    def measured() -> float | None:
        batch = _some(task, system, train, fabric)
        if batch is None:
            return None

        def step() -> None:
            with fabric.autocast():
                raw = system(system.staged(batch))
            sum(values.float().sum() for values in raw.values() if values.requires_grad).backward()

        try:
            return ratio_of(place(system, batch, device, precision), system, step, device)
        except RuntimeError:  # no memory, say: the rule decides, and training itself says what is wrong
            return None

    return plan_training(run, fabric, system, precision, measured)


def foreseen(task: Contract, run: Run, system: System, train: Data, one: dict[str, Any]) -> Execution:
    """Say what `planned` would decide; nothing is measured. ``one``: a training sample as a batch."""
    device = resolve_device(run.settings.runtime.device)
    precision = training_precision(run, device)
    if (chosen := known(run, run.settings.runtime, system)) is not None:
        return chosen
    chosen = by_rule(system, device, precision, training=True)
    if not _is_worth_it(task, system, train, one):
        return chosen
    ratio = kept_ratio(place(system, one, device, precision))
    return Execution(chosen.layout, f"{chosen.why}, to be measured") if ratio is None else settled(chosen, ratio)


def _some(task: Contract, system: System, train: Data, fabric: Fabric) -> dict[str, Any] | None:
    """Some training samples to measure with, on the device; None where it is not worth it or cannot be done."""
    settings, order = task.settings, train.order(task.settings.train.seed, 0)
    one = tensors(train.batch([Draw(int(order[0]), 0)]))
    if not _is_worth_it(task, system, train, one):
        return None
    most = settings.train.batch_size
    if fabric.device.type == "cpu":
        most = min(most, samples_at_once("cpu", pixels_of(one, system.inputs)))
    return fabric.to_device(tensors(train.batch([Draw(int(i), 0) for i in order[:most]])))


def _is_worth_it(task: Contract, system: System, train: Data, one: dict[str, Any]) -> bool:
    """Whether training is long enough to measure for, and ``system`` can be called with its batches."""
    how = task.settings.train
    batch = min(how.batch_size, train.draws * passes(how, train.draws))
    samples = plan_steps(how, train.draws).total * how.accumulate * batch
    fits = plain_step(task) or all(port.role in one for port in system.inputs)
    return samples * pixels_of(one, system.inputs) >= LEAST and fits and not system.solves
