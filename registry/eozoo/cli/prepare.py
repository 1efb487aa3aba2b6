"""``eozoo prepare TASK [STEP]``: from raw products to training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eozoo.cli.options import blame, config_option, echo, set_option, task_argument

if TYPE_CHECKING:
    from pathlib import Path

    from eozoo.registry import Registry


@click.command("prepare")
@task_argument
@click.argument("step", required=False)
@config_option
@set_option
@click.pass_obj
def command(
    registry: Registry, task: str, step: str | None, config_file: Path | None, overrides: tuple[str, ...]
) -> None:
    """Run preparation STEP of TASK; without STEP, list the steps. Settings: --set prepare..."""
    from eozoo_core.config import load_settings

    cls = registry.get("task", task)
    if step is None:
        for name, line in cls.prepare_steps.items():
            click.echo(f"{name}  {line}")
        if not cls.prepare_steps:
            click.echo(f"{task} has no preparation steps: its README says what data it reads")
        return
    settings = load_settings(cls.Settings, config_file, overrides)
    registry.check_slots(cls, settings, "prepare.")
    with blame(registry, task):
        for path in cls(settings, registry).prepare(step):
            echo(path)
