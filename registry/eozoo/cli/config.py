"""``eozoo config TASK``: every setting of a task, commented, ready to edit."""

from __future__ import annotations

import json
from pathlib import Path

import click

from eozoo.cli.options import settings_options, task_argument
from eozoo.cli.table import json_option
from eozoo.registry import Registry


@click.command("config")
@task_argument
@settings_options
@json_option
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    preset: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print all settings of TASK as commented YAML; with --preset, --config or --set, as changed by them."""
    from eozoo_core.settings.config import to_dict, to_yaml
    from eozoo_core.settings.presets import given_settings

    settings = given_settings(registry.get("task", task), preset, config_file, overrides)
    if as_json:
        click.echo(json.dumps(to_dict(settings), indent=2))
    else:
        click.echo(to_yaml(settings), nl=False)
