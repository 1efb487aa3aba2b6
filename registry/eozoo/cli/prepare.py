"""``eozoo prepare TASK [STEP]``: from raw products to training data."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from eozoo.cli.options import blame, echo, settings_options, task_argument, workers_options, workers_overrides
from eozoo.cli.table import json_option
from eozoo.registry import Registry


@click.command("prepare")
@task_argument
@click.argument("step", required=False)
@settings_options
@workers_options
@json_option
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    step: str | None,
    preset: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **shared: Any,
) -> None:
    """Run preparation STEP of TASK; without STEP, list the steps. Settings: --set prepare..."""
    from eozoo_core.settings.presets import given_settings

    registry = registry.within(task)
    cls = registry.get("task", task)
    if step is None and as_json:
        click.echo(json.dumps(cls.prepare_steps, indent=2))
        return
    if step is None:
        for name, line in cls.prepare_steps.items():
            click.echo(f"{name}  {line}")
        if not cls.prepare_steps:
            click.echo(f"{task} has no preparation steps: its README says what data it reads")
        return
    settings = given_settings(cls, preset, config_file, (*overrides, *workers_overrides("prepare", **shared)))
    registry.check_slots(cls, settings, "prepare.")
    # What a step tells is for people: with --json it must not stand before the JSON.
    with blame(registry, task), redirect_stdout(sys.stderr) if as_json else nullcontext():
        files = cls(settings, registry).prepare(step)
    if as_json:
        echo(json.dumps([str(file) for file in files], indent=2))
        return
    for path in files:
        echo(path)
