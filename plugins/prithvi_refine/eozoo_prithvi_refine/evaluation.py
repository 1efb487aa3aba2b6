"""``eozoo eval prithvi_refine``: the model, its input and simple refiners; in all, per month, biome and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core.score.report import Picture, Table, Text, write_report

from eozoo_prithvi_refine.assemble import load_model
from eozoo_prithvi_refine.baselines import Baselines
from eozoo_prithvi_refine.data import RefineTiles, collate, find_tiles, inputs
from eozoo_prithvi_refine.pictures import grid, save_png
from eozoo_prithvi_refine.scoring import RefineScores, tile_sums
from eozoo_prithvi_refine.training import make_criterion

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry, Scores

    from eozoo_prithvi_refine.settings import PrithviSettings

TARGETS = {  # the document's table of quality metrics
    "ndvi_rmse": (0.05, "vegetation index consistency"),
    "evi_rmse": (0.05, "enhanced vegetation index"),
    "sam": (0.1, "spectral angle, rad"),
    "identity_l1": (0.05, "change of the input, reflectance"),
    "identity_edge_l1": (0.02, "change of the input's edges, reflectance per px"),
}
_BETTER_HIGH = ("psnr", "ssim")


def evaluate(run: Run, settings: PrithviSettings, registry: Registry, split: str) -> Scores:
    """Score best.pt on ``split``; see ``Task.evaluate``. Writes eval_SPLIT/report.html, groups.json and panels.png."""
    files = find_tiles(settings.runtime.data_dir, split, _limit(settings, split))
    tiles = RefineTiles(files, settings.data, settings.runtime.stage1_dir, settings.train.seed)
    model, device = load_model(run, settings, "eval")
    baselines, criterion = Baselines(**run.info()["baselines"]), make_criterion(settings, registry)
    scores: dict[str, RefineScores] = {n: RefineScores() for n in ("model", "input", "affine fit", "unsharp mask")}
    groups: dict[str, dict[str, RefineScores]] = {}
    rows = []
    shown = set(np.linspace(0, len(tiles) - 1, min(settings.eval.panels, len(tiles))).astype(int).tolist())
    for i in range(len(tiles)):
        sample = tiles[i]
        batch = {k: v.to(device) for k, v in collate([sample]).items() if k != "count"}
        image, target = batch["image"], batch["target"]
        with torch.no_grad():
            refined, _ = model(*inputs(batch))
        plain = sample["image"].numpy()
        made = {"model": refined, "input": image}
        made |= {"affine fit": _tensor(baselines.affine(plain), device)}
        made |= {"unsharp mask": _tensor(baselines.unsharp(plain), device)}
        for name, result in made.items():
            sums = tile_sums(result, image, target, criterion, with_ssim=True)
            scores[name].add(sums)
            for group in (f"month {sample['month']:02d}", f"biome {sample['biome']:02d}", f"place {sample['place']}"):
                groups.setdefault(group, {}).setdefault(name, RefineScores()).add(sums)
        if i in shown:
            missing = ~np.isfinite(plain[0])
            rows.append((plain, np.where(missing, np.nan, refined[0].float().cpu().numpy()), sample["target"].numpy()))
    results = {name: s.compute() for name, s in scores.items()}
    groups = {g: parts for g, parts in sorted(groups.items()) if g != "place "}
    by_group = {g: {n: s.compute() for n, s in parts.items()} for g, parts in groups.items()}
    _write(run, split, results, by_group, rows)
    return results


def _limit(settings: PrithviSettings, split: str) -> int | None:
    """Validation looks at the tiles that training looked at."""
    most = settings.data.max_samples
    return max(1, most // 4) if most and split == "val" else None


def _tensor(image: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None].to(device)


def _write(run: Run, split: str, results: Scores, groups: dict[str, Scores], rows: list[Any]) -> None:
    folder = run.path / f"eval_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    run.write_json(f"eval_{split}/groups.json", groups)
    sections: dict[str, list] = {
        "Scores": [_scores_table(results)],
        "Targets of the document": [_targets_table(results)],
    }
    sections["By month and biome"] = [_groups_table(groups)]
    note = run.info().get("weights", "")
    if note.startswith("random"):
        sections["Scores"].insert(0, Text("The encoder began with random weights, not with published ones.", note=True))
    if rows:
        picture = save_png(grid(rows), folder / "panels.png")
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


def _targets_table(results: Scores) -> Table:
    rows = []
    for metric, (goal, what) in TARGETS.items():
        if metric in results["model"]:
            value = results["model"][metric]
            rows.append([metric, what, f"< {goal:g}", f"{value:.4f}", "met" if value < goal else "missed"])
    return Table(["metric", "meaning", "target", "model", ""], rows)


def _groups_table(groups: dict[str, Scores]) -> Table:
    rows = []
    for group, scores in groups.items():
        for metric in ("ndvi_rmse", "sam", "l1"):
            if metric in scores["model"]:
                before, after = scores["input"][metric], scores["model"][metric]
                rows.append([group, metric, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"])
    return Table(["group", "metric", "input", "model", "change"], rows)
