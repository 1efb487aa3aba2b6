"""Whether the labels of each split are enough, and of the same kind: what its scores are worth.

The limits, and why:
- 100 labels: a share of right answers is then known to +- 10 points (95 %: 1.96 sqrt(0.25 / n)), an RMSE to +- 14 %
  (1.96 / sqrt(2 n)), if they are independent; neighbouring pixels are not, so that it is less in truth.
- 90 % of one class: who always says that class is right nine times of ten; accuracy tells nothing more then.
- Classes that differ from training by 30 %: so many labels would have to be of another class. A mean one standard
  deviation off: what is best in training is then worse than guessing one number in that split.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eozoo_core.checking.findings import Findings, listed, percent
from eozoo_core.checking.survey import Classes, Seen
from eozoo_core.checking.units import Channel

FEW = 100
ONE_CLASS = 0.9
OTHER_CLASSES = 0.3
OTHER_MEAN = 1.0
_AGAIN = "divide the data again, in smaller blocks or stratified, so that every split has some of all"


def judge_shares(
    findings: Findings, seen: Mapping[str, Seen], pooled: Mapping[str, np.ndarray], label: Channel | Classes
) -> None:
    """Warn of splits with few labels, of absent classes, of one class that is nearly all, of labels of another kind.

    pooled: values that were read of each split, the first of which is trained on. Where errors were found before
    nothing is said: other labels will be there once they are mended.
    """
    first = next(iter(seen))
    if findings.count("error") or not pooled[first].size:
        return
    for name, one in seen.items():
        labels = round(one.label_values * len(one.split) / len(one.read))
        if name != first:
            judge_number(findings, name, labels, classes=isinstance(label, Classes))
    if isinstance(label, Classes):
        for name, values in pooled.items():
            if values.size:
                _judge_classes(findings, (name, values), (first, pooled[first]), label)
    elif not any(f.level in ("warning", "error") and "labels" in f.subject for f in findings.found):
        _judge_means(findings, pooled, label)


def judge_number(findings: Findings, name: str, number: int, what: str = "labels", classes: bool = False) -> None:
    """Warn where split ``name`` has too few labels, or other things called ``what``, for its scores to be known."""
    if not 0 < number < FEW:
        return
    points, part = 98 / number**0.5, 139 / number**0.5  # 95 %, in percent
    known = f"+- {points:.0f} points" if classes else f"+- {part:.0f} %"
    use = "the best epoch is chosen by them, and their score" if name == "val" else "their score"
    text = f"only {number:,}: {use} is known to {known} at best"
    findings.warning(f"{name}: {what}", text, f"give {name} {FEW} or more", {what: number})


def _judge_means(findings: Findings, pooled: Mapping[str, np.ndarray], label: Channel) -> None:
    first, (trained, *others) = next(iter(pooled)), pooled.items()
    mean, std = trained[1].mean(), trained[1].std()
    for name, values in others:
        if values.size >= FEW and abs(values.mean() - mean) > OTHER_MEAN * std > 0:
            text = f"{values.mean():.4g} on average, {first} {mean:.4g} +- {std:.4g} {label.unit}".rstrip()
            findings.warning(f"{name}: labels", f"{text}: they are of another kind", _AGAIN)


def _judge_classes(
    findings: Findings, split: tuple[str, np.ndarray], trained: tuple[str, np.ndarray], label: Classes
) -> None:
    """One warning at most for a split: all that is odd about its classes beside those that were trained on."""
    (name, values), (first, learned) = split, trained
    found, before = _class_shares(values), _class_shares(learned)
    if name == first and len(found) < 2:
        return  # nothing to learn: said already
    text, most = [], max(found, key=found.__getitem__)
    lost = [label.names[c] for c in sorted(before.keys() - found.keys()) if c in label.names]
    if lost:
        text.append(f"none of {listed(lost)} was read, of which {first} has some: nothing will score it")
    other = 0.5 * sum(abs(found.get(c, 0.0) - before.get(c, 0.0)) for c in found.keys() | before.keys())
    against = "" if name == first else f", {percent(before.get(most, 0.0))} of {first}"
    if found[most] >= ONE_CLASS and (name == first or before.get(most, 0.0) < ONE_CLASS):
        text.append(
            f"{percent(found[most])} are {label.names.get(most, most)}{against}: who always says so is as right"
        )
    elif name != first and values.size >= FEW and other >= OTHER_CLASSES:
        text.append(
            f"{percent(found[most])} are {label.names.get(most, most)}{against}; "
            f"{percent(other)} would have to change their class to be like {first}"
        )
    if text:
        remedy = "judge by the scores of each class, not by accuracy" if name == first else _AGAIN
        remedy += ", or join or drop the class" if lost else ""
        findings.warning(f"{name}: labels", "; ".join(text), remedy, {"largest": found[most], "other": other})


def _class_shares(values: np.ndarray) -> dict[int, float]:
    known, counts = np.unique(values.astype(int), return_counts=True)
    return dict(zip(known.tolist(), (counts / counts.sum()).tolist(), strict=True))
