"""Small files: written complete or not at all; those of preparation steps are told from those of other sources."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eozoo_core.run.checkpoint import write_atomic


def write_text(path: Path, text: str) -> Path:
    """Write a text file and the folder that it lies in; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda file: file.write(text.encode()))
    return path


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file with a header; return its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def stamp_of(decides: Any, files: Iterable[Path]) -> str:
    """Return a hash of ``decides`` (plain JSON types) and of names, sizes and times of change of ``files``."""
    stats = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return hashlib.sha256(json.dumps([decides, stats]).encode()).hexdigest()
