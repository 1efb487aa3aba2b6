"""``eozoo train --dry-run``: data, size, steps and memory, known before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from eozoo_core.task.build import sketch
from eozoo_core.task.contract import Contract
from eozoo_core.task.data import tensors
from eozoo_core.task.ensemble import member_count
from eozoo_core.task.execution import foreseen
from eozoo_core.task.features import feature_shapes
from eozoo_core.task.first import check_shapes, plain_step
from eozoo_core.task.loss import checked_loss
from eozoo_core.task.references import foreseen as foreseen_baselines
from eozoo_core.task.results import Plan
from eozoo_core.task.splits import open_splits
from eozoo_core.task.train import Trainer
from eozoo_core.train.execution import convolves, slow_layout
from eozoo_core.train.launch import loader_workers, resolve_device, set_threads
from eozoo_core.train.loading import Draw
from eozoo_core.train.memory import StepMemory, memory_of, step_memory
from eozoo_core.train.precision import slow_precision, training_precision
from eozoo_core.train.schedule import plan_steps
from eozoo_core.train.timetable import passes
from eozoo_core.words import counted

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.data import Data
    from eozoo_core.task.survey import Survey
    from eozoo_core.task.system import System


class OneProcess:
    """What a step asks of Fabric, where it is followed for its shapes: one process, and nothing is clipped or moved."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: str):
        self.device = torch.device(device)

    def setup(self, module: torch.nn.Module, optimizer: Any) -> tuple[torch.nn.Module, Any]:
        """Return both as they are."""
        return module, optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Run backward."""
        loss.backward()

    def no_backward_sync(self, module: torch.nn.Module, enabled: bool = True) -> AbstractContextManager[None]:
        """Do nothing: there is one process."""
        return nullcontext()

    def autocast(self) -> AbstractContextManager[None]:
        """Do nothing: the whole step is followed in its precision."""
        return nullcontext()

    def clip_gradients(self, module: torch.nn.Module, optimizer: Any, **how: Any) -> None:
        """Do nothing."""


class Still:
    """An optimiser that does not move; what its update takes is counted by itself."""

    param_groups: Sequence[Any] = ()

    def step(self) -> None:
        """Do nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing."""


def make_plan(task: Contract, run: Run) -> Plan:
    """Look at data and system without training; see ``Task.plan``."""
    splits, settings = open_splits(task), task.settings
    set_threads(settings.runtime)
    train, device = splits["train"], resolve_device(settings.runtime.device)
    survey = task.survey(train)
    system, parameters = sketch(task, survey)
    size = min(settings.train.batch_size, train.draws * passes(settings.train, train.draws))
    times = plan_steps(settings.train, train.draws)
    one = tensors(train.batch([Draw(0, 0)]))
    given = {name: (values.shape, values.dtype) for name, values in one.items()}
    kept, notes = feature_shapes(system, train, one), list(task.plan_notes())
    if kept:
        notes.append("what the frozen part gives is computed once and kept; epochs train the rest only")
    loss = checked_loss(task, survey)
    check_shapes(task, system, loss, one)
    trainer = Trainer(run, OneProcess(device), system, loss, survey, splits.get("val"), steps=times.per_epoch)
    if own_step := not plain_step(task):
        task.optimizers(trainer)
    names, networks = list(trainer.modules), list(trainer.modules.values()) or [system]

    def work(twins: list[Any]) -> None:
        batch = {name: torch.empty(size, *shape[1:], dtype=dtype) for name, (shape, dtype) in (given | kept).items()}
        if own_step:
            modules = dict(zip(names, twins, strict=True))
            still = dict.fromkeys(names, Still())
            step = task.step(replace(trainer, system=twins[0], modules=modules, optimizers=still))
            step([batch | {"count": size}], 0)
        else:
            loss(twins[0](twins[0].staged(batch)), batch)["loss"][0].backward()

    memory = step_memory(networks, work, settings.train, device)
    notes += unwise(run, device, system, memory)
    notes += foreseen_baselines(task, survey, train.items([0]))
    notes += [f"left out: {line}" for split in splits.values() for line in split.skipped]
    parameters += sum(p.numel() for network in networks[1:] for p in network.parameters())
    data = described(task, splits, survey) | {"machine": machine(run, device)}
    if convolves(system):
        data["layout"] = str(foreseen(task, run, system, train, one))
    return replace(Plan.of(data, networks, times, memory, notes), parameters=parameters)


def unwise(run: Run, device: str, system: System, memory: StepMemory | None) -> list[str]:
    """Say what of the settings is slow on ``device``, or takes more memory than it has."""
    precision = training_precision(run, device)
    found = [slow_precision(precision, device), slow_layout(run.settings.runtime, system, device, precision)]
    if memory and memory.total > (there := memory_of(device)):
        told = f"a step needs about {memory.total / 1e9:.1f} GB and {device} has {there / 1e9:.1f} GB"
        found.append(f"{told}: lower train.batch_size, and raise train.accumulate by the same factor")
    return [line for line in found if line]


def machine(run: Run, device: str) -> str:
    """Say what training runs on: devices, precision, threads and loading processes, as "auto" and null became."""
    runtime = run.settings.runtime
    count, workers = runtime.devices * runtime.nodes, loader_workers(runtime, device)
    told = f"{count} x {device}" if count > 1 else device
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    return f"{told}, {training_precision(run, device)}, {threads}, {workers or 'no'} processes that load data"


def described(task: Contract, splits: Mapping[str, Data], survey: Survey) -> dict[str, str]:
    """Say in words what there is to train on."""
    data = {name: split.told for name, split in splits.items()}
    if counts := getattr(survey, "counts", ()):
        data["train"] += f", {counted(sum(counts), 'labels')} of {counted(len(counts), 'classes')}"
    elif survey.label is not None:
        label = survey.label
        data["train"] += f", labels {label.mean:.2f} +- {label.std:.2f} {label.unit}".rstrip()
    data["bands"] = ", ".join(survey.names)
    if member_count(task.settings) > 1:
        data["members"] = f"{member_count(task.settings)} networks; parameters, steps and memory are those of one"
    return data
