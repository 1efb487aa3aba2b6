"""Cross-validation of any task: folds are trained and scored, and the model stands beside every baseline."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.checking.design import SPLITS
from eozoo_core.errors import ZooError
from eozoo_core.run.beginning import take_weights_from
from eozoo_core.run.continuity import contents
from eozoo_core.run.directory import Run
from eozoo_core.run.parsed import read_object
from eozoo_core.run.progress import progress_bar
from eozoo_core.score.label_curve import draw_label_curve
from eozoo_core.score.paired import Pooled, paired_difference, pooled_scores
from eozoo_core.settings.config import to_dict
from eozoo_core.task.contract import Contract
from eozoo_core.task.data import in_groups
from eozoo_core.task.evaluate import AT_FOREST, Evaluation
from eozoo_core.task.folds import Fold, clusters_of, folded
from eozoo_core.task.made_from import seen, versions_of
from eozoo_core.task.members import train_all
from eozoo_core.task.predict import open_draws
from eozoo_core.task.references import fit_beside
from eozoo_core.words import counted

if TYPE_CHECKING:
    from eozoo_core.task.baselines import Baseline

# metric -> 1 where more is better, -1 where less is
DECIDES = {"rmse": -1, "rmse_K": -1, "mean_iou": 1, "macro_f1": 1, "accuracy": 1, "mae": -1, "loss": -1}
MOST_CLUSTERS = 200  # more are joined at random, so that resampling stays quick


@dataclass(frozen=True)
class CrossValidation:
    """``fold``: what is divided, of its first fold and draw. shares: of the labels, from few to all. against: other
    tasks, trained on the same folds. keep: leave the networks of the folds. metric: what is compared; None = the first
    of `DECIDES` that is there. code: names and versions of the plugins whose parts the tasks use, beside their own.
    """

    fold: Fold
    draws: int = 1
    shares: tuple[float, ...] = (1.0,)
    against: dict[str, Contract] | None = None
    keep: bool = False
    metric: str | None = None
    code: tuple[str, ...] = ()


def cross_validate(task: Contract, run: Run, how: CrossValidation) -> dict[str, Any]:
    """Train and score every fold of every draw at every share of the labels; return and write RUN/cv_BY.json.

    A fold that was finished before, of the same settings, data and code, is not done again. Returns "shares": for each
    share the "scores" (predictor -> metric -> mean over draws), "over_draws" (predictor -> the metric that "decides" in
    every draw), "differences" (model minus predictor in that metric, see `paired_difference`), and
    "differences_of_others", the same of each of ``against``; of several shares RUN/cv_BY.png has the curve. Raises
    ZooError for data that cannot be divided so, and after the first fold for a metric that the task does not have.
    """
    with run.writing():
        return _cross_validate(task, run, how)


def _cross_validate(task: Contract, run: Run, how: CrossValidation) -> dict[str, Any]:
    folder, others = run.path / f"cv_{how.fold.by}", {"model": task, **(how.against or {})}
    todo = [(share, draw, k) for share in how.shares for draw in range(how.draws) for k in range(how.fold.folds)]
    parts: dict[tuple[float, int], list[dict[str, Any]]] = {}
    compute: Callable | None = None
    made_with = {name: _made_with(one, run, how) for name, one in others.items()}
    with progress_bar("folds", len(todo), "folds", task.settings.runtime.quiet) as bar:
        for done, (share, draw, k) in enumerate(todo):
            fold = replace(how.fold, number=k, draw=draw, labels=share)
            path = folder / f"labels_{share:g}_draw_{draw}_fold_{k}"
            found = {
                name: _scored(one, run, path / ("model" if i == 0 else f"against_{i}"), fold, how.keep, made_with[name])
                for i, (name, one) in enumerate(others.items())
            }
            part = _joined(found)
            if compute is None:
                compute = task.metrics(task.Survey.model_validate(part["survey"])).compute
                if how.metric is not None:
                    _deciding(compute(np.sum(part["sums"]["model"], axis=0)), how.metric)
            parts.setdefault((share, draw), []).append(part)
            bar.update(done + 1, f"labels {share:g}, draw {draw}, fold {k}")
    result = {"by": how.fold.by, "fold": asdict(how.fold), "draws": how.draws, "shares": {}}
    for share in how.shares:
        draws = [_pool(parts[share, draw]) for draw in range(how.draws)]
        result["shares"][f"{share:g}"] = _summary(draws, compute, how.metric, [*others][1:])
    run.write_json(f"cv_{how.fold.by}.json", result)
    if len(how.shares) > 1:
        _draw_curve(result, run.path / f"cv_{how.fold.by}.png")
    return result


def _draw_curve(result: dict[str, Any], path: Path) -> None:
    shares = sorted(result["shares"], key=float)
    found = [result["shares"][share] for share in shares]
    names = dict.fromkeys(name for one in reversed(found) for name in one["over_draws"])  # few labels fit fewer
    scores = {name: [one["over_draws"].get(name, []) for one in found] for name in names}
    title = f"cross-validation by {result['by']}, {counted(result['draws'], 'draws')}"
    draw_label_curve([float(share) for share in shares], scores, found[0]["decides"], title, path)


def _made_with(task: Contract, run: Run, how: CrossValidation) -> list[Any]:
    """Return what folds depend on beside their settings: data, files that settings name, first weights, the code."""
    folded(task, how.fold)  # refused here, in the words of --cv
    whole = task.folded(how.fold) or task
    data = [whole.data(split) for split in SPLITS if whole.has_split(split)]
    files = sorted({str(file): seen(file) for one in data for file in one.files}.items())
    start = run.info().get("init_from", {}).get("sha256")
    return [files, contents(task.settings), start, versions_of(task), f"torch {version('torch')}", *how.code]


def _scored(task: Contract, run: Run, path: Path, fold: Fold, keep: bool, made_with: list[Any]) -> dict[str, Any]:
    """Return what one fold's test came to, from its file where that is there and was made with the same."""
    settings, first = task.settings, path.name == "model"  # the others have its baselines
    made = {"train": settings.train.model_copy(update={"seed": settings.train.seed + fold.draw})}
    if hasattr(settings.runtime, "cache_dir"):
        made["runtime"] = settings.runtime.model_copy(update={"cache_dir": str(path / "features")})
    if not first:
        made["eval"] = settings.eval.model_copy(update={"baselines": ()})
    one = folded(type(task)(settings.model_copy(update=made), task.registry), fold)
    file = path.with_name(f"{path.name}.json")
    fixed = {scope: to_dict(one.settings)[scope] for scope in ("model", "data", "train", "eval")}
    stamp = hashlib.sha256(json.dumps([fixed, asdict(fold), made_with], default=str).encode()).hexdigest()
    if file.exists() and (found := read_object(file, "delete it")).get("stamp") == stamp:
        return found
    begun = path / "stamp.txt"
    if path.exists() and not (begun.exists() and begun.read_text(encoding="utf-8") == stamp):
        shutil.rmtree(path)  # of other settings, or killed at once
    child = Run.create(path, run.task, one.settings, run.info().get("plugin", ""))
    child.write_text("stamp.txt", stamp)
    if first and (start := run.info().get("init_from")):
        take_weights_from(child, Path(start["file"]))
    try:
        train_all(one, child, scored=False)
        found = {"stamp": stamp, **_sums(one, child, fold, fit_beside if first else None)}
    except ZooError as error:
        few = f" (--labels {fold.labels:g} may leave too few to train on)" if fold.labels < 1 else ""
        raise ZooError(f"fold {fold.number} of draw {fold.draw}: {error}{few}") from None
    run.write_json(str(file.relative_to(run.path)), found)
    if not keep:
        shutil.rmtree(path)
    return found


