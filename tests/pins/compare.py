"""Two recordings, item by item: everything is equal, renamed or named as a change, or it is a difference."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pins.store import Items, Key, load
from pins.table import Table

# What comes first is closest to the cause.
_ORDER = (
    "case",
    "sample",
    "batch",
    "defaults",
    "settings",
    "files",
    "check",
    "plan",
    "info",
    "log",
    "tensors",
    "predict",
)


@dataclass(frozen=True)
class Difference:
    """Where two recordings differ, and by how much (``gap``: None where it is not a number)."""

    key: Key
    text: str
    gap: float | None = None


def compare(old: Path, new: Path, table: Table, most: int) -> int:
    """Print a line for each unexplained difference, at most ``most`` of a file (0 = all); return how many there are."""
    before, after = load(old), load(new)
    found = differences(table.in_new_names(before), after, table)
    unexplained = [d for d in found if not table.explained(d.key, d.gap)]
    shown: Counter[tuple] = Counter()
    for difference in unexplained:
        place = difference.key[:3]
        shown[place] += 1
        if not most or shown[place] <= most:
            print(f"{difference.key}: {difference.text}")
    for (case, kind, file), count in shown.items():
        if most and count > most:
            print(f"{case}/{kind}{'/' if file else ''}{file}: and {count - most} more of it (--most 0 prints them)")
    for entry in table.stale():
        print(f"stale: {entry} matches nothing; take it out of the table")
    by_case = ", ".join(f"{n} in {case}" for case, n in Counter(d.key.case for d in unexplained).items())
    told = f"{len(found) - len(unexplained)} explained, {len(unexplained)} not"
    print(f"{len(after)} things compared: {told}{f' ({by_case})' if by_case else ''}")
    return len(unexplained)


def differences(old: Items, new: Items, table: Table) -> list[Difference]:
    """Return every difference of two recordings in the same names, in the order of the cases."""
    cases = [{key.case for key in items} for items in (old, new)]
    missing = cases[0] ^ cases[1]
    found = [
        Difference(Key(case, "case", "", ""), f"only in the {'old' if case in cases[0] else 'new'} recording")
        for case in sorted(missing)
    ]
    for key in dict.fromkeys([*old, *new]):
        if key.case in missing:
            continue
        if key not in new:
            found.append(Difference(key, f"gone; was {_short(old[key])}"))
        elif key not in old:
            if not table.is_new_setting(key):
                found.append(Difference(key, f"new; is {_short(new[key])}"))
        elif difference := _differ(key, old[key], new[key]):
            found.append(difference)
    return sorted(found, key=lambda difference: _order(difference.key))


def _order(key: Key) -> tuple:
    return key.case, _ORDER.index(key.kind) if key.kind in _ORDER else len(_ORDER), key.kind, key.file


def _differ(key: Key, a: Any, b: Any) -> Difference | None:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _arrays_differ(key, a, b)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) or type(a) is not type(b):
        return Difference(key, f"{_short(a)} -> {_short(b)}")
    if json.dumps(a) == json.dumps(b):  # NaN is equal to NaN
        return None
    if isinstance(a, (int, float)) and not isinstance(a, bool):
        return Difference(key, f"{a!r} -> {b!r}, differs by {abs(a - b):.3g}", abs(a - b))
    if isinstance(a, list):
        return _lists_differ(key, a, b)
    return Difference(key, f"{_short(a)} -> {_short(b)}")


def _lists_differ(key: Key, a: list, b: list) -> Difference:
    if len(a) != len(b):
        return Difference(key, f"{len(a)} entries -> {len(b)}: {_short(a)} -> {_short(b)}")
    at = [i for i, (x, y) in enumerate(zip(a, b)) if x != y] or [0]
    text = f"{len(at)} of {len(a)} entries differ, first at {at[0]}: {_short(a[at[0]])} -> {_short(b[at[0]])}"
    if all(isinstance(a[i], (int, float)) and isinstance(b[i], (int, float)) for i in at):
        return Difference(key, text, max(abs(a[i] - b[i]) for i in at))
    return Difference(key, text)


def _arrays_differ(key: Key, a: np.ndarray, b: np.ndarray) -> Difference | None:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return Difference(key, f"{_short(a)} -> {_short(b)}")
    if a.tobytes() == b.tobytes():
        return None
    if a.dtype.kind not in "fiub":
        return Difference(key, f"{int((a != b).sum())} of {a.size} values differ")
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if (np.isnan(x) != np.isnan(y)).any():
        places = int((np.isnan(x) != np.isnan(y)).sum())
        return Difference(key, f"{int((~same).sum())} of {a.size} values differ, {places} are missing in one only")
    with np.errstate(invalid="ignore"):
        gap = float(np.abs(x - y)[~same].max(initial=0.0))
    if same.all():
        return Difference(key, "equal numbers, other bits (-0.0 and 0.0, or kinds of NaN)", 0.0)
    return Difference(key, f"{int((~same).sum())} of {a.size} values differ, at most by {gap:.3g}", gap)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
