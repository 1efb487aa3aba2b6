"""Are two things the same, and if not, where do they differ: checkpoints, folders, arrays."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eozoo_core.task import Arrays


def difference(a: Any, b: Any, where: str = "") -> str | None:
    """Return the first place where two nests of dicts, lists, tensors and numbers differ, and how; None = nowhere.

    Exact: every bit of a tensor counts; NaN equals NaN.
    """
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return _tensor_difference(a, b, where)
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where or 'content'}: only one has {sorted(map(str, a.keys() ^ b.keys()))}"
        return _first(difference(a[k], b[k], f"{where}.{k}".strip(".")) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return f"{where}: {len(a)} entries against {len(b)}"
        return _first(difference(x, y, f"{where}.{i}".strip(".")) for i, (x, y) in enumerate(zip(a, b)))
    same = a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
    return None if same else f"{where}: {a!r} against {b!r}"


def checkpoint_difference(a: Path, b: Path, without: tuple[str, ...] = ()) -> str | None:
    """Return the first difference between all current.pt and training logs of two run directories, None = the same."""
    import json

    from eozoo_core.run.checkpoint import load_checkpoint

    for name in ("current.pt", "training_log.jsonl"):
        there = [{str(f.relative_to(run)) for f in run.rglob(name)} for run in (a, b)]
        if there[0] != there[1] or not there[0]:
            return f"{name}: found as {sorted(there[0])} and as {sorted(there[1])}"
    for name in sorted(str(f.relative_to(a)) for f in a.rglob("current.pt")):
        contents = [load_checkpoint(run / name) for run in (a, b)]
        kept = [{k: v for k, v in content.items() if k not in without} for content in contents]
        if found := difference(*kept):
            return f"{name}: {found}"
    for name in sorted(str(f.relative_to(a)) for f in a.rglob("training_log.jsonl")):
        logs = [[json.loads(line) for line in (run / name).read_text().splitlines()] for run in (a, b)]
        if found := difference(*logs, where="line"):
            return f"{name}: {found}"
    return None


def array_difference(a: Arrays, b: Arrays, tolerance: float = 0.0) -> str | None:
    """Return the first difference between two dicts of arrays, None = the same; NaN equals NaN.

    ``tolerance`` is relative to the largest finite value of each array; 0 = exact.
    """
    import numpy as np

    if a.keys() != b.keys():
        return f"only one has {sorted(a.keys() ^ b.keys())}"
    for name in a:
        x, y = np.asarray(a[name]), np.asarray(b[name])
        if x.shape != y.shape:
            return f"{name}: shape {x.shape} against {y.shape}"
        scale = np.abs(x[np.isfinite(x)]).max(initial=0.0) if x.dtype.kind == "f" else 0.0
        close = np.isclose(x, y, rtol=0.0, atol=tolerance * scale, equal_nan=True) if x.dtype.kind == "f" else x == y
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0])
            return f"{name}: {(~close).sum()} of {close.size} values differ, at {at} {x[at]} against {y[at]}"
    return None


def tree(folder: Path) -> dict[str, str]:
    """Return relative path -> sha256 of every file under ``folder``."""
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def _tensor_difference(a: Any, b: Any, where: str) -> str | None:
    import torch

    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{where}: {a.dtype} {tuple(a.shape)} against {b.dtype} {tuple(b.shape)}"
    same = (a == b) | ((a != a) & (b != b))
    if bool(same.all()):
        return None
    largest = torch.nan_to_num((a.double() - b.double()).abs(), nan=math.inf).max().item()
    return f"{where}: {int((~same).sum())} of {same.numel()} values differ, at most by {largest:.3g}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((text for text in found if text), None)
