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
_AGAIN = "divide the data again, so that every split has some of all (data.split.stratify, smaller blocks)"


def judge_shares(
    findings: Findings, seen: Mapping[str, Seen], pooled: Mapping[str, np.ndarray], label: Channel | Classes
) -> None:
    """Warn of splits with few labels, of absent classes, of one class that is nearly all, of labels of another kind.

    pooled: values that were read of each split, the first of which is trained on.
    """
    first = next(iter(seen))
    for name, one in seen.items():
        labels = round(one.label_values * len(one.split) / len(one.read))
        if name != first and pooled[name].size:
            judge_number(findings, name, labels, isinstance(label, Classes))
    if not pooled[first].size:
        return
    if isinstance(label, Classes):
        _judge_classes(findings, pooled, label)
        return
    mean, std = pooled[first].mean(), pooled[first].std()
    for name, values in pooled.items():
        if name != first and values.size >= FEW and abs(values.mean() - mean) > OTHER_MEAN * std > 0:
            text = f"{values.mean():.4g} {label.unit} on average, {first} {mean:.4g} +- {std:.4g}".replace("  ", " ")
            findings.warning(f"{name}: labels", f"{text}: they are of another kind", _AGAIN)


def judge_number(findings: Findings, name: str, labels: int, classes: bool) -> None:
    """Warn where split ``name`` has too few labels for its scores to be known."""
    if not 0 < labels < FEW:
        return
    points, part = 98 / labels**0.5, 139 / labels**0.5  # 95 %, in percent
    known = f"+- {points:.0f} points" if classes else f"+- {part:.0f} %"
    what = "the best epoch is chosen by them, and their score" if name == "val" else "their score"
    text = f"only {labels:,}: {what} is known to {known} at best"
    findings.warning(f"{name}: labels", text, f"give {name} {FEW} or more", {"labels": labels})


def _judge_classes(findings: Findings, pooled: Mapping[str, np.ndarray], label: Classes) -> None:
    first, shares = next(iter(pooled)), {}
    for name, values in pooled.items():
        known, counts = np.unique(values.astype(int), return_counts=True)
        shares[name] = dict(zip(known.tolist(), (counts / max(1, counts.sum())).tolist(), strict=True))
    trained = shares[first]
    for name, found in shares.items():
        lost = [label.names[c] for c in sorted(trained.keys() - found.keys()) if c in label.names]
        if lost and found:
            text = f"none of {listed(lost)} was read, of which {first} has some: nothing will score it"
            findings.warning(f"{name}: labels", text, f"{_AGAIN}, or join or drop the class")
        if not found or len(found.keys() | trained.keys()) < 2:
            continue
        most = max(found, key=found.__getitem__)
        other = 0.5 * sum(abs(found.get(c, 0.0) - trained.get(c, 0.0)) for c in found.keys() | trained.keys())
        text = f"{percent(found[most])} are {label.names.get(most, most)}"
        before = f"{percent(trained.get(most, 0.0))} of {first}"
        if found[most] >= ONE_CLASS and (name == first or trained.get(most, 0.0) < ONE_CLASS):
            against = f"{text}: to say always that is right as often" + ("" if name == first else f" ({before})")
            remedy = "judge by the scores of each class, not by accuracy" if name == first else _AGAIN
            findings.warning(f"{name}: labels", against, remedy, {"share": found[most]})
        elif name != first and pooled[name].size >= FEW and other >= OTHER_CLASSES:
            text = f"{text}, {before}; {percent(other)} would have to be of another class to be like {first}"
            findings.warning(f"{name}: labels", text, _AGAIN, {"other": other})
