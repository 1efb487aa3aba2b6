"""Scores of encoders and classifiers beside simple baselines: one command, one report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.run.written import write_text
from eozoo_core.score.classes import class_scores, class_table, confusion_of, draw_confusion
from eozoo_core.score.report import Picture, Table, Text, write_report
from eozoo_core.task import Scores
from eozoo_core.task.data import in_groups, tensors
from eozoo_core.task.evaluate import Evaluation, combined
from eozoo_core.task.loss import checked_loss
from eozoo_core.task.predict import Draws, open_draws, to_arrays
from eozoo_core.train.execution import samples_at_once
from eozoo_core.train.precision import compute_in, precision_in_use

from eozoo_barlow_twins.labels import class_layer, class_names
from eozoo_barlow_twins.pictures import curve_picture
from eozoo_barlow_twins.pixels import PixelIndex, chosen, require_pixels, split_number
from eozoo_barlow_twins.probe import (
    Labelled,
    Probe,
    block_intervals,
    draw_labels,
    raw_features,
)
from eozoo_barlow_twins.settings import Labels, PixelEval, SelectDates
from eozoo_barlow_twins.step import score_views
from eozoo_barlow_twins.views import Dates

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run

    from eozoo_barlow_twins.pixel_task import PixelTask
    from eozoo_barlow_twins.survey import PixelSurvey
    from eozoo_barlow_twins.system import PixelSystem
    from eozoo_barlow_twins.tiles import Tile


def encode(
    system: PixelSystem, device: Any, index: PixelIndex, numbers: np.ndarray, survey: PixelSurvey, select: SelectDates
) -> np.ndarray:
    """Return the embeddings ``(n, D)`` float32 of the pixels ``numbers`` of an index."""
    dates, found = Dates(survey.sample_size, select), []
    size = select.batch_size or samples_at_once(device, 64 * select.passes)
    for start in range(0, len(numbers), size):
        part = chosen(index, numbers[start : start + size], survey.names, dates)
        with torch.inference_mode():
            found.append(to_arrays(system.predict(tensors(part, device)))["embedding"])
    return np.concatenate(found)


def evaluate_encoder(task: PixelTask, run: Run, split: str, strict: bool) -> Scores:
    """See ``BarlowTwinsTask.evaluate``. Without ``strict`` labels that probes cannot use are told and left out."""
    if split == "all":
        raise ZooError("split all: probes learn on a part of the place; score its test split")
    draws = open_draws(task, run, "eval", every=True)
    (trained,) = draws.systems.values()
    both = {"model": trained, "random_encoder": random_system(task, run, draws)}
    data, loss = task.data(split), checked_loss(task, draws.survey)
    scores: Scores = {n: score_views(system, system, loss, data, run.settings)[0] for n, system in both.items()}
    if split == "train":
        return scores
    try:
        table = probed(task, split, draws, both)
    except ZooError as error:
        if strict:
            raise
        print_message(f"scored without probes: {error}")
        table = None
    if table is None:
        return scores
    for name, values in table.scores().items():
        scores[name] = scores.get(name, {}) | values
    table.write(run.path / f"eval_{split}", f"Embeddings of {run.path.name}: probes on the {split} split")
    return scores


def probed(task: PixelTask, split: str, draws: Draws, systems: Mapping[str, PixelSystem]) -> Comparison | None:
    """Compare classifiers on embeddings and on raw bands, on the labels of the tiles; None where there are none."""
    e, select, survey = task.settings.eval, task.settings.infer, draws.survey
    named = task.settings.data.probed
    labels = probe_labels(task.tiles, named)
    if labels is None:
        return None
    encoders = {
        name: lambda index, numbers, system=system: encode(system, draws.device, index, numbers, survey, select)
        for name, system in systems.items()
    }
    parts = []
    for kind in ("train", split):
        index = PixelIndex(task.tiles, task.usable, split_number(kind), labels)
        require_pixels(index, kind, task.tiles[0].path.parent)
        parts.append(labelled_pixels(index, survey, task.settings.data.block, encoders, e.max_pixels))
    probes = {
        "model": Probe("model", "logistic"),
        "knn": Probe("model", "knn", neighbours=e.neighbours),
        "random_encoder": Probe("random_encoder", "logistic"),
        "raw_logistic": Probe("raw", "logistic"),
        "raw_forest": Probe("raw", "forest", trees=e.trees),
    }
    return compare(probes, *parts, class_names(named), e)


def evaluate_classes(task: PixelTask, run: Run, split: str) -> Scores:
    """See ``LandCoverTask.evaluate``."""
    e, draws = task.settings.eval, open_draws(task, run, "eval", every=True)
    data, survey = task.data(split), draws.survey
    evaluation, predicted = Evaluation(task, draws.systems, survey), []
    for group in in_groups(data, range(len(data))):
        found = evaluation.add(data.items(group), draws.device)
        predicted.append(combined(found, task.ports(survey).outputs)["probabilities"].argmax(dim=1).numpy())
    scores, names = evaluation.compute(), class_names(task.settings.data)
    side = task.settings.data.block
    target, blocks = data.index.classes(data.scored), data.index.blocks(data.scored, side)
    kinds = ("train", split) if split != "all" else (split, split)  # of all, nothing is left to learn from
    parts = [labelled_pixels(task.index(kind), survey, side, {}, e.max_pixels) for kind in kinds]
    probes = {"raw_logistic": Probe("raw", "logistic"), "raw_forest": Probe("raw", "forest", trees=e.trees)}
    others = compare(probes if split != "all" else {}, *parts, names, e)
    whole = np.concatenate(predicted)
    confusion = confusion_of(target, whole, len(names))
    model_result = {
        "scores": {k: v for k, v in scores["model"].items() if k != "loss"},
        "intervals": block_intervals(target, whole, blocks, len(names), e.bootstrap),
        "classes": class_table(confusion),
        "confusion": confusion.tolist(),
        "curve": [],
    }
    table = Comparison(names, {"model": model_result} | others.results, others.counts)
    table.write(run.path / f"eval_{split}", f"Land cover of {run.path.name}: {split} split")
    return scores | others.scores()


def random_system(task: PixelTask, run: Run, draws: Draws) -> PixelSystem:
    """An encoder with the seed's initial weights and the statistics of the trained one, in the same precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.settings.train.seed)
        system = task.system(draws.survey, fresh=False)
    system.outputs = task.ports(draws.survey).outputs
    return compute_in(precision_in_use(run, "eval", draws.device), system.eval().to(draws.device), draws.device)


