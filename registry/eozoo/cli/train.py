"""``eozoo train TASK --run DIR``: train into a run directory, or go on with what is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from eozoo_core.errors import ZooError

from eozoo.builtin import from_run
from eozoo.cli import cross, options
from eozoo.cli.options import PATH
from eozoo.cli.table import json_option
from eozoo.registry import Registry

if TYPE_CHECKING:
    from eozoo_core import Plan, Run


@click.command("train")
@options.task_argument
@options.run_option
@options.settings_options
@click.option("--resume", type=PATH, metavar="CKPT", help="Start a new run from this checkpoint, everything restored.")
@click.option("--init-from", type=PATH, metavar="CKPT", help="Start from the weights in this file, nothing else.")
@click.option("--dry-run", is_flag=True, help="Print data, parameters, steps and memory, and stop.")
@json_option
@click.option("--profile", is_flag=True, help="Write a PyTorch profiler trace of a few steps into the run.")
@cross.cv_options
@options.runtime_options
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    run_dir: Path,
    preset: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    init_from: Path | None,
    dry_run: bool,
    as_json: bool,
    profile: bool,
    **runtime: Any,
) -> None:
    """Train TASK into a run directory. The same command again goes on after an interruption.

    With --cv folds of the data are trained and scored, and no network of all of them.
    """
    from eozoo_core import Run
    from eozoo_core.run.beginning import starting_from, take_weights_from, undone_if_refused
    from eozoo_core.settings.presets import given_settings
    from eozoo_core.train.launch import keep_freed_memory

    if resume is not None and init_from is not None:
        raise click.UsageError("--resume takes all of a checkpoint, --init-from its weights alone: give one of them")
    cv = cross.taken(runtime)
    if cv["cv_by"] and (dry_run or resume or init_from):
        raise click.UsageError("--cv trains every fold from the beginning: leave out --dry-run, --resume, --init-from")
    if as_json and not (dry_run or cv["cv_by"]):
        raise click.UsageError("--json goes with --dry-run; what training did stands in RUN/training_log.jsonl")
    registry = registry.within(task)
    cls, task = registry.get("task", task), registry.own.spec.name
    extra = [*options.runtime_overrides(**runtime), *(["runtime.profile=true"] if profile else [])]
    kept = None if preset or config_file else _kept(cls, task, run_dir, resume)
    settings = given_settings(cls, preset, config_file, [*overrides, *extra], kept)
    settings = from_run.settle(registry, cls, settings, run_dir)
    registry.check_slots(cls, settings)
    built = cls(settings, registry)
    if dry_run:
        with options.blame(registry, task):
            plan = built.plan(Run(run_dir, task, settings))
            options.echo(json.dumps(asdict(plan), indent=2) if as_json else _describe(plan))
        return
    run = Run.create(run_dir, task, settings, registry.own.plugin)
    keep_freed_memory()
    with options.blame(registry, task), undone_if_refused(run), options.places(run):
        options.note_parts(run, registry, cls)
        if cv["cv_by"]:
            cross.cross_validate(built, run, cv, as_json)
            return
        if init_from is not None:
            take_weights_from(run, init_from)
        with starting_from(run, resume):
            built.train(run)
    options.echo(_summary(run, built.monitor))


def _kept(cls: Any, task: str, run_dir: Path, resume: Path | None) -> dict[str, Any] | None:
    """Settings of the run that is there already, or of the checkpoint to resume; None where there is neither."""
    from eozoo_core import Run
    from eozoo_core.run.checkpoint import load_checkpoint
    from eozoo_core.run.continuity import checkpoint_settings, written_settings
    from eozoo_core.settings.config import to_dict

    if (run_dir / "config.yaml").exists():
        if (run_dir / "run.json").exists() and (found := Run.task_of(run_dir)) != task:
            raise ZooError(f"{run_dir}: is a run of {found!r}, not of {task!r}; choose another --run directory")
        return to_dict(written_settings(run_dir, cls.Settings))
    if resume is not None:
        return to_dict(checkpoint_settings(resume, load_checkpoint(resume), cls.Settings))
    return None


def _describe(plan: Plan) -> str:
    share = plan.trainable / plan.parameters if plan.parameters else 0.0
    parts = [f"{name} {_size(size)}" for name, size in plan.memory_parts.items()]
    made_of = ", ".join(parts) or "for weights, optimiser, gradients and activations"
    memory = "not known" if plan.memory_bytes is None else f"about {_size(plan.memory_bytes)} in a step: {made_of}"
    rows = {
        **plan.data,
        "parameters": f"{plan.parameters:,}, {plan.trainable:,} trainable ({share:.1%})",
        "steps": f"{plan.steps_per_epoch:,} per epoch, {plan.total_steps:,} in all",
        "memory": memory,
    }
    width = max(map(len, rows))
    return "\n".join([*(f"{name.ljust(width)}  {text}" for name, text in rows.items()), *plan.notes])


def _size(size: float) -> str:
    unit, scale = next(((unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6)) if size >= scale / 10), ("kB", 1e3))
    return f"{size / scale:.2f} {unit}" if unit == "GB" else f"{size / scale:.1f} {unit}"


def _summary(run: Run, monitor: str) -> str:
    lines = run.read_log()
    split = "val" if any(line["val"] for line in lines) else "train"  # not every epoch is validated
    scored = [line for line in lines if monitor in line[split]]
    if not scored:
        return f"trained: {run.path}"
    best = min(scored, key=lambda line: line[split][monitor])
    where = {"val": "validation", "train": "training"}[split]
    return f"best {where} {monitor} {best[split][monitor]:.5g} at epoch {best['epoch']}: {run.file('best')}"
