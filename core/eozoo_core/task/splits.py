"""The splits of a task: opened, described to ``eozoo_core.checking``, and refused where they share anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from eozoo_core.checking import Item, Place, Separation, Split, place_of, require_separate
from eozoo_core.task.contract import Contract
from eozoo_core.task.data import Data


def open_splits(task: Contract, compared: bool = False) -> dict[str, Data]:
    """Open train, val (see ``Task.validates``) and, where there is one, test.

    Raises ZooError where two share ground, files or pixels, unless they were ``compared`` before.
    """
    found = {name: task.data(name) for name in (("train", "val") if task.validates else ("train",))}
    if task.has_split("test"):
        found["test"] = task.data("test")
    if not compared:
        require_separate(*task.describe_splits(found), quiet=task.settings.runtime.quiet)
    return found


def describe_splits(task: Contract, found: Mapping[str, Data]) -> tuple[list[Split], Separation]:
    """Describe splits by the pixels of the first input and by their places; the default of ``Task.describe_splits``."""
    role = task.ports(task.Survey()).inputs[0].role
    return [describe_split(name, data, role) for name, data in found.items()], Separation()


def describe_split(name: str, data: Data, role: str) -> Split:
    """Return a split as core judges it: names, how to read input ``role`` of a sample, files and places."""

    def read(i: int) -> Item:
        arrays = data.item(i)
        return Item(arrays[role], arrays.get("target"))

    def place(i: int) -> Place | None:
        grid = data.grid(i)
        return None if grid is None else place_of(data.name(i), grid)

    names = [data.name(i) for i in range(len(data))]
    if data.apart:
        return Split(name, names, read, what=data.what, compared=False)
    return Split(name, names, read, data.input_files, place, what=data.what)


def root_of(data: Data) -> Path:
    """Return the folder that the files of a split lie in, see `Data.root`; "." where it has no files."""
    return data.root or Path(os.path.commonpath([file.parent.absolute() for file in data.files] or ["."]))
