"""Samples of a table: which columns they are, how rows are divided, and whole batches of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eozoo_core.checking.design import SPLITS, design
from eozoo_core.checking.division import Division
from eozoo_core.checking.findings import listed
from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.run.table_file import Column, read_table
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task.data import Arrays, Data
from eozoo_core.task.survey import surveyed
from eozoo_core.task.table_columns import (
    choose,
    class_indices,
    column_values,
    find_column,
    numbers_of,
    stacked,
    unit_of,
    units_of,
    with_unit,
)
from eozoo_core.task.table_settings import TableDataSettings
from eozoo_core.task.table_survey import ROLE, TableSurvey
from eozoo_core.train.loading import Draw


@dataclass(frozen=True)
class Samples:
    """A table as arrays. Rows without a target, or in which every feature is missing, are in no split.

    path:     of the table. columns: all of its columns, for ``check``.
    features: the chosen ones; values (n, C) float32, NaN = missing. dates: of a series, 0 = there is none.
    target:   name; ``labels`` (n,) float32 in ``unit``, or index of ``classes``, NaN = missing.
    division: of all rows; its ``split`` (n,) uint8, see `checking.design`.
    """

    path: Path
    columns: Mapping[str, Column]
    features: tuple[Column, ...]
    values: np.ndarray
    dates: int
    target: str
    labels: np.ndarray
    unit: str
    classes: tuple[str, ...]
    division: Division

    @property
    def split(self) -> np.ndarray:
        """Split (n,) uint8 of each row."""
        return self.division.split

    @property
    def usable(self) -> np.ndarray:
        """Rows (n,) that can be learned from."""
        return self.division.units.weight > 0

    def rows(self, split: str) -> np.ndarray:
        """Numbers of the usable rows of a split; "all" = of every split. Raises NoSplit where there are none."""
        if split != "all" and split not in SPLITS:
            raise NoSplit(f"{self.path}: there is no split {split!r}; train, val, test and all are known")
        where = self.usable if split == "all" else self.usable & (self.split == SPLITS.index(split))
        if not where.any():
            raise NoSplit(f"{self.path}: no row is in {split}; set data.split")
        return np.flatnonzero(where)


class TableData(Data):
    """The rows of one split: "features" (C,) and "target" (), float32; a batch is cut out of the table at once."""

    what, repeats, together = "rows", True, 8192

    def __init__(self, samples: Samples, split: str):
        self.samples, self.chosen = samples, samples.rows(split)
        self.files, self.root, self.division = [samples.path], samples.path.parent, samples.division
        self.bands = tuple(column.name for column in samples.features)
        self.units = tuple(column.unit for column in samples.features)

    def __len__(self) -> int:
        return len(self.chosen)

    def items(self, indices: Sequence[int]) -> Arrays:
        """See `Data.items`."""
        rows = self.chosen[np.asarray(indices, np.int64)]
        return {ROLE: self.samples.values[rows], "target": self.samples.labels[rows]}

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        return {name: np.asarray(values[0]) for name, values in self.items([index]).items()}

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """See `Data.batch`."""
        return self.items(np.fromiter((draw.index for draw in draws), np.int64, len(draws)))

    def name(self, index: int) -> str:
        """Say which row this is, counted as a spreadsheet does: the header is row 1."""
        return f"{self.samples.path}: row {self.chosen[index] + 2}"


def open_samples(
    path: Path | None, how: TableDataSettings, unit: str | None, classes: tuple[str, ...], known: TableSurvey
) -> Samples:
    """Read a table as ``how`` says. ``unit``: of a target of numbers; "" = what its header says. None = classes.

    classes: their names in order, () = all that the target holds, sorted. ``known``: of a run that is there, its
    columns and classes are looked for. Raises ZooError, one line, for what is missing or cannot be.
    """
    if path is None:
        raise ZooError("runtime.table is not set; add --set runtime.table=FILE.csv (or .parquet), a sample in each row")
    columns = read_table(Path(path))
    if how.target is None:
        words = listed(list(columns), 8)
        raise ZooError(f"{path}: data.target is not set; --set data.target=COLUMN says what is learned ({words})")
    path, target, dates = Path(path), find_column(columns, how.target, path, "data.target"), known.dates
    if known.seen:
        features = [find_column(columns, name, path, "the run's features") for name in known.names]
    else:
        features, dates = choose(columns, how, path)
    features = tuple(with_unit(column, how) for column in features)
    values = stacked(features, how.nodata)
    if unit is None:
        labels, names = class_indices(target, known.classes or classes, path)
        said = "class index"
    else:
        labels, names = numbers_of(target, how.nodata, path), ()
        said = unit_of(with_unit(target, how), unit, path)
    labels = np.where(np.isfinite(values).any(axis=1), labels, np.float32(np.nan))
    units = units_of(columns, how, labels, len(names), path)
    named = None if how.split.column is None else column_values(columns, how.split.column, path, "data.split.column")
    division = Division(units, design(units, how.split, named), how.split, names)
    return Samples(path, columns, features, values, dates, target.name, labels, said, names, division)


def survey_table(data: TableData, days: tuple[int, ...]) -> TableSurvey:
    """Look once through the training rows. Raises ZooError for features that are constant, or missing everywhere."""
    samples, rows = data.samples, data.chosen
    statistics = ChannelStatistics(data.bands)
    for start in range(0, len(rows), 2**17):  # bounds the memory of its float64 copies
        statistics.update(samples.values[rows[start : start + 2**17]].T)
    statistics.require_spread(f"{samples.path}: training rows")
    labels, counts = ChannelStatistics([samples.target]), ()
    if samples.classes:
        counts = tuple(np.bincount(samples.labels[rows].astype(int), minlength=len(samples.classes)).tolist())
    else:
        labels.update(samples.labels[rows][None])
    return TableSurvey(
        bands=surveyed(statistics, data.units),
        label=None if samples.classes else surveyed(labels, (samples.unit,))[0],
        target=samples.target,
        dates=samples.dates,
        days=days,
        classes=samples.classes,
        counts=counts,
    )
