"""``eozoo eval TASK --run DIR``: score a run beside simple baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eozoo.cli import cross, options
from eozoo.cli.table import json_option, table
from eozoo.registry import Registry

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Target


@click.command("eval")
@options.task_argument
@options.run_option
@click.option("--split", default="test", show_default=True, help="Which split to score.")
@options.set_option
@cross.cv_options
@json_option
@options.runtime_options
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
    """Score a run of TASK on a split; simple baselines stand beside it. Writes RUN/eval_SPLIT.json.

    With --cv the settings of the run are trained again on folds of its data, and scored on each.
    """
    from eozoo_core.run.progress import print_message
    from eozoo_core.run.read_only import writable

    cv = cross.taken(runtime)
    if cv["cv_by"] and click.get_current_context().get_parameter_source("split") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--split does not go with --cv, which scores the test part of every fold; leave one out")
    built, run = options.open_task(registry, task, run_dir, [*overrides, *options.runtime_overrides(**runtime)])
    if cv["cv_by"]:
        with options.blame(built.registry, task), options.places(run):
            cross.cross_validate(built, run, cv, as_json)
        return
    run.note_changes()
    with options.blame(built.registry, task), options.places(run), writable(run) as (place, reason):
        scores = built.score(place, split)
        classes = class_text(place, split)
    file = None if reason else str(run.write_scores(split, scores, built.scored_on(run, split)))
    if as_json:
        options.echo(json.dumps({"split": split, "run": str(run.path), "file": file, "scores": scores}, indent=2))
    else:
        shown = f"{split} split, {run.path}\n{format_scores(scores, built.targets())}{classes}"
        options.echo(shown + (f"\n{file}" if file else ""))
    if reason:
        print_message(f"{run.path}: cannot be written ({reason}); the scores are shown and not kept")


# metric, the first that is there -> its good sign
_DECIDES = {"rmse": -1, "rmse_K": -1, "mean_iou": 1, "macro_f1": 1, "accuracy": 1}
_OWN = ("floored", "maps", "member ", "model ")  # what is the model's too


def class_text(run: Run, split: str) -> str:
    """Return the table of classes that an evaluation just wrote; "" where its labels are no classes."""
    file = run.path / f"eval_{split}" / "classes.txt"
    return f"\n\n{file.read_text(encoding='utf-8')}" if file.is_file() else ""


def format_scores(scores: Scores, targets: Mapping[str, Target]) -> str:
    """Format scores as a table: a metric per row, a predictor per column; then what the task wants of the model.

    A line below says so where ridge regression, a forest or another predictor is better than the model.
    """
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    rows = [[m, *(f"{v[m]:.5g}" if m in v else "" for v in scores.values())] for m in metrics]
    model, columns = scores.get("model", {}), ["", *scores]
    if wanted := {name: target for name, target in targets.items() if name in model}:
        columns.append("target of the model")
        rows = [[*row, wanted[row[0]].verdict(model[row[0]]) if row[0] in wanted else ""] for row in rows]
    return "\n".join([table(columns, rows), *better_than_model(scores)])


def better_than_model(scores: Scores) -> list[str]:
    """Return a line for every predictor beside the model, its members and maps aside, that is better.

    A forest is compared with the model at the labels that it was asked for.
    """
    from eozoo_core.task.evaluate import AT_FOREST

    metric = next((name for name in _DECIDES if name in scores.get("model", {})), "")
    found = []
    for name, values in scores.items():
        model = scores.get(AT_FOREST if name == "forest" else "model", scores.get("model", {}))
        gain = _DECIDES.get(metric, 0) * (values.get(metric, model.get(metric, 0)) - model.get(metric, 0))
        if gain > 0 and not name.startswith(_OWN):
            numbers = f"{metric} {values[metric]:.5g}, the model {model[metric]:.5g}"
            found.append(f"{name} is better than the model by {gain:.3g} ({numbers})")
    return found
