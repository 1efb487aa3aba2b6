"""``eozoo new NAME``: an installable plugin with a small task that works at once."""

from __future__ import annotations

from pathlib import Path

import click

from eozoo.cli.options import PATH
from eozoo.registry import Registry

KINDS = ("regression", "segmentation", "ssl")


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="regression", show_default=True, help="What it learns.")
@click.option("--in", "folder", type=PATH, default=".", help="Where.  [default: here]")
@click.pass_obj
def command(registry: Registry, name: str, kind: str, folder: Path) -> None:
    """Write the folder NAME: a package of your own with the task NAME, sample data and its conformance test."""
    from eozoo.scaffold import write_plugin

    path = write_plugin(name, kind, folder, registry)
    click.echo(f"{path}: try it with\n  pip install -e {path} && pytest {path} && eozoo demo {name}")
