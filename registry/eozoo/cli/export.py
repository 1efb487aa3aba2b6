"""``eozoo export TASK --run DIR``: the trained network as a file for use without eozoo, compared with the original."""

from __future__ import annotations

from pathlib import Path

import click

from eozoo.cli.options import PATH, blame, open_task, run_option, set_option, task_argument
from eozoo.export_formats import FORMATS
from eozoo.registry import Registry


@click.command("export")
@task_argument
@run_option
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="Of the file.")
@click.option("--output", "file", type=PATH, required=True, metavar="FILE", help="What to write.")
@set_option
@click.pass_obj
def command(registry: Registry, task: str, run_dir: Path, kind: str, file: Path, overrides: tuple[str, ...]) -> None:
    """Write the network of a run: torch-export and onnx = graph and weights, safetensors = weights alone.

    The graph takes raw values, NaN = missing, in the shapes that are printed (a word is a size that is free), and gives
    what predict gives. The file says itself what goes in and comes out: names, order of bands, units.
    """
    from eozoo_core.errors import ZooError

    from eozoo.export import export

    if file.is_dir() or not file.parent.is_dir():
        raise ZooError(f"--output {file}: is a folder, or lies in none; give a file in a folder that exists")
    if kind == "torch-export" and file.suffix != ".pt2":
        raise ZooError(f"--output {file}: torch.export.load takes files that end in .pt2; name it so")
    built, run = open_task(registry, task, run_dir, list(overrides))
    with blame(built.registry, task):
        receipt = export(built, run, kind, file)
    click.echo("\n".join([*receipt, str(file)]))
