"""``eozoo check TASK``: a look at the data before training: what is there, what is odd, what leaks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eozoo.cli.options import PATH, blame, settings_options, task_argument
from eozoo.cli.table import json_option, table
from eozoo.registry import Registry

if TYPE_CHECKING:
    from eozoo_core.checking import Findings


_COLOURS = {"ok": "green", "unknown": "cyan", "warning": "yellow", "error": "red"}
_MARGIN = " " * 9


@click.command("check")
@task_argument
@settings_options
@click.option("--out", type=PATH, metavar="DIR", help="Write TASK_check.png and .json there.")
@click.option("--samples", default=200, show_default=True, help="Samples read of each split, evenly drawn; 0 = all.")
@click.option("--strict", is_flag=True, help="Warnings too give exit code 1.")
@json_option
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    preset: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    samples: int,
    strict: bool,
    as_json: bool,
) -> None:
    """Look at the data of TASK before training: bands, missing values, units, labels, leakage between splits.

    Exit code 1 where training would stop or its scores would mean nothing, else 0.
    """
    from eozoo_core.checking import Findings
    from eozoo_core.errors import ZooError
    from eozoo_core.run.written import write_text
    from eozoo_core.settings.presets import given_settings

    if out is not None and out.exists() and not out.is_dir():
        raise ZooError(f"--out {out}: is a file; give a folder")
    if samples < 0:
        raise ZooError(f"--samples {samples}: give 0 (all) or more")
    registry = registry.within(task)
    cls, task = registry.get("task", task), registry.own.spec.name
    settings = given_settings(cls, preset, config_file, overrides)
    findings = Findings(samples, settings.runtime.quiet)
    with findings.guard("settings"):
        registry.check_slots(cls, settings)
    with blame(registry, task), findings.guard("data"):
        cls(settings, registry).check(findings)
    picture = _draw(findings, task, out) if out is not None else None
    failed = findings.count("error") > 0 or (strict and findings.count("warning") > 0)
    record = _record(findings, task, failed)
    files = [] if picture is None else [picture]
    if out is not None:
        files.append(write_text(out / f"{task}_check.json", json.dumps(record, indent=2) + "\n"))
    if as_json:
        click.echo(json.dumps({**record, "files": [str(f) for f in files]}, indent=2))
    else:
        _print(findings, files)
    sys.exit(1 if failed else 0)


def _print(findings: Findings, files: list[Path]) -> None:
    for made in findings.tables:
        click.echo(f"{made.title}\n{table(list(made.columns), [list(row) for row in made.rows])}\n")
    for found in findings.found:
        level = click.style(f"{found.level:<{len(_MARGIN)}}", fg=_COLOURS[found.level])
        click.echo(f"{level}{found.subject}: {found.measured}")
        if found.remedy:
            click.echo(f"{_MARGIN}-> {found.remedy}")
    click.echo(", ".join(_counted(findings.count(level), level) for level in ("error", "warning", "unknown", "ok")))
    for file in files:
        click.echo(file)


def _counted(number: int, level: str) -> str:
    return f"{number} {level}{'s' if number != 1 and level in ('error', 'warning') else ''}"


def _draw(findings: Findings, task: str, out: Path) -> Path | None:
    """Draw the picture, where there is something to draw."""
    from eozoo_core.score.quicklook import quicklook

    if findings.preview is None:
        findings.unknown("preview", "there is no sample to draw")
        return None
    shows, draw = findings.preview
    with findings.guard("preview"):
        quicklook(draw(), out / f"{task}_check.png", f"what {task} is trained on: {shows}", columns=4)
        return out / f"{task}_check.png"
    return None


def _record(findings: Findings, task: str, failed: bool) -> dict[str, Any]:
    return {
        "task": task,
        "failed": failed,
        "counts": {level: findings.count(level) for level in _COLOURS},
        "findings": [vars(found) for found in findings.found],
        "tables": [vars(made) for made in findings.tables],
    }
