"""``eozoo eval prithvi_refine``: the model, its input and simple refiners; in all, per month, biome and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.run.written import write_picture
from eozoo_core.score.report import Picture, Table, Text, write_report
from eozoo_core.task.contract import Target
from eozoo_core.task.ensemble import member_runs
from eozoo_core.task.evaluate import Evaluation, combined
from eozoo_core.task.predict import open_draws

from eozoo_prithvi_refine.pictures import grid
from eozoo_prithvi_refine.scoring import RefineScores

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Contract

TARGETS = {  # the document's table of quality metrics
    "ndvi_rmse": Target(0.05, "vegetation index consistency"),
    "evi_rmse": Target(0.05, "enhanced vegetation index"),
    "sam": Target(0.1, "spectral angle, rad"),
    "identity_l1": Target(0.05, "change of the input, reflectance"),
    "identity_edge_l1": Target(0.02, "change of the input's edges, reflectance per px"),
}
_BETTER_HIGH = ("psnr", "ssim")
Groups = dict[str, dict[str, dict[str, float]]]  # group -> predictor -> metric -> value


def evaluate(task: Contract, run: Run, split: str) -> Scores:
    """Score best.pt on ``split``; see ``Task.evaluate``. Writes eval_SPLIT/report.html, groups.json and panels.png."""
    tiles, draws = task.data(split), open_draws(task, run, "eval")
    criterion = task.loss(draws.survey).criterion
    evaluation = Evaluation(task, draws.systems, draws.survey, lambda: RefineScores(criterion, with_ssim=True))
    groups: dict[str, list[int]] = {}
    rows, ports = [], next(iter(draws.systems.values())).outputs
    shown = set(np.linspace(0, len(tiles) - 1, min(task.settings.eval.panels, len(tiles))).astype(int).tolist())
    for i in range(len(tiles)):
        batch = tiles.items([i])
        found = evaluation.add(batch, draws.device)
        for name in (f"month {int(batch['month'][0]):02d}", f"biome {int(batch['biome'][0]):02d}"):
            groups.setdefault(name, []).append(i)
        if place := tiles.place(i):
            groups.setdefault(f"place {place}", []).append(i)
        if i in shown:
            refined = found[0] if len(found) == 1 else combined(found, ports)
            rows.append((batch["opt_v1"][0], refined["refined"][0].float().cpu().numpy(), batch["target"][0]))
    results, by_group = evaluation.compute(), grouped(evaluation, dict(sorted(groups.items())))
    _write(task, run, split, (results, by_group), rows)
    return results


def grouped(evaluation: Evaluation, groups: dict[str, list[int]]) -> Groups:
    """Return the metrics of the tiles of each group, by predictor."""
    scores = evaluation.metrics
    return {
        group: {name: one.compute(sum(one.tiles[i] for i in members)) for name, one in scores.items()}
        for group, members in groups.items()
    }


def _write(task: Contract, run: Run, split: str, found: tuple[Scores, Groups], rows: list[Any]) -> None:
    folder, (results, groups) = run.path / f"eval_{split}", found
    run.write_json(f"eval_{split}/groups.json", groups)
    sections: dict[str, list] = {
        "Scores": [_scores_table(results)],
        "Targets of the document": [_targets_table(results["model"])],
        "By month and biome": [_groups_table(groups)],
    }
    if member_runs(run, task.settings)[0].info().get("weights", "").startswith("random"):
        sections["Scores"].insert(0, Text("The encoder began with random weights, not with published ones.", note=True))
    if rows:
        picture = write_picture(folder / "panels.png", grid(rows))
        caption = "Input, output, target, and output minus target (red: too bright, blue: too dark, full at 0.1)"
        sections["Tiles"] = [Picture(picture, caption)]
    write_report(folder / "report.html", f"prithvi_refine: {run.path.name}, {split} split", sections)


def _scores_table(results: Scores) -> Table:
    metrics = list(results["model"])
    better = [" (higher is better)" if m in _BETTER_HIGH else "" for m in metrics]
    rows = [
        [metric + text, *(f"{values[metric]:.4f}" if metric in values else "" for values in results.values())]
        for metric, text in zip(metrics, better)
    ]
    return Table(["", *results], rows)


def _targets_table(model: dict[str, float]) -> Table:
    rows = [
        [metric, target.meaning, f"{model[metric]:.4f}", target.verdict(model[metric])]
        for metric, target in TARGETS.items()
        if metric in model
    ]
    return Table(["metric", "meaning", "model", "target"], rows)


def _groups_table(groups: Groups) -> Table:
    rows = []
    for group, scores in groups.items():
        for metric in ("ndvi_rmse", "sam", "l1"):
            if metric in scores["model"]:
                before, after = scores["input"][metric], scores["model"][metric]
                rows.append([group, metric, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"])
    return Table(["group", "metric", "input", "model", "change"], rows)
