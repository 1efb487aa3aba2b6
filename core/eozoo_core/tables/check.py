"""What ``check`` says of a table alone: its columns, copies of rows, and features that give the target away."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from eozoo_core.checking import Findings
from eozoo_core.checking.design import SPLITS
from eozoo_core.checking.findings import listed
from eozoo_core.tables.columns import spoken_for
from eozoo_core.tables.data import Samples
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.values import share_of_numbers, word_of

_ALIKE = 0.9999  # a correlation that is no chance
_MOSTLY = 0.5  # of a column are numbers: it is no text by intention
_REPEATS = 5  # rows with one value, on average, of a feature that could tell classes apart by itself


def check_table(findings: Findings, samples: Samples, how: TableDataSettings) -> None:
    """Judge all rows of a table, beside what core says of bands, labels and splits; show how it is divided."""
    _judge_rows(findings, samples)
    _judge_features(findings, samples, how)
    if how.features is None and how.series is None:
        _judge_choice(findings, samples)
    _judge_leaks(findings, samples)
    _judge_copies(findings, samples)
    findings.picture(f"how the rows of {samples.path.name} are divided", samples.division.panels)


def _judge_rows(findings: Findings, samples: Samples) -> None:
    total, empty = len(samples.labels), ~np.isfinite(samples.values).any(axis=1)
    unlabelled = int((~samples.usable & ~empty).sum())
    lost = f", {unlabelled:,} without a target" if unlabelled else ""
    lost += f", {int(empty.sum()):,} without any feature" if empty.any() else ""
    shares = [f"{name} {int((samples.usable & (samples.split == i)).sum()):,}" for i, name in enumerate(SPLITS)]
    if left := int((samples.usable & (samples.split >= len(SPLITS))).sum()):
        shares.append(f"in none of them {left:,}")
    counts = {"rows": total, "usable": int(samples.usable.sum())}
    findings.ok("rows", f"{total:,} rows{lost}; {', '.join(shares)}", counts)


def _judge_features(findings: Findings, samples: Samples, how: TableDataSettings) -> None:
    names = [column.name for column in samples.features]
    dates = f" of a series of {samples.dates} dates" if samples.dates else ""
    used = {*spoken_for(samples.columns, how), *names}
    text = [name for name, column in samples.columns.items() if not column.numeric and name not in used]
    others = f"; none because they hold text: {listed(text)}" if text else ""
    findings.ok("features", f"{len(names)} columns{dates}: {listed(names, 12)}{others}", {"columns": names})
    train = samples.values[samples.usable & (samples.split == 0)]
    there = np.isfinite(train)
    share, low, high = 1 - there.mean(axis=0), *_extremes(train, there)
    if half := [n for n, s in zip(names, share) if 0.5 < s < 1]:
        findings.warning("missing values", f"more than half are missing in {listed(half)}; the mean stands for them",
                         "leave them out (data.exclude), or say what is missing (data.nodata)")  # fmt: skip
    if flat := [n for n, a, b in zip(names, low, high) if a >= b]:
        text = f"{listed(flat, 8)}: constant or missing in all training rows"
        findings.error("features", text, f"--set data.exclude=[{','.join(flat[:20])}]")
    fillers = {v for v in high if v in (65535.0, 32767.0)} | {v for v in low if v in (-9999.0, -32768.0, -99999.0)}
    if fillers:
        values = ",".join(f"{v:g}" for v in sorted(fillers))
        found = [n for n, a, b in zip(names, low, high) if {a, b} & fillers]
        text = f"{listed(found)}: an extreme is {values}, which often means missing"
        findings.warning("missing values", text, f"--set data.nodata=[{values}] where it does")


def _judge_choice(findings: Findings, samples: Samples) -> None:
    """Warn of columns that nobody would have left out, or taken, by name."""
    text = [c for c in samples.columns.values() if not c.numeric and c.name != samples.target]
    for column in (c for c in text if share_of_numbers(c) > _MOSTLY):
        findings.warning("features", f"{column.name} is left out: it holds text, {word_of(column)}",
                         "correct the table; an empty field is a missing value")  # fmt: skip
    counting = [c.name for c in samples.features if len(c.values) > 2 and (np.diff(c.values) == 1).all()]
    if counting:
        findings.warning("features", f"{listed(counting)}: counts the rows",
                         f"--set data.exclude=[{','.join(counting)}]")  # fmt: skip


def _extremes(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value (C,) of each feature; inf and -inf where there is none."""
    low = np.where(there, values, np.inf).min(axis=0, initial=np.inf)
    return low, np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)


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
