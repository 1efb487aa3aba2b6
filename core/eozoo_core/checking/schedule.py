"""Steps of the training that the settings ask for: how many they are, and whether the learning rate's schedule fits."""

from __future__ import annotations

from eozoo_core.checking.findings import Findings
from eozoo_core.settings import TrainSettings
from eozoo_core.train.schedule import plan_steps, warmup_of
from eozoo_core.train.timetable import passes
from eozoo_core.words import counted


def judge_schedule(findings: Findings, train: TrainSettings, samples: int | None) -> None:
    """Tell the optimiser steps of a training on ``samples`` samples, those of ``--dry-run``; an impossible schedule is
    an error. None: not counted. 0: nothing is told, the missing samples are a finding of their own.
    """
    if samples is None:
        findings.unknown("schedule", "not every training sample was counted", "'eozoo train --dry-run' counts all")
    elif samples:
        with findings.guard("schedule"):
            times = plan_steps(train, samples)
            rise = warmup_of(train.schedule, times.total)
            turns = passes(train, samples)
            again = f" ({turns:,} times the {counted(samples, 'samples')})" if turns > 1 else ""
            text = f"{times.total:,} optimiser steps, {times.per_epoch:,} per epoch{again}; rate {train.schedule.name}"
            if train.schedule.warmup_steps:
                asked = f", warmup_steps is {train.schedule.warmup_steps:,}" * (rise < train.schedule.warmup_steps)
                text += f", {rise:,} of them warm-up (at most a fifth{asked})"
            numbers = {"total_steps": times.total, "steps_per_epoch": times.per_epoch, "warmup_steps": rise}
            findings.ok("schedule", text, numbers)
