"""A file of JSON lines that survives being killed in the middle of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.run import writing
from eozoo_core.run.parsed import read_text
from eozoo_core.run.written import write_text


def append(file: Path, record: dict[str, Any]) -> None:
    """Append one line and sync it to disk. Raises ZooError where the disk is full, ValueError for NaN."""
    writing.append(file, json.dumps(record, allow_nan=False) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """Return all complete lines, oldest first; none where there is no file.

    A last line without its line break is what a killed process left of it, and does not count. Raises ZooError naming
    the line for any other that is not a JSON object.
    """
    if not file.exists():
        return []
    records = []
    for number, line in enumerate(read_text(file, "a log", "delete it, or restore it").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise ZooError(f"{file}: line {number} is not a JSON object; repair or delete the line")
        records.append(record)
    return records


def cut(file: Path, step: int) -> None:
    """Drop the lines after optimiser step ``step``, and a torn last one."""
    if not file.exists():
        return
    kept = "".join(json.dumps(r, allow_nan=False) + "\n" for r in read(file) if r["step"] <= step)
    if kept != file.read_text(encoding="utf-8"):
        write_text(file, kept)
