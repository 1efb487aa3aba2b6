"""``--cv`` of ``eozoo eval`` and ``eozoo train``: folds are trained and scored, and differences have intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from eozoo_core.errors import ZooError

from eozoo.cli import options
from eozoo.cli.table import table

if TYPE_CHECKING:
    from eozoo_core import Run, Task

KINDS = ("places", "blocks", "fields", "stations", "months")
_SHOWN = ("rmse", "mae", "bias", "r2", "macro_f1", "accuracy", "mean_iou", "rmse_K", "loss")


def cv_options(command: Callable) -> Callable:
    """Add --cv and what goes with it."""
    for option in (
        click.option("--metric", "cv_metric", metavar="NAME",
                     help="With --cv: what is compared; left out = rmse, mean_iou, the first that there is."),
        click.option("--keep", "cv_keep", is_flag=True, help="With --cv: leave the networks of the folds."),
        click.option("--against", "cv_against", multiple=True, metavar="KEY=VALUE",
                     help="With --cv: also train with this set (model.pretrained=null); repeatable."),
        click.option("--labels", "cv_labels", default="1", metavar="A,B",
                     help="With --cv: shares of the labels, each trained on: 0.05,0.3,1."),
        click.option("--column", "cv_column", metavar="NAME", help="With --cv: column of a table that names groups."),
        click.option("--block", "cv_block", type=float, metavar="M", help="With --cv blocks: side of a square, m."),
        click.option("--distance", "cv_distance", type=float, default=0.0, metavar="M",
                     help="With --cv: least distance between test and training, m."),
        click.option("--draws", "cv_draws", type=click.IntRange(1), default=1, help="With --cv: random divisions."),
        click.option("--folds", "cv_folds", type=click.IntRange(2), default=5, help="With --cv: parts."),
        click.option("--cv", "cv_by", type=click.Choice(KINDS), help="Cross-validate: what is kept together."),
    ):  # fmt: skip
        command = option(command)
    return command


def taken(options_of_command: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `cv_options` out of those of a command. Raises UsageError for these without --cv."""
    found = {name: options_of_command.pop(name) for name in list(options_of_command) if name.startswith("cv_")}
    source = click.get_current_context().get_parameter_source
    given = [name for name in found if source(name) is ParameterSource.COMMANDLINE]
    if given and not found["cv_by"]:
        raise click.UsageError(f"--{given[0].removeprefix('cv_')} goes with --cv; add --cv places, blocks, fields ...")
    return found


def cross_validate(task: Task, run: Run, cv: dict[str, Any], as_json: bool) -> None:
    """Cross-validate the task of a run with its settings; print a table for each share of the labels."""
    from eozoo_core.settings.config import load_settings, to_dict
    from eozoo_core.task import crossval
    from eozoo_core.task.folds import Fold

    from eozoo.trained_with import parts_of

    try:
        shares = tuple(float(share) for share in cv["cv_labels"].split(","))
    except ValueError:
        raise ZooError(f"--labels {cv['cv_labels']!r}: give shares such as 0.05,0.3,1") from None
    if not all(0 < share <= 1 for share in shares):
        raise ZooError(f"--labels {cv['cv_labels']!r}: shares are above 0 and at most 1")
    if not 0 <= cv["cv_distance"] < math.inf or not 0 < (1 if cv["cv_block"] is None else cv["cv_block"]) < math.inf:
        raise ZooError("--distance and --block are metres: --distance at least 0, --block above 0")
    for option, kinds in (("block", ("blocks",)), ("column", ("fields", "stations", "months"))):
        if cv[f"cv_{option}"] is not None and cv["cv_by"] not in kinds:
            raise ZooError(
                f"--{option}: goes with --cv {' or '.join(kinds)}, not with --cv {cv['cv_by']}; leave it out"
            )
    against = {}
    if cv["cv_against"]:
        cls, base = type(task), to_dict(run.settings)
        try:
            settings = load_settings(cls.Settings, None, cv["cv_against"], base)
        except ZooError as error:
            raise ZooError(str(error).replace("--set", "--against")) from None
        against[" ".join(cv["cv_against"])] = cls(settings, task.registry)
    fold = Fold(cv["cv_by"], cv["cv_folds"], 0, 0, cv["cv_distance"], cv["cv_block"], cv["cv_column"])
    parts = [parts_of(one.registry, one, one.settings) for one in (task, *against.values())]
    code = tuple(sorted({plugin for one in parts for plugin in one.values()}))
    how = crossval.CrossValidation(fold, cv["cv_draws"], shares, against, cv["cv_keep"], cv["cv_metric"], code)
    result = crossval.cross_validate(task, run, how)
    options.echo(json.dumps(result, indent=2) if as_json else format_result(result, str(run.path)))


def format_result(result: dict[str, Any], where: str) -> str:
    """Format scores and differences as tables, one pair for each share of the labels."""
    parts, every = [], dict.fromkeys(name for one in result["shares"].values() for name in one["scores"])
    for share, one in result["shares"].items():
        scores, metric = one["scores"], one["decides"]
        metrics = [m for m in _SHOWN if m in scores["model"]]
        rows = [
            [name, *(f"{values[m]:.4g}" if m in values else "" for m in metrics)] for name, values in scores.items()
        ]
        parts += [f"{float(share):.3g} of the labels, mean of {result['draws']} draws", table(["", *metrics], rows), ""]
        if absent := [name for name in every if name not in scores]:
            parts[-1:] = [f"too few labels to fit: {', '.join(absent)}", ""]
        rows = [[name, *_difference(made, one["good"])] for name, made in one["differences"].items()]
        parts += [table([f"{metric}: model minus", "difference", "95 %", "draws won", "clusters", ""], rows), ""]
    ends = ("json", "png") if len(result["shares"]) > 1 else ("json",)
    files = [f"{where}/cv_{result['by']}.{end}" for end in ends]
    return "\n".join([f"cross-validation by {result['by']}, {where}", *parts, *files])


def _difference(made: dict[str, Any], good: int) -> list[str]:
    won = made["above"] if good > 0 else made["draws"] - made["above"]
    head = [f"{made['difference']:+.4g}"]
    tail = [f"{won} of {made['draws']}", str(made["clusters"])]
    if made["interval"] is None:
        return [*head, "", *tail, "no interval below 6 clusters"]
    low, high = sorted(good * value for value in made["interval"])
    verdict = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return [*head, f"{made['interval'][0]:+.4g} to {made['interval'][1]:+.4g}", *tail, verdict]
