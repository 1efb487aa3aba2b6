"""``eozoo new NAME``: an installable plugin with a small task or network that works at once."""

from __future__ import annotations

from pathlib import Path

import click

from eozoo.cli.options import PATH
from eozoo.registry import Registry

KINDS = ("network", "samples", "regression", "segmentation", "ssl")
FORMS = ("image", "table")


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="regression", show_default=True, help="What it is.")
@click.option(
    "--for", "form", type=click.Choice(FORMS), default="image", show_default=True, help="Of a network: its data."
)
@click.option("--in", "folder", type=PATH, default=".", help="Where.  [default: here]")
@click.pass_obj
def command(registry: Registry, name: str, kind: str, form: str, folder: Path) -> None:
    """Write the folder NAME: a package of your own with the task NAME, sample data and its conformance test.

    Of the kind network it holds the network NAME_net alone, for the built-in tasks.
    """
    from eozoo.scaffold import demo_of, write_plugin

    path = write_plugin(name, kind, folder, registry, form)
    click.echo(
        f"{path}: try it with\n  pip install -e {path} && pytest {path} && eozoo demo {demo_of(name, kind, form)}"
    )
