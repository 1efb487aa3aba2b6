"""Scores of encoders and classifiers beside simple baselines: one command, one report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.errors import did_you_mean
from eozoo_core.score.report import Picture, Table, Text, write_report
from eozoo_core.task import Scores

from eozoo_barlow_twins.batches import PixelIndex
from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder, create
from eozoo_barlow_twins.labels import class_layer, class_names
from eozoo_barlow_twins.maps import encode_numbers
from eozoo_barlow_twins.pictures import confusion_picture, curve_picture
from eozoo_barlow_twins.probe import (
    Labelled,
    Probe,
    block_intervals,
    class_table,
    confusion_of,
    draw_labels,
    raw_features,
    scores_of,
)
from eozoo_barlow_twins.settings import Labels, PixelData, PixelEval
from eozoo_barlow_twins.splits import SPLITS, TRAIN, block_numbers
from eozoo_barlow_twins.training import Pixels, open_pixels

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task import Registry

    from eozoo_barlow_twins.settings import BarlowSettings


def split_number(split: str) -> int:
    """The number of a split's name. Raises ZooError for an unknown one."""
    if split not in SPLITS:
        raise ZooError(f"no split {split!r}.{did_you_mean(split, SPLITS)}")
    return SPLITS[split]


def evaluate_encoder(run: Run, settings: BarlowSettings, registry: Registry, split: str) -> Scores:
    """See ``BarlowTwinsTask.evaluate``."""
    from eozoo_core.train.launch import resolve_device
    from eozoo_core.train.precision import compute_in, precision_in_use

    from eozoo_barlow_twins.steps import score_views
    from eozoo_barlow_twins.twins import series_encoder, trained_twins

    s, info = run.settings, EncoderInfo.of(run)
    number = split_number(split)
    pixels = open_pixels(s.runtime.data_dir, s.data, info.bands)
    index = PixelIndex(pixels.tiles, s.data, number)
    loss = create(registry, "loss", s.model.loss, {})
    scores: Scores = {}
    device = resolve_device(s.runtime.device)
    precision = precision_in_use(run, "eval", device)
    for name in ("model", "random_encoder"):
        model = trained_twins(run, settings, registry, name != "model").to(device)
        values, _ = score_views(compute_in(precision, model, device), loss, index, pixels, s)
        scores[name] = values
    labels = _probe_labels(pixels, s.eval.labels)
    if labels is None or number == TRAIN:
        return scores
    encoders = {
        "embedding": series_encoder(run, settings, registry, scope="eval"),
        "random": series_encoder(run, settings, registry, random_weights=True, scope="eval"),
    }
    parts = [
        labelled_pixels(pixels, s.data, kind, labels, encoders, s.eval.max_pixels) for kind in (TRAIN, number)
    ]  # fmt: skip
    e = s.eval
    probes = {
        "model": Probe("embedding", "logistic"),
        "knn": Probe("embedding", "knn", neighbours=e.neighbours),
        "random_encoder": Probe("random", "logistic"),
        "raw_logistic": Probe("raw", "logistic"),
        "raw_forest": Probe("raw", "forest", trees=e.trees),
    }
    table = compare(probes, *parts, class_names(s.eval.labels), e)
    for name, values in table.scores().items():
        scores[name] = scores.get(name, {}) | values
    table.write(run.path / f"eval_{split}", f"Embeddings of {run.path.name}: probes on the {split} split")
    return scores


def labelled_pixels(
    pixels: Pixels,
    data: PixelData,
    split: int,
    labels: list[np.ndarray],
    encoders: dict[str, SeriesEncoder],
    most: int,
) -> Labelled:
    """Features of the labelled pixels of a split: one kind per encoder, and "raw". Raises ZooError for none."""
    index = PixelIndex(pixels.tiles, data, split, labels)
    numbers = index.spread(most)
    if len(numbers) == 0:
        name = next(n for n, k in SPLITS.items() if k == split)
        raise ZooError(f"no labelled pixel in the {name} split; check data.{name}_share, min_valid and the labels")
    features = {name: encode_numbers(e, index, numbers, pixels.bands) for name, e in encoders.items()}
    raw, target, blocks, base = [], np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64), 0
    for number, places, where in index.groups(numbers):
        tile = pixels.tiles[number]
        series, clear = tile.series(where)
        values = raw_features(series[:, :, tile.select(pixels.bands)], clear, tile.days)
        raw.append((places, values))
        target[places] = labels[number].reshape(-1)[where]
        own = block_numbers(tile, data.block).reshape(-1)
        blocks[places] = base + own[where]
        base += int(own.max()) + 1
    features["raw"] = _join(raw, len(numbers))
    return Labelled(features, target, blocks)


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
        folder.mkdir(parents=True, exist_ok=True)
        content = {"classes": self.names, "pixels": self.counts, "predictors": self.results}
        (folder / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False))
        metrics = ("accuracy", "macro_f1", "weighted_f1")
        rows = [[n, *(_with_interval(r, m) for m in metrics)] for n, r in self.results.items()]
        curves = {
            name: [(p["share"], p["macro_f1"]["mean"], p["macro_f1"]["std"]) for p in result["curve"]]
            for name, result in self.results.items()
        }
        model = self.results["model"]
        per_class = [
            [name, str(row["pixels"]), *(_number(row[k]) for k in ("precision", "recall", "f1"))]
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
                    confusion_picture(np.array(model["confusion"]), self.names, folder / "confusion.png"),
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
            "scores": scores_of(confusion),
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
        values = scores_of(confusion_of(test.target, probe.predict(train, rows, test, seed), classes))
        for metric, value in values.items():
            drawn.setdefault(metric, []).append(value)
    return {"share": share, "labels": len(rows)} | {
        metric: {"mean": float(np.mean(v)), "std": float(np.std(v))} for metric, v in drawn.items()
    }


def _probe_labels(pixels: Pixels, data: Labels) -> list[np.ndarray] | None:
    """Class layers of the tiles; a tile without a label file has none. None where no tile has one."""
    if not any(tile.has(data.labels) for tile in pixels.tiles):
        return None
    none = [np.full(tile.shape[1:3], -1, np.int16) for tile in pixels.tiles]
    return [class_layer(t, data) if t.has(data.labels) else n for t, n in zip(pixels.tiles, none, strict=True)]


def _join(parts: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    """Put rows of tiles together; tiles with other periods have other numbers of steps: cut to the shortest."""
    width = min(values.shape[1] for _, values in parts)
    out = np.empty((n, width), np.float32)
    for places, values in parts:
        out[places] = values[:, :width]
    return out


def _with_interval(result: dict, metric: str) -> str:
    low, high = result["intervals"][metric]
    return f"{result['scores'][metric]:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
