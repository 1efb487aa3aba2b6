"""A registered dataset as a table: a sample in each row, with a column that says its split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.run.table_file import Column
from eozoo_core.settings import Named
from eozoo_core.spec import Port
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.survey import ROLE
from eozoo_core.task.contract import Contract
from eozoo_core.task.registered import Registered

SAMPLE = (Port(ROLE, "C"), Port("target", ""))  # what ``data.dataset`` gives
_TARGET, _SPLIT = "target", "split"


@dataclass(frozen=True)
class GivenTable:
    """Columns of all samples, the settings that say what they are, and the files that the dataset names."""

    said: Path
    columns: dict[str, Column]
    how: TableDataSettings
    files: tuple[Path, ...]


def registered_table(task: Contract, named: Named, how: TableDataSettings) -> GivenTable:
    """Read all splits of ``data.dataset``, which is built with ``split``.

    Columns are called as its ``bands``, else f0, f1 and so on, with its ``units``. Raises ZooError, one line, for what
    does not fit.
    """
    said, parts, splits, files, made = f"data.dataset.name: {named.name}", [], [], [], None
    for split in ("train", "val", "test"):
        try:
            made = task.build("dataset", named, {"split": split})
            data = Registered(made, said, SAMPLE)
        except NoSplit:
            continue
        parts.append(data.items(range(len(data))))
        splits += [split] * len(data)
        files += [file for file in data.files if file not in files]
    if not parts:
        raise ZooError(f"{said}: has neither train nor val nor test")
    count = {part[ROLE].shape[1] for part in parts}
    if len(count) > 1:
        raise ZooError(f"{said}: its splits have {' and '.join(map(str, sorted(count)))} features; report it")
    values = np.concatenate([part[ROLE] for part in parts]).astype(np.float64)
    names, units = _named(made, values.shape[1])
    columns = {name: Column(name, unit, values[:, i], name) for i, (name, unit) in enumerate(zip(names, units))}
    target = np.concatenate([np.asarray(part[_TARGET], np.float64) for part in parts])
    columns[_TARGET] = Column(_TARGET, "", target, _TARGET)
    columns[_SPLIT] = Column(_SPLIT, "", np.array(splits, object), _SPLIT)
    divided = how.split.model_copy(update={"column": _SPLIT})
    update = {"target": _TARGET, "features": how.features or tuple(names), "split": divided}
    return GivenTable(Path(said), columns, how.model_copy(update=update), tuple(files))


def _named(made: object, count: int) -> tuple[Sequence[str], Sequence[str]]:
    bands, units = tuple(getattr(made, "bands", ())), tuple(getattr(made, "units", ()))
    fits = len(bands) == count and not {_TARGET, _SPLIT} & set(bands)
    return bands if fits else [f"f{i}" for i in range(count)], units if len(units) == count else ("",) * count
