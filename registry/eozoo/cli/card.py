"""``eozoo card NAME``: the facts of ``show`` as a file for others, Markdown or a STAC item."""

from __future__ import annotations

import json
from pathlib import Path

import click

from eozoo.cli.complete import any_name
from eozoo.cli.options import PATH
from eozoo.registry import Registry


@click.command("card")
@click.argument("name", shell_complete=any_name)
@click.option("--stac", is_flag=True, help="A STAC item with the machine-learning-model extension, of a task or model.")
@click.option("--run", "run_dir", type=PATH, metavar="DIR", help="Describe what was trained here.")
@click.option("--out", type=PATH, metavar="FILE", help="Write it; the default is to print it.")
@click.pass_obj
def command(registry: Registry, name: str, stac: bool, run_dir: Path | None, out: Path | None) -> None:
    """Write a model card of NAME: Markdown, or with --stac a STAC item (JSON).

    With --run it describes the trained weights: their hashes, statistics of the bands, versions, place, scores.
    """
    from eozoo_core.errors import ZooError

    from eozoo.cards import describe, markdown

    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ZooError(f"--out {out}: is a folder, or lies in none; give a file in a folder that exists")
    run = None
    if run_dir is not None:
        from eozoo_core import Run

        from eozoo.trained_with import registry_of

        registry = registry_of(registry, name, run_dir)
        task = registry.get("task", registry.own.qualified)
        run = Run.open(run_dir, task.Settings, registry.own.spec.name)
        name = registry.own.qualified
    cards = describe(registry, name, run)
    if stac:
        from eozoo.stac import make_item

        text = json.dumps(make_item(cards, out), indent=2, allow_nan=False) + "\n"
    else:
        text = markdown(cards)
    if out is None:
        click.echo(text, nl=False)
        return
    from eozoo_core.run.written import write_text

    click.echo(write_text(out, text))