def _sums(task: Contract, run: Run, fold: Fold, fit: Callable | None) -> dict[str, Any]:
    """Score the test of a fold, cluster by cluster; return names of clusters and the sums of every predictor.

    fit: makes further baselines.
    """
    draws = open_draws(task, run, "eval", every=True)
    data = task.data("test").settled(draws.survey)
    more: dict[str, Baseline] = fit(task, draws.survey) if fit else {}
    evaluation = Evaluation(task, draws.systems, draws.survey, run=run, more=more)
    names = np.array([str(name) for name in clusters_of(data, fold)])
    if len(set(names)) > MOST_CLUSTERS:
        names = np.array([str(int(hashlib.sha256(n.encode()).hexdigest(), 16) % MOST_CLUSTERS) for n in names])
    found: dict[str, list[list[float]]] = {}
    clusters, before = [], evaluation.sums
    for name in np.unique(names):
        for group in in_groups(data, np.flatnonzero(names == name).tolist()):
            evaluation.add(data.items(group), draws.device)
        now = evaluation.sums
        for predictor, sums in now.items():
            found.setdefault(predictor, []).append((sums - before[predictor]).tolist())
        clusters, before = [*clusters, str(name)], now
    survey = draws.survey.model_dump(mode="json")
    kept = [name for name in found if not name.startswith("member ") and (name != AT_FOREST or np.any(found[name]))]
    return {"clusters": clusters, "sums": {name: found[name] for name in kept}, "survey": survey}


