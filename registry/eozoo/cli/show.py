"""``eozoo show NAME``: what a task, model, dataset or loss is, before running it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import Any

import click

from eozoo.cli.complete import any_name
from eozoo.cli.table import json_option
from eozoo.registry import Registry


@click.command("show")
@click.argument("name", shell_complete=any_name)
@json_option
@click.pass_obj
def command(registry: Registry, name: str, as_json: bool) -> None:
    """Describe NAME: purpose, inputs, outputs with units, what fits, options, size, licences, citation, limits."""
    from eozoo.cards import describe

    cards = describe(registry, name)
    if as_json:
        click.echo(json.dumps(cards, indent=2))
        return
    click.echo("\n\n".join("\n".join(_lines(card)) for card in cards))


def _lines(card: dict[str, Any]) -> list[str]:
    from eozoo.cards import rows

    found = rows(card)
    width = max(len(label) for label, _ in found)
    return [f"{card['kind']} {card['name']}: {card['summary']}"] + [
        line for label, text in found for line in _row(label.ljust(width), text)
    ]


def _row(label: str, text: str) -> list[str]:
    """A labelled line, wrapped on a terminal and whole in a pipe."""
    head = f"  {label}  "
    if not sys.stdout.isatty():
        return [head + text]
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