def labelled_pixels(
    index: PixelIndex,
    survey: PixelSurvey,
    block: int,
    encoders: dict[str, Callable[[PixelIndex, np.ndarray], np.ndarray]],
    most: int,
) -> Labelled:
    """Features of labelled pixels: one kind per encoder, and "raw"."""
    numbers = index.spread(most)
    features = {name: encoder(index, numbers) for name, encoder in encoders.items()}
    raw = []
    for number, places, where in index.groups(numbers):
        tile = index.tiles[number]
        series, clear = tile.series(where)
        raw.append((places, raw_features(series[:, :, tile.select(survey.names)], clear, tile.days)))
    features["raw"] = _join(raw, len(numbers))
    return Labelled(features, index.classes(numbers), index.blocks(numbers, block))


@dataclass(frozen=True)
class Comparison:
    """Predictor -> its results; see `compare`."""

    names: tuple[str, ...]
    results: dict[str, dict[str, Any]]
    counts: dict[str, int]

    def scores(self) -> Scores:
        """The scores with all training labels."""
        return {name: dict(result["scores"]) for name, result in self.results.items()}

    def write(self, folder: Path, title: str) -> Path:
        """Write report.json, report.html and the pictures in it; return the page."""
        content = {"classes": self.names, "pixels": self.counts, "predictors": self.results}
        write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False))
        metrics = ("accuracy", "macro_f1", "weighted_f1")
        rows = [[n, *(_with_interval(r, m) for m in metrics)] for n, r in self.results.items()]
        curves = {
            name: [(p["share"], p["macro_f1"]["mean"], p["macro_f1"]["std"]) for p in result["curve"]]
            for name, result in self.results.items()
        }
        model = self.results["model"]
        per_class = [
            [name, str(row["labels"]), *(_number(row[k]) for k in ("precision", "recall", "f1"))]
            for name, row in zip(self.names, model["classes"], strict=True)
        ]
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        sections = {
            "Scores with all training labels": [
                Text(f"Labelled pixels: {counts}. In brackets 95 % intervals from resampling spatial blocks."),
                Table(["predictor", *metrics], rows),
            ],
            "Few labels": [
                Picture(
                    curve_picture(curves, "macro F1", folder / "labels.png"),
                    "Macro F1 over the share of the training labels; bars are standard deviations over the draws",
                )
            ],
            "Classes": [
                Table(["class", "pixels", "precision", "recall", "F1"], per_class),
                Picture(
                    draw_confusion(np.array(model["confusion"]), self.names, folder / "confusion.png"),
                    "Confusion of 'model': shares of each reference class",
                ),
            ],
        }
        return write_report(folder / "report.html", title, sections)


