"""``eozoo infer TASK --run DIR --input SRC --output DST``: predict with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eozoo.cli import options
from eozoo.cli.options import PATH
from eozoo.cli.sources import source_options
from eozoo.registry import Registry

if TYPE_CHECKING:
    from eozoo_core.sources.search import Search


@click.command("infer")
@options.task_argument
@options.run_option
@source_options
@click.option("--output", "dest", type=PATH, required=True, metavar="DST", help="Output folder.")
@click.option("--format", "form", type=click.Choice(["cog", "zarr"]), help="Of the maps; cog = GeoTIFF, the default.")
@click.option("--strict", is_flag=True, help="End with the first scene that fails; else the others go on.")
@click.option("--dry-run", is_flag=True, help="Say what it would take, measured on some windows.")
@options.workers_options
@options.set_option
@options.runtime_options
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    run_dir: Path,
    source: Path | Search,
    dest: Path,
    form: str | None,
    strict: bool,
    dry_run: bool,
    workers: int | None,
    dask: str | None,
    overrides: tuple[str, ...],
    **runtime: Any,
) -> None:
    """Predict for SRC with a trained run of TASK; the files written are printed."""
    from eozoo_core.errors import ZooError
    from eozoo_core.sources.names import expand
    from eozoo_core.task.infer import Unfinished
    from eozoo_core.train.launch import keep_freed_memory

    is_path = isinstance(source, Path)
    if is_path:
        expand(source)
    if dest.exists() and not dest.is_dir():
        raise ZooError(f"--output {dest}: is a file; give a folder")
    if is_path and source.is_dir() and source.resolve() == dest.resolve():
        raise ZooError(f"--output {dest}: is the folder of the input, whose files maps would join; give another folder")
    given = [*overrides, *options.runtime_overrides(**runtime), *options.workers_overrides("infer", workers, dask)]
    given += ["infer.strict=true"] if strict else []
    given += [f"infer.format={form}"] if form else []
    built, run = options.open_task(registry, task, run_dir, given)
    run.note_changes()
    keep_freed_memory()
    with options.blame(built.registry, task):
        if dry_run:
            for line in built.forecast(run, source, dest):
                options.echo(line)
            return
        try:
            written = built.infer(run, source, dest)
        except Unfinished as error:
            for path in error.written:
                options.echo(path)
            raise
        for path in written:
            options.echo(path)
