"""``eozoo show NAME``: what a task, model, dataset or loss is, before running it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from eozoo.cli.complete import any_name
from eozoo.cli.options import json_option

if TYPE_CHECKING:
    from eozoo.registry import Registry

_MARGIN = " " * 12


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
    for card in cards:
        click.echo("\n".join(_lines(card)))


def _lines(card: dict[str, Any]) -> list[str]:
    lines = [f"{card['kind']} {card['name']}: {card['summary']}"]
    lines += _row("plugin", f"{card['plugin']} ({card['licence']})")
    for field in ("purpose", "inputs"):
        lines += _row(field, card[field])
    for field in ("takes", "gives"):
        lines += [line for port in card[field] for line in _row(field, port["text"])]
    lines += [line for output, unit in card.get("outputs", {}).items() for line in _row("gives", f"{output} [{unit}]")]
    if card.get("tolerates_gaps"):
        lines += _row("gaps", f"allowed in {', '.join(card['tolerates_gaps'])}")
    for path, slot in card.get("slots", {}).items():
        lines += _row(
            path, f"{slot['now'] or 'chosen by the task'}; any {slot['kind']} that fits: {', '.join(slot['fits'])}"
        )
    lines += [
        line for step, text in card.get("prepare_steps", {}).items() for line in _row("prepare", f"{step}: {text}")
    ]
    for field in ("weights", "measured"):
        lines += _row(field, card[field])
    for source in card["sources"]:
        hashed = f"sha256 {source['sha256'] or 'unknown'}, licence {source['licence'] or 'unknown'}"
        lines += _row("weights", f"{source['url']} ({hashed}); eozoo weights fetch {card['name']}")
    lines += [line for limit in card["limits"] for line in _row("limit", limit)]
    if card["kind"] != "task" and "options" in card:
        options = [name if default is None else f"{name}={default}" for name, default in card["options"].items()]
        lines += _row("options", ", ".join(options) or "none")
    if card.get("parameters") is not None:
        lines += _row("size", f"{card['parameters']:,} parameters at these options")
    lines += _row("needs", ", ".join(card["needs"]))
    lines += _row("source", card["citation"])
    lines += _row("problem", card.get("problem", ""))
    return lines + (_row("settings", f"eozoo config {card['name']}") if card["kind"] == "task" else [])


def _row(label: str, text: str) -> list[str]:
    """A labelled line, wrapped on a terminal and whole in a pipe; nothing where there is no text."""
    if not text:
        return []
    head = f"  {label.ljust(9)} "
    if not sys.stdout.isatty():
        return [head + text]
    width = max(60, shutil.get_terminal_size().columns)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=_MARGIN)
