"""``eozoo weights``: where the weights of models are published, and fetching and checking them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from eozoo.cli.complete import any_name
from eozoo.cli.options import PATH
from eozoo.cli.table import json_option, table
from eozoo.registry import Registry


@click.group("weights")
def command() -> None:
    """Show, fetch and verify published weights. Settings take local paths; nothing is fetched unless asked here."""


@command.command("list")
@json_option
@click.pass_obj
def show(registry: Registry, as_json: bool) -> None:
    """List the published files of every model and task, and which of them are in the cache."""
    from eozoo_core.run.published import place, receipt
    from eozoo_core.run.user_cache import user_cache

    from eozoo.weights import listed

    records = [
        {
            "model": name,
            **vars(source),
            "sha256": source.sha256 or (receipt(name, source) or {}).get("sha256"),
            "path": str(place(name, source)),
            "cached": place(name, source).exists(),
        }
        for name, source in listed(registry)
    ]
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    if sys.stdout.isatty():
        click.echo("\n".join(line for record in records for line in _block(record)))
        click.echo(f"cache: {user_cache()}")
        return
    columns = ("model", "file", "revision", "bytes", "sha256", "licence", "cached", "url")
    rows = [[_text(record[column]) for column in columns] for record in records]
    click.echo(table(list(columns), rows) if rows else "no installed model or task names published weights")


@command.command("fetch")
@click.argument("name", shell_complete=any_name)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.pass_obj
def fetch(registry: Registry, name: str, quiet: bool) -> None:
    """Download the published weights of NAME, a model or task, into the cache and print their paths."""
    from eozoo_core.run.progress import progress_bar
    from eozoo_core.run.published import verify as check

    from eozoo import weights

    name, found = weights.sources(registry, name)
    for source in found:
        with progress_bar(source.file, None, "MB", quiet) as bar:
            path = weights.fetch(name, source, lambda done, total: bar.update(done >> 20, _of(total)))
        click.echo(f"{path}  sha256 {check(name, source)['sha256']}")


@command.command("verify")
@click.argument("name", required=False, shell_complete=any_name)
@click.option("--file", type=PATH, help="A file elsewhere instead of the cache's; needs NAME.")
@json_option
@click.pass_obj
def verify(registry: Registry, name: str | None, file: Path | None, as_json: bool) -> None:
    """Hash what is in the cache, of one model or all, and compare; exit code 1 where a file is wrong or missing."""
    from eozoo_core.errors import ZooError
    from eozoo_core.run.published import place
    from eozoo_core.run.published import verify as check
    from eozoo_core.run.user_cache import user_cache

    from eozoo import weights

    if file is not None and name is None:
        raise ZooError("--file: name the model whose weights it holds, too")
    if name is not None:
        name, found = weights.sources(registry, name)
        todo = [(name, source) for source in found]
    else:
        todo = [(model, source) for model, source in weights.listed(registry) if place(model, source).exists()]
    if file is not None and len(todo) > 1:  # several files: the one that is called so
        todo = [(model, source) for model, source in todo if source.file == file.name] or todo[:1]
    records = []
    for model, source in todo:
        try:
            seen = check(model, source, file)
            found = {"ok": True, "sha256": seen["sha256"]}
        except ZooError as error:
            found = {"ok": False, "problem": str(error)}
        records.append({"model": model, "file": source.file, **found})
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        for record in records:
            good = record["ok"]
            text = f"sha256 {record['sha256']}" if good else record["problem"]
            state = "ok" if good else "wrong"
            click.secho(f"{state:<6}{record['model']}/{record['file']}: {text}", fg=None if good else "red")
        if not records:
            click.echo(f"nothing in {user_cache()}")
    sys.exit(0 if all(record["ok"] for record in records) else 1)


def _block(record: dict[str, Any]) -> list[str]:
    """One file in three lines that fit on a narrow terminal."""
    known = [f"{name} {_text(record[name])}" for name in ("licence", "bytes", "sha256")]
    where = "in the cache" if record["cached"] else "not in the cache"
    return [
        f"{record['model']}: {record['file']}, revision {_text(record['revision'])}, {where}",
        f"  {', '.join(known)}",
        f"  {record['url']}",
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _of(total: int | None) -> str:
    return "" if total is None else f"of {total >> 20} MB"
