"""``eozoo eval TASK --run DIR``: score a run beside simple baselines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from eozoo.cli.options import (
    blame,
    echo,
    json_option,
    open_task,
    run_option,
    runtime_options,
    runtime_overrides,
    set_option,
    table,
    task_argument,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Target

    from eozoo.registry import Registry


@click.command("eval")
@task_argument
@run_option
@click.option("--split", default="test", show_default=True, help="Which split to score.")
@set_option
@json_option
@runtime_options
@click.pass_obj
def command(
    registry: Registry,
    task: str,
    run_dir: Path,
    split: str,
    overrides: tuple[str, ...],
    as_json: bool,
    **runtime: Any,
) -> None:
    """Score a run of TASK on a split; simple baselines stand beside it. Writes RUN/eval_SPLIT.json."""
    built, run = open_task(registry, task, run_dir, [*overrides, *runtime_overrides(**runtime)])
    run.note_changes()
    with blame(registry, task):
        scores = built.evaluate(run, split)
    file = run.write_scores(split, scores)
    if as_json:
        echo(json.dumps({"split": split, "run": str(run.path), "file": str(file), "scores": scores}, indent=2))
        return
    echo(f"{split} split, {run.path}\n{format_scores(scores, built.targets())}\n{file}")


def format_scores(scores: Scores, targets: Mapping[str, Target]) -> str:
    """Format scores as a table: a metric per row, a predictor per column; then what the task wants of the model."""
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    rows = [[m, *(f"{v[m]:.5g}" if m in v else "" for v in scores.values())] for m in metrics]
    model, columns = scores.get("model", {}), ["", *scores]
    if wanted := {name: target for name, target in targets.items() if name in model}:
        columns.append("target of the model")
        rows = [[*row, wanted[row[0]].verdict(model[row[0]]) if row[0] in wanted else ""] for row in rows]
    return table(columns, rows)