def _joined(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put the models of other settings beside the first, with its baselines."""
    first = found["model"]
    for name, one in found.items():
        if one["clusters"] != first["clusters"]:
            raise ZooError(f"cross-validation: {name} was scored on other samples; its data settings must be the same")
    return {**first, "sums": first["sums"] | {name: one["sums"]["model"] for name, one in found.items()}}


def _pool(parts: Sequence[dict[str, Any]]) -> Pooled:
    """Put the folds of a draw together: each cluster once, where it was in one test."""
    names = sorted({name for part in parts for name in part["clusters"]})
    shared = set.intersection(*(set(part["sums"]) for part in parts))
    sums = {}
    for predictor in (name for name in parts[0]["sums"] if name in shared):
        widths = {np.shape(part["sums"][predictor])[1] for part in parts}
        if len(widths) > 1:
            raise ZooError("cross-validation: the folds' training knows different classes; name them in data.classes")
        sums[predictor] = np.zeros((len(names), widths.pop()))
        for part in parts:
            np.add.at(sums[predictor], np.searchsorted(names, part["clusters"]), np.array(part["sums"][predictor]))
    return Pooled(tuple(names), sums)


def _deciding(scores: Mapping[str, Any], metric: str | None) -> str:
    """Return ``metric``, or the first that decides. Raises ZooError where ``scores`` have none such."""
    known = [name for name in DECIDES if isinstance(scores.get(name), int | float)]
    if not known:
        raise ZooError(f"cross-validation: the tests have none of {', '.join(DECIDES)}; there is nothing to compare")
    if metric not in (None, *known):
        raise ZooError(f"--metric {metric}: is none of this task; {' or '.join(known)} can be compared")
    return metric or known[0]


def _summary(draws: Sequence[Pooled], compute: Callable, metric: str | None, against: Sequence[str]) -> dict[str, Any]:
    scores = pooled_scores(draws, compute)
    metric = _deciding(scores["model"], metric)
    made = {name: _differences(draws, name, scores, metric, compute) for name in ("model", *against)}
    each = {name: [compute(draw.sums[name].sum(axis=0)).get(metric) for draw in draws] for name in scores}
    each = {name: [value for value in values if value is not None] for name, values in each.items()}
    return {
        "decides": metric,
        "good": DECIDES[metric],
        "scores": scores,
        "differences": made.pop("model"),
        "differences_of_others": made,
        "over_draws": {name: values for name, values in each.items() if values},
    }


def _differences(draws: Sequence[Pooled], one: str, scores: dict, metric: str, compute: Callable) -> dict[str, Any]:
    """Return predictor -> ``one`` minus it, each on the labels of both."""
    mine, some = dict.fromkeys(scores, one), AT_FOREST in scores
    if some and one == "model":
        mine["forest"] = AT_FOREST
    elif some:  # a forest that is asked for some labels, and nobody but the model is scored on those alone
        del mine["forest"]
    return {
        name: paired_difference(draws, own, name, metric, compute)
        for name, own in mine.items()
        if name not in (one, AT_FOREST) and metric in scores[name]
    }