def compare(
    probes: dict[str, Probe], train: Labelled, test: Labelled, names: tuple[str, ...], settings: PixelEval
) -> Comparison:
    """Fit every probe with all labels and with few, score it on ``test``, with intervals by spatial block."""
    results = {}
    every = np.arange(len(train.target))
    for name, probe in probes.items():
        predicted = probe.predict(train, every, test, seed=0)
        confusion = confusion_of(test.target, predicted, len(names))
        results[name] = {
            "scores": class_scores(confusion),
            "intervals": block_intervals(test.target, predicted, test.blocks, len(names), settings.bootstrap),
            "classes": class_table(confusion),
            "confusion": confusion.tolist(),
            "curve": [_few(probe, train, test, share, len(names), settings) for share in settings.shares],
        }
    return Comparison(names, results, {"train": len(train.target), "test": len(test.target)})


def _few(probe: Probe, train: Labelled, test: Labelled, share: float, classes: int, settings: PixelEval) -> dict:
    """Mean and standard deviation of the scores over draws of a share of the labels."""
    drawn: dict[str, list[float]] = {}
    for seed in range(settings.draws):
        rows = draw_labels(train.target, share, seed)
        values = class_scores(confusion_of(test.target, probe.predict(train, rows, test, seed), classes))
        for metric, value in values.items():
            drawn.setdefault(metric, []).append(value)
    return {"share": share, "labels": len(rows)} | {
        metric: {"mean": float(np.mean(v)), "std": float(np.std(v))} for metric, v in drawn.items()
    }


def probe_labels(tiles: Sequence[Tile], data: Labels) -> list[np.ndarray] | None:
    """Class layers of the tiles; a tile without a label file has none. None where no tile has one."""
    if not any(tile.has(data.labels) for tile in tiles):
        return None
    return [class_layer(t, data) if t.has(data.labels) else np.full(t.shape[1:3], -1, np.int16) for t in tiles]


def _join(parts: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    """Put rows of tiles together; tiles with other periods have other numbers of steps: cut to the shortest."""
    width = min(values.shape[1] for _, values in parts)
    out = np.empty((n, width), np.float32)
    for places, values in parts:
        out[places] = values[:, :width]
    return out


def _with_interval(result: dict, metric: str) -> str:
    ends = [f"{end:.3f}" for end in result["intervals"].get(metric, ())]
    return f"{result['scores'][metric]:.3f}" + (f" [{', '.join(ends)}]" if ends else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
