"""Scores of the land-cover classifier, in validation and in ``eozoo eval``: the same numbers in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.task import Scores

from eozoo_barlow_twins.batches import PixelIndex
from eozoo_barlow_twins.encode import EncoderInfo, SeriesEncoder
from eozoo_barlow_twins.evaluation import Comparison, compare, labelled_pixels, split_number
from eozoo_barlow_twins.labels import class_names
from eozoo_barlow_twins.maps import encode_numbers
from eozoo_barlow_twins.probe import Probe, block_intervals, class_table, confusion_of, scores_of
from eozoo_barlow_twins.settings import LandCoverSettings, SelectDates
from eozoo_barlow_twins.splits import TRAIN, block_numbers
from eozoo_barlow_twins.training import Pixels

if TYPE_CHECKING:
    from eozoo_core.run import Run

    from eozoo_barlow_twins.landcover import LandCoverTask


def class_scores(
    model: Any,
    device: Any,
    info: EncoderInfo,
    s: LandCoverSettings,
    pixels: Pixels,
    labels: list[np.ndarray],
    split: str,
) -> tuple[dict[str, float], np.ndarray, np.ndarray, np.ndarray]:
    """Mean cross-entropy ("loss"), accuracy and F1 over the labelled pixels of ``split``, on evenly spread dates.

    Always one selection of dates, whatever ``infer`` says, so that evaluation repeats what training logged; at most
    ``eval.max_pixels`` pixels. Also returns reference, prediction and spatial unit of each pixel ``(n,)``.
    The model is in eval mode. Raises ZooError where the split holds no labelled pixel.
    """
    import torch

    names = class_names(s.data)
    index = PixelIndex(pixels.tiles, s.data, split_number(split), labels)
    numbers = index.spread(20000)
    if len(numbers) == 0:
        raise ZooError(f"no labelled pixel in the {split} split; check data.{split}_share, min_valid and the labels")
    select = SelectDates(passes=1)
    encoder = SeriesEncoder(
        lambda bands, doys: torch.log_softmax(model(bands, doys).float(), dim=1), len(names), info, select, device
    )
    log_p = encode_numbers(encoder, index, numbers, pixels.bands)
    target, blocks = _reference(index, numbers, labels, s.data.block)
    loss = float(-log_p[np.arange(len(target)), target].astype(np.float64).mean())
    predicted = log_p.argmax(axis=1)
    return {"loss": loss} | scores_of(confusion_of(target, predicted, len(names))), target, predicted, blocks


def evaluate_landcover(task: LandCoverTask, run: Run, split: str) -> Scores:
    """See ``LandCoverTask.evaluate``."""
    from eozoo_core.checkpoint import load_module
    from eozoo_core.launch import resolve_device
    from eozoo_core.precision import compute_in, precision_in_use

    s = run.settings
    info, pixels, labels = task._open(run)
    model, device = task._model(info), resolve_device(s.runtime.device)
    load_module(model, run.load("best")["model"], run.file("best"))
    model = compute_in(precision_in_use(run, "eval", device), model.eval().to(device), device)
    scores, target, predicted, blocks = class_scores(model, device, info, s, pixels, labels, split)
    names = class_names(s.data)
    train = labelled_pixels(pixels, s.data, TRAIN, labels, {}, s.eval.max_pixels)
    test = labelled_pixels(pixels, s.data, split_number(split), labels, {}, s.eval.max_pixels)
    probes = {"raw_logistic": Probe("raw", "logistic"), "raw_forest": Probe("raw", "forest", trees=s.eval.trees)}
    others = compare(probes, train, test, names, s.eval)
    confusion = confusion_of(target, predicted, len(names))
    model_result = {
        "scores": {k: v for k, v in scores.items() if k != "loss"},
        "intervals": block_intervals(target, predicted, blocks, len(names), s.eval.bootstrap),
        "classes": class_table(confusion),
        "confusion": confusion.tolist(),
        "curve": [],
    }
    share = np.bincount(train.target, minlength=len(names)) / len(train.target)
    frequent = np.full(len(target), share.argmax())
    seen = np.maximum(share[target], 1e-6)  # a class that training never saw: floor instead of infinite loss
    base = {"loss": float(-np.log(seen).mean())} | scores_of(confusion_of(target, frequent, len(names)))
    table = Comparison(names, {"model": model_result} | others.results, others.counts)
    table.write(run.path / f"eval_{split}", f"Land cover of {run.path.name}: {split} split")
    return {"model": scores, "most_frequent": base} | others.scores()


def _reference(
    index: PixelIndex, numbers: np.ndarray, labels: list[np.ndarray], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Class number and spatial unit of each pixel."""
    target, blocks, base = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64), 0
    for number, places, where in index.groups(numbers):
        own = block_numbers(index.tiles[number], side).reshape(-1)
        target[places] = labels[number].reshape(-1)[where]
        blocks[places] = base + own[where]
        base += int(own.max()) + 1
    return target, blocks
