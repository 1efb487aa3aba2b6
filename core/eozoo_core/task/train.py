"""``eozoo train``: from data to best.pt, for every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from eozoo_core.run.progress import tell_once
from eozoo_core.task.beside import keep_beside
from eozoo_core.task.build import begin
from eozoo_core.task.contract import Contract, Loss
from eozoo_core.task.data import Arrays, Batched, Data, as_is, in_groups
from eozoo_core.task.evaluate import Scorer
from eozoo_core.task.execution import planned
from eozoo_core.task.features import with_features
from eozoo_core.task.first import check_first
from eozoo_core.task.guard import judge_training
from eozoo_core.task.loss import checked_loss
from eozoo_core.task.reading import reading_notes
from eozoo_core.task.splits import open_splits, root_of
from eozoo_core.task.survey import Carried, Survey
from eozoo_core.train.batch_norm import pool_batch_norm
from eozoo_core.train.execution import Execution
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import all_reduce_sums, launch
from eozoo_core.train.loading import Loader, share_of
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.precision import validating
from eozoo_core.train.schedule import make_scheduler
from eozoo_core.train.step import Sums, added, pooled_step
from eozoo_core.train.timetable import Timetable, passes

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.task.system import System, Tensors


@dataclass
class Trainer:
    """What ``Task.optimizers``, ``step`` and ``validate`` work with.

    system:     the module itself, for ``stage``, ``finish`` and buffers.
    modules:    name -> module that ``add`` set up, called for forward passes; "model" is the system.
    optimizers: by the same names.
    steps:      optimiser steps of an epoch, known when ``Task.step`` is called.
    execution:  how the networks are computed.
    """

    run: Run
    fabric: Fabric
    system: System
    loss: Loss
    survey: Survey
    val: Data | None
    modules: dict[str, Any] = field(default_factory=dict)
    optimizers: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    execution: Execution = field(default_factory=Execution)

    def add(self, name: str, module: Any, optimizer: Any) -> None:
        """Train ``module`` with ``optimizer``; both go into checkpoints under ``name``.

        The first is called "model" and is the system. All optimisers share the schedule of the settings.
        """
        if not self.modules and name != "model":
            raise ValueError(f"optimizers() adds {name!r} first: add the system, called 'model', before it")
        if self.fabric.world_size > 1:
            pool_batch_norm(module)
        self.execution.lay_out(module)
        self.modules[name], self.optimizers[name] = self.fabric.setup(module, optimizer)

    def state(self) -> dict[str, Any]:
        """Return the parts of a checkpoint, but for the schedule."""
        found: dict[str, Any] = {"survey": Carried(self.survey)}
        for name, module in self.modules.items():
            found[name] = module
            found["optimizer" if name == "model" else f"{name}_optimizer"] = self.optimizers[name]
        return found


def train(task: Contract, run: Run, survey: Survey | None = None) -> Survey:
    """Train one network into ``run``, going on from its last checkpoint; see `eozoo_core.train.fit.fit`.

    Returns what the training split holds. ``survey``: where another member of the ensemble, which returned it, has
    looked at the same data already; its splits are not compared again either.
    """
    settings = run.settings
    fabric = launch(run)
    splits = open_splits(task, compared=survey is not None)
    learned = {file: None for name, data in splits.items() if name != "test" for file in data.files}
    run.check_data(learned, root_of(splits["train"]))
    notes = reading_notes(splits["train"])
    tell_once(notes, settings.runtime.quiet)
    run.note("reading", sorted({note.partition(": ")[2] for note in notes}))
    survey = survey or task.survey(splits["train"])
    judge_training(task, survey)
    run.note("survey", survey.model_dump(mode="json"))
    if (area := splits["train"].area()) is not None:
        run.note("area", area)
    if (division := splits["train"].division) is not None and fabric.is_global_zero:
        division.keep(run)
    beside = keep_beside(run, task.beside())
    system, base = begin(task, run, survey, fabric)
    loss = checked_loss(task, survey)
    fabric.to_device(system)
    check_first(task, system, loss, splits["train"], fabric)
    execution = planned(task, run, system, splits["train"], fabric)
    data = prepared(run, fabric, system, splits)
    trainer = Trainer(run, fabric, system, loss, survey, data.get("val"), execution=execution)
    task.optimizers(trainer)
    drawn = Batched(data["train"], passes(settings.train, data["train"].draws))
    batches = Loader(drawn, settings.train, settings.runtime, fabric, as_is)
    scheduler = make_scheduler(trainer.optimizers.values(), settings.train, len(batches))
    trainer.steps = Timetable(len(batches), settings.train).per_epoch
    fit(
        run,
        fabric,
        {**trainer.state(), **base, **beside, "scheduler": scheduler},
        batches,
        task.step(trainer),
        (lambda: task.validate(trainer)) if task.validates else None,
        task.monitor,
        lambda means: task.derive(means, survey),
    )
    return survey


def prepared(run: Run, fabric: Fabric, system: System, splits: dict[str, Data]) -> dict[str, Data]:
    """Return train and val with features of the system's frozen part, and solve it where it does so."""
    data = {"train": with_features(run, system, splits["train"], fabric)}
    if system.solves:
        system.solve(data["train"])
    if "val" not in splits:
        return data
    with validating(fabric):
        return data | {"val": with_features(run, system, splits["val"], fabric)}


def add_model(trainer: Trainer) -> None:
    """Train the whole system with ``train.optimizer``; the default of ``Task.optimizers``."""
    trainer.add("model", trainer.system, make_optimizer(trainer.system.parameters(), trainer.run.settings.train))


def make_step(trainer: Trainer) -> Callable[[list[Any], int], Sums | None]:
    """Return a step on the mean loss over all labelled elements; the default of ``Task.step``.

    Of a system that solved itself it only says what the loss is.
    """
    model, optimizer, train = trainer.modules["model"], trainer.optimizers["model"], trainer.run.settings.train

    def loss_sum(batch: dict[str, Any]) -> tuple[Any, Sums]:
        sums = trainer.loss(model(trainer.system.staged(batch)), batch)
        return sums["loss"][0], sums

    def report(micro: list[Any], number: int) -> Sums:
        with torch.no_grad():
            return added(loss_sum(batch)[1] for batch in micro)

    if trainer.system.solves:
        return report
    return lambda micro, number: pooled_step(trainer.fabric, model, optimizer, train, micro, loss_sum)


def validate(
    task: Contract, trainer: Trainer, see: Callable[[Arrays, Tensors], None] = lambda batch, found: None
) -> dict[str, float]:
    """Score the validation split over all processes; the default of ``Task.validate``.

    ``see`` gets every batch of this process with what is predicted for it: pictures need no predictions of their own.
    """

    def scorer() -> Scorer:
        return Scorer(trainer.system, trainer.loss, task.metrics(trainer.survey), trainer.modules["model"])

    groups = list(in_groups(trainer.val, range(len(trainer.val))))  # the same for any number of processes
    mine, mine_found = share_of(len(groups), trainer.fabric), scorer()
    for number in mine:
        batch = trainer.val.items(groups[number])
        see(batch, mine_found.add(batch, trainer.fabric.device))
    if not mine:  # the first forward after training shares buffers between processes: nobody may miss it
        scorer().add(trainer.val.items(groups[0]), trainer.fabric.device)
    return mine_found.compute(all_reduce_sums(trainer.fabric, mine_found.sums()))
