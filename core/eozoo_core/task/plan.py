"""``eozoo train --dry-run``: data, size, steps and memory, known before the first step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from eozoo_core.task.build import sketch
from eozoo_core.task.contract import Contract
from eozoo_core.task.data import tensors
from eozoo_core.task.ensemble import member_count
from eozoo_core.task.features import feature_shapes
from eozoo_core.task.first import check_shapes
from eozoo_core.task.loss import checked_loss
from eozoo_core.task.results import Plan
from eozoo_core.task.splits import open_splits
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.loading import Draw
from eozoo_core.train.memory import step_memory
from eozoo_core.train.schedule import plan_steps

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run


def make_plan(task: Contract, run: Run) -> Plan:
    """Look at data and system without training; see ``Task.plan``."""
    splits, settings = open_splits(task), task.settings
    train = splits["train"]
    survey = task.survey(train)
    system, parameters = sketch(task, survey)
    size = min(settings.train.batch_size, train.draws)
    times = plan_steps(settings.train, train.draws)
    data = {name: f"{len(split)} {split.what}" for name, split in splits.items()}
    if survey.label is not None:
        label = survey.label
        data["train"] += f", labels {label.mean:.2f} +- {label.std:.2f} {label.unit}".rstrip()
    data["bands"] = ", ".join(survey.names)
    if member_count(settings) > 1:
        data["members"] = f"{member_count(settings)} networks; parameters, steps and memory are those of one"
    one = tensors(train.batch([Draw(0, 0)]))
    given = {name: (values.shape, values.dtype) for name, values in one.items()}
    kept, notes = feature_shapes(system, train, one), []
    if kept:
        notes.append("what the frozen part gives is computed once and kept; epochs train the rest only")
    loss = checked_loss(task, survey)
    check_shapes(task, system, loss, one)

    def work(networks: list[torch.nn.Module]) -> None:
        batch = {name: torch.empty(size, *shape[1:], dtype=dtype) for name, (shape, dtype) in (given | kept).items()}
        loss(networks[0](networks[0].staged(batch)), batch)["loss"][0].backward()

    memory = step_memory([system], work, settings.train, resolve_device(settings.runtime.device))
    notes += [f"left out: {line}" for split in splits.values() for line in split.skipped]
    return replace(Plan.of(data, [system], times, memory, notes), parameters=parameters)
