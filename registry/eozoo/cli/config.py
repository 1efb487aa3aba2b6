"""``eozoo config TASK``: every setting of a task, commented, ready to edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eozoo.cli.options import config_option, set_option, task_argument

if TYPE_CHECKING:
    from pathlib import Path

    from eozoo.registry import Registry


@click.command("config")
@task_argument
@config_option
@set_option
@click.pass_obj
def command(registry: Registry, task: str, config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings of TASK as commented YAML; with --config or --set, as changed by them."""
    from eozoo_core.config import load_settings, to_yaml

    settings = load_settings(registry.get("task", task).Settings, config_file, overrides)
    click.echo(to_yaml(settings), nl=False)
