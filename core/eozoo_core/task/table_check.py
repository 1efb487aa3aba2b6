"""What ``check`` says of a table: its columns, its target, copies of rows, and features that give the target away."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from eozoo_core.checking import Findings
from eozoo_core.checking.design import SPLITS
from eozoo_core.checking.findings import listed, percent
from eozoo_core.task.table_columns import place_columns
from eozoo_core.task.table_data import Samples
from eozoo_core.task.table_settings import TableDataSettings

_ALIKE = 0.9999  # a correlation that is no chance
_REPEATS = 5  # rows with one value, on average, of a feature that could tell classes apart by itself


def check_table(findings: Findings, samples: Samples, how: TableDataSettings) -> None:
    """Judge a table, all of its rows; the arithmetic is that of whole columns."""
    _judge_rows(findings, samples)
    _judge_features(findings, samples, how)
    _judge_target(findings, samples)
    _judge_leaks(findings, samples)
    _judge_copies(findings, samples)


def _judge_rows(findings: Findings, samples: Samples) -> None:
    total, usable = len(samples.labels), samples.usable
    empty = ~np.isfinite(samples.values).any(axis=1)
    lost = f", {int((~usable & ~empty).sum()):,} without a target" if (~usable & ~empty).any() else ""
    lost += f", {int(empty.sum()):,} without any feature" if empty.any() else ""
    shares = ", ".join(f"{name} {int((usable & (samples.split == i)).sum()):,}" for i, name in enumerate(SPLITS))
    left = int((usable & (samples.split >= len(SPLITS))).sum())
    neither = f", in none of them {left:,}" if left else ""
    findings.ok("rows", f"{total:,} rows{lost}; {shares}{neither}", {"rows": total, "usable": int(usable.sum())})
    for i, name in enumerate(SPLITS):
        if not (usable & (samples.split == i)).any():
            findings.unknown(name, f"no row is in {name}", "set data.split")


def _judge_features(findings: Findings, samples: Samples, how: TableDataSettings) -> None:
    names = [column.name for column in samples.features]
    units = {c.name: c.unit for c in samples.features}
    dates = f" of a series of {samples.dates} dates" if samples.dates else ""
    findings.ok("features", f"{len(names)} columns{dates}: {listed(names, 12)}", {"columns": names, "units": units})
    unused = [n for n, c in samples.columns.items() if c.numeric and n not in {*names, samples.target}]
    unused = [n for n in unused if n not in place_columns(samples.columns, how)]
    if unused and how.features is None and how.series is None:
        findings.ok("features", f"left out: {listed(unused, 12)}")
    train = samples.values[samples.usable & (samples.split == 0)]
    there = np.isfinite(train)
    share = 1 - there.mean(axis=0) if len(train) else np.zeros(len(names))
    worst = int(share.argmax())
    text = f"{percent(float(share.mean()))} of the values, most in {names[worst]} ({percent(float(share[worst]))})"
    findings.ok("missing values", text if share[worst] else "none", dict(zip(names, share.round(6))))
    if half := [n for n, s in zip(names, share) if 0.5 < s < 1]:
        findings.warning("missing values", f"more than half are missing in {listed(half)}; the mean stands for them",
                         "leave them out (data.exclude), or say what is missing (data.nodata)")  # fmt: skip
    low, high = np.where(there, train, np.inf).min(axis=0), np.where(there, train, -np.inf).max(axis=0)
    if flat := [n for n, a, b in zip(names, low, high) if a >= b]:
        findings.error("features", f"{listed(flat, 8)}: constant or missing in all training rows", "data.exclude=[...]")
    odd = [(n, v) for n, v in zip(names, high) if v in (65535.0, 32767.0)] + [
        (n, v) for n, v in zip(names, low) if v in (-9999.0, -32768.0, -99999.0)
    ]
    if odd:
        values = ",".join(f"{v:g}" for v in sorted({v for _, v in odd}))
        findings.warning("missing values", f"{listed([n for n, _ in odd])}: an extreme is {values}, which often means "
                         "missing", f"--set data.nodata=[{values}] where it does")  # fmt: skip


def _judge_target(findings: Findings, samples: Samples) -> None:
    labels = samples.labels[samples.usable]
    if not samples.classes:
        low, middle, high = np.quantile(labels, (0, 0.5, 1))
        text = (
            f"{samples.target} [{samples.unit}]: {low:.4g} to {high:.4g}, median {middle:.4g}, in {len(labels):,} rows"
        )
        findings.ok("target", text, {"min": low, "median": middle, "max": high})
        return
    counts = np.stack(
        [
            np.bincount(
                samples.labels[samples.usable & (samples.split == i)].astype(int), minlength=len(samples.classes)
            )
            for i in range(len(SPLITS))
        ]
    )
    findings.ok("target", f"{samples.target}: {len(samples.classes)} classes in {len(labels):,} rows",
                {name: dict(zip(samples.classes, row)) for name, row in zip(SPLITS, counts)})  # fmt: skip
    rows = [[name, *(f"{n:,}" for n in counts[:, i])] for i, name in enumerate(samples.classes)]
    findings.table("rows of each class", ["class", *SPLITS], rows)
    if none := [name for name, n in zip(samples.classes, counts[0]) if not n]:
        findings.warning("train: target", f"no row of {listed(none)}: what is not shown cannot be learned",
                         "give more rows of it, or leave it out")  # fmt: skip


def _judge_leaks(findings: Findings, samples: Samples) -> None:
    """Warn of features that are the target, by name or by their values alone."""
    named, given = [], []
    target, labels = samples.target.lower(), samples.labels
    for i, column in enumerate(samples.features):
        if len(target) > 2 and target in column.name.lower():
            named.append(column.name)
        elif _tells(samples.values[:, i], labels, bool(samples.classes)):
            given.append(column.name)
    if named:
        findings.warning("leakage: target", f"{listed(named)}: called like the target {samples.target}",
                         "data.exclude it, unless it is known before the target is")  # fmt: skip
    if given:
        findings.warning("leakage: target", f"{listed(given)}: gives {samples.target} away by itself in every row",
                         "data.exclude it, unless it is known before the target is")  # fmt: skip
    if not named and not given:
        findings.ok(
            "leakage: target", f"none of {len(samples.features)} features gives {samples.target} away by itself"
        )


def _tells(values: np.ndarray, labels: np.ndarray, classes: bool) -> bool:
    """Whether one feature says what every label is: a line through all values, or codes that mean one class each."""
    there = np.isfinite(values) & np.isfinite(labels)
    x, y = values[there].astype(np.float64), labels[there].astype(np.float64)
    if len(x) < 20 or x.std() == 0 or y.std() == 0:
        return False
    if not classes:
        return bool(abs(np.corrcoef(x, y)[0, 1]) > _ALIKE)
    codes, inverse = np.unique(x, return_inverse=True)
    pairs = np.unique(np.stack([inverse, y]), axis=1).shape[1]
    return pairs == len(codes) and len(x) >= _REPEATS * len(codes)


def _judge_copies(findings: Findings, samples: Samples) -> None:
    """Warn of rows of two splits whose features are all the same."""
    rows = np.flatnonzero(samples.usable)
    _, inverse = np.unique(_hashes(samples.values[rows]), return_inverse=True)
    held = [np.unique(inverse[samples.split[rows] == i]) for i in range(len(SPLITS))]
    clean = True
    for one, two in combinations(range(len(SPLITS)), 2):
        both = np.intersect1d(held[one], held[two])
        if not len(both):
            continue
        clean, where = False, [int(rows[(inverse == both[0]) & (samples.split[rows] == i)][0]) + 2 for i in (one, two)]
        count = int((np.isin(inverse, both) & (samples.split[rows] == two)).sum())
        findings.warning(
            f"leakage {SPLITS[one]}/{SPLITS[two]}: rows",
            f"{count:,} {SPLITS[two]} rows have the features of a {SPLITS[one]} row: row {where[1]} of row {where[0]}",
            "keep copies together: data.group, or data.split.by=blocks",
        )
    if clean:
        findings.ok("leakage: rows", f"no two splits hold rows with the same features ({len(rows):,} compared)")


def _hashes(values: np.ndarray) -> np.ndarray:
    """A number (n,) uint64 for each row of float32 values; rows of the same values have the same one."""
    bits = np.nan_to_num(values + np.float32(0), nan=np.float32(3.0e38)).view(np.uint32)  # + 0: -0.0 is 0.0
    found = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        found = (found ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(29)
    return found
