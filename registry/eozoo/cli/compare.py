"""``eozoo compare RUN RUN...``: which settings differ, and whether the scores do by more than chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from eozoo.cli.options import PATH
from eozoo.cli.table import json_option, table

_NOTE = (
    "No interval and no test below 6 members: too few say nothing about chance. Compare folders of runs, one per seed."
)


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--split", default="test", show_default=True, help="Which eval_SPLIT.json to read.")
@click.option("--html", "page", type=PATH, help="Also write this page.")
@json_option
def command(runs: tuple[Path, ...], split: str, page: Path | None, as_json: bool) -> None:
    """Compare RUNS with the first of them. A folder of runs (one per seed or place) counts as one, paired by name."""
    from eozoo_core.errors import ZooError

    from eozoo.comparison import compare

    if len({path.resolve() for path in runs}) < 2 or len(set(runs)) < len(runs):
        raise ZooError("compare needs two runs or more, each once")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise ZooError(f"--html {page}: give a name that ends in .html; what is there would be replaced")
    found = compare(list(runs), split)
    tables = _tables(found)
    if page is not None:
        from eozoo_core.score.report import Table, Text, write_report

        sections = {title: [Table(columns, rows)] for title, columns, rows in tables}
        write_report(page, f"{found['task']}: comparison", {**sections, "Members": [Text(_NOTE)]})
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for title, columns, rows in tables:
        click.echo(f"{title}\n{table(columns, rows) if rows else 'none'}\n")
    click.echo(_NOTE if page is None else str(page))


def _tables(found: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    names = list(found["runs"])
    settings = [[key, *(_text(values[name]) for name in names)] for key, values in found["settings"].items()]
    metrics = dict.fromkeys(metric for run in found["runs"].values() for metric in run["metrics"])
    scores = [[m, *(_score(found["runs"][name]["metrics"].get(m)) for name in names)] for m in metrics]
    made = [
        ("Settings that differ", ["setting", *names], settings),
        (f"Scores on {found['split']}: mean [95 % interval over members]", ["metric", *names], scores),
    ]
    for name, pairs in found["paired"].items():
        if name in found["unlike"]:
            made.append((f"{name} minus {names[0]}: {found['unlike'][name]}", [], []))
            continue
        rows = [
            [metric, str(p["pairs"]), f"{p['difference']:+.5g}", _range(p["interval"]), _p(p["p"])]
            for metric, p in pairs.items()
        ]
        title = f"{name} minus {names[0]}, paired by member"
        made.append((title, ["metric", "pairs", "difference", "95 % interval", "p (sign flip)"], rows))
    return made


def _score(value: dict[str, Any] | None) -> str:
    return "" if value is None else f"{value['mean']:.5g} {_range(value['interval'])}".rstrip()


def _range(interval: Any) -> str:
    return "" if interval is None else f"[{interval[0]:.5g}, {interval[1]:.5g}]"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
