"""What the labels of the splits are worth: how many, in which unit, spread how."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from eozoo_core.checking.findings import Findings, listed, percent
from eozoo_core.checking.odd_samples import report_suspects, some
from eozoo_core.checking.shares import judge_shares
from eozoo_core.checking.survey import Classes, Seen
from eozoo_core.checking.units import Channel


def judge_labels(
    findings: Findings, seen: Mapping[str, Seen], label: Channel | Classes, remedies: Mapping[str, str]
) -> None:
    """Judge number, range and spread of the labels, and write their histogram."""
    first = next(iter(seen.values()))
    pooled = {name: np.concatenate([np.empty(0), *one.labels]) for name, one in seen.items()}
    for name, one in seen.items():
        subject = f"{name}: labels"
        text = f"{one.label_values:,} in {one.labelled:,} of {len(one.read):,} {one.split.what} read"
        numbers = {"values": one.label_values, "samples": one.labelled}
        if not one.label_values:
            level = findings.error if one.whole and name != "test" else findings.warning
            level(subject, "none has a value where the input has data", "look at the labels, and at what is missing")
            continue
        if isinstance(label, Channel):
            values = pooled[name]
            numbers |= {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
            spread = f"{values.mean():.4g} +- {values.std():.4g}, {values.min():.4g} to {values.max():.4g} {label.unit}"
            text = f"{text}, {spread}"
        findings.ok(subject, text, numbers)
        if isinstance(label, Channel):
            _judge_filler(findings, subject, pooled[name], label, remedies["label_nodata"])
        if one.unnamed:
            codes, files = (list(dict.fromkeys(part)) for part in zip(*((c, n) for n, c in one.unnamed), strict=True))
            text = f"{len(files):,} of {len(one.read):,} {one.split.what} read hold class {listed(codes)}"
            findings.error(subject, f"{text}, which has no name: {listed(files)}", "name it, or make it nodata")
        if one.untagged:
            files = list(dict.fromkeys(n for n, _ in one.untagged))
            what = f"hold {one.untagged[0][1]:g}, which usually means no label"
            some(findings, subject, one, files, what, remedies["label_nodata"])
    suspects = {name: one.label_suspects for name, one in seen.items()}
    report_suspects(findings, "labels", suspects, seen, remedies["units"])
    if isinstance(label, Classes):
        _judge_classes(findings, pooled, label, first)
    elif pooled[first.split.name].size and np.ptp(pooled[first.split.name]) == 0:
        findings.error(f"{first.split.name}: labels", "all have one and the same value: there is nothing to learn")
    judge_shares(findings, seen, pooled, label)
    thinned = max(one.thinned for one in seen.values())
    _histogram(findings, pooled, label, f", thinned to at least one in {thinned}" if thinned > 1 else "")


def _judge_filler(findings: Findings, subject: str, values: np.ndarray, label: Channel, remedy: str) -> None:
    """Warn where one number makes up more than half of the labels, as one that means "no label" does."""
    found, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    if len(found) > 1 and values.size >= 100 and counts[most] > values.size / 2:
        number = f"{found[most]:g} {label.unit}".rstrip()
        text = f"{percent(counts[most] / values.size)} are exactly {number}"
        findings.warning(subject, text, f"if it means that there is no label, {remedy}")


def _judge_classes(findings: Findings, pooled: Mapping[str, np.ndarray], label: Classes, first: Seen) -> None:
    present = {name: set(np.unique(values).astype(int).tolist()) for name, values in pooled.items()}
    trained = present[first.split.name]
    for name, found in present.items():
        new = [label.names[c] for c in sorted(found - trained) if c in label.names]
        if new and trained:
            text = f"hold {listed(new)}, of which {first.split.name} has none read"
            findings.warning(f"{name}: labels", text, "nothing is learned of it: split otherwise, or drop the class")
    if len(trained) == 1:
        findings.error(f"{first.split.name}: labels", "are all of one class: there is nothing to learn")


def _histogram(findings: Findings, pooled: Mapping[str, np.ndarray], label: Channel | Classes, of: str) -> None:
    """A table of the share of labels per class or interval and split."""
    values = np.concatenate(list(pooled.values()))
    if not values.size:
        return
    if isinstance(label, Classes):
        keys = sorted({*label.names, *np.unique(values).astype(int).tolist()})
        names = [f"{key} {label.names.get(key, '(no name)')}" for key in keys]
        counts = {n: [int((v == key).sum()) for key in keys] for n, v in pooled.items()}
    else:
        low, high = np.percentile(values, [0, 99.5])
        edges = _round_edges(float(low), float(high))
        names = [f"{a:g} to {b:g} {label.unit}".rstrip() for a, b in pairwise(edges)]
        names[-1] = f"above {edges[-2]:g} {label.unit}".rstrip()
        bins = np.append(edges[:-1], np.inf)
        counts = {n: np.histogram(v, bins)[0].tolist() for n, v in pooled.items()}
    rows = [
        [name, *(f"{counts[n][k]:,} ({percent(counts[n][k] / max(1, sum(counts[n])))})" for n in pooled)]
        for k, name in enumerate(names)
    ]
    findings.table(f"labels of what was read{of}", ["label", *pooled], rows)


def _round_edges(low: float, high: float) -> np.ndarray:
    """About eight intervals with round limits that begin at or below ``low`` and reach ``high``."""
    width = max(high - low, 1e-9 * max(abs(low), abs(high), 1e-9)) / 8
    power = 10.0 ** np.floor(np.log10(width))
    step = next(s for s in (1, 2, 2.5, 5, 10) if s * power >= width * 0.999) * power
    first = np.floor(low / step) * step
    return first + step * np.arange(max(2, int(np.ceil((high - first) / step)) + 1))
