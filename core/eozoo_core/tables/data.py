"""Samples of a table: which columns they are, how rows are divided, and whole batches of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from eozoo_core.checking.blocks import kept_together
from eozoo_core.checking.design import SPLITS, design, given_splits
from eozoo_core.checking.division import Division
from eozoo_core.checking.findings import listed
from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.run.table_file import Column, read_table
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.tables.columns import choose, column_values, find_column, known_features, with_unit
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.survey import ROLE, ZERO_TO_ONE, TableSurvey
from eozoo_core.tables.values import class_indices, numbers_of, stacked, unit_of, units_of
from eozoo_core.task.data import Arrays, Data
from eozoo_core.task.survey import BandSurvey, surveyed
from eozoo_core.train.loading import Draw


@dataclass(frozen=True)
class Target:
    """What is learned of a table beside the settings of its data.

    unit:    of a target of numbers; "" = as its header says; None = the target is a class.
    classes: their names in order; () = all that the target holds, sorted.
    bands:   of a series in the order of an encoder that is trained already; () = as the table has them.
    """

    unit: str | None = None
    classes: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """A table as arrays. Rows without a target, or in which every feature is missing, are in no split.

    path:     of the table. columns: all of its columns. how: what the settings say of them. files: what was read.
    features: the chosen ones; values (n, C) float32, NaN = missing. dates: of a series, 0 = there is none.
    target:   name; ``labels`` (n,) float32 in ``unit``, or index of ``classes``, NaN = missing.
    """

    path: Path
    columns: Mapping[str, Column]
    how: TableDataSettings
    features: tuple[Column, ...]
    values: np.ndarray
    dates: int
    target: str
    labels: np.ndarray
    unit: str
    classes: tuple[str, ...]
    files: tuple[Path, ...]

    @cached_property
    def division(self) -> Division:
        """How the rows are divided. Raises ZooError where they cannot be."""
        how, names = self.how.split, self.classes
        units, named = units_of(self.columns, self.how, self.labels, len(names), self.path), None
        if how.column is not None:
            named = column_values(self.columns, how.column, self.path, "data.split.column")
        given = named is not None and given_splits(named, how.column or "") is not None
        return Division(units, design(units, how, named), how, names, given=given)

    @cached_property
    def blocks(self) -> np.ndarray:
        """Number (n,) of what is not divided that each row is in."""
        how, column = self.how.split, None
        if how.column is not None:
            column = column_values(self.columns, how.column, self.path, "data.split.column")
        return kept_together(self.division.units, how, column)

    @property
    def split(self) -> np.ndarray:
        """Split (n,) uint8 of each row, see `checking.design`."""
        return self.division.split

    @property
    def usable(self) -> np.ndarray:
        """Rows (n,) that can be learned from."""
        return np.isfinite(self.labels)

    def rows(self, split: str) -> np.ndarray:
        """Numbers of the usable rows of a split; "all" = of every split. Raises NoSplit where there are none."""
        if split != "all" and split not in SPLITS:
            raise NoSplit(f"{self.path}: there is no split {split!r}; train, val, test and all are known")
        where = self.usable if split == "all" else self.usable & (self.split == SPLITS.index(split))
        if not where.any():
            raise NoSplit(f"{self.path}: no row with a target is in {split}; set data.split")
        return np.flatnonzero(where)


class TableData(Data):
    """The rows of one split: "features" (C,) and "target" (), float32; a batch is cut out of the table at once."""

    what, repeats, together = "rows", True, 8192

    def __init__(self, samples: Samples, split: str):
        self.samples, self.chosen = samples, samples.rows(split)
        self.files, self.root = samples.files, samples.files[0].parent if samples.files else None
        self.selection = sha256(self.chosen.tobytes()).hexdigest()
        self.division = None if split == "all" else samples.division
        self.label_unit = samples.unit
        self.bands = tuple(column.name for column in samples.features)
        self.units = tuple(column.unit for column in samples.features)

    def __len__(self) -> int:
        return len(self.chosen)

    def groups(self, by: str) -> np.ndarray:
        """See `Data.groups`: the blocks or groups of rows that are not divided."""
        return self.samples.blocks[self.chosen]

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


def open_samples(path: Path | None, how: TableDataSettings, wanted: Target, known: TableSurvey) -> Samples:
    """Read a table as ``how`` says. ``known``: of a run that is there, its columns and classes are looked for.

    Raises ZooError, one line, for what is missing or cannot be.
    """
    if path is None:
        raise ZooError("runtime.table is not set; add --set runtime.table=FILE.csv (or .parquet), a sample in each row")
    path = Path(path)
    return samples_of(path, read_table(path), how, wanted, known, (path,))


def samples_of(
    path: Path,
    columns: Mapping[str, Column],
    how: TableDataSettings,
    wanted: Target,
    known: TableSurvey,
    files: tuple[Path, ...],
) -> Samples:
    """Make samples of the columns of a table; see `open_samples`. ``path`` is what messages call it."""
    if how.target is None:
        words = listed(list(columns), 8)
        raise ZooError(f"{path}: data.target is not set; --set data.target=COLUMN says what is learned ({words})")
    target, dates = find_column(columns, how.target, path, "data.target"), known.dates
    if known.seen:
        features = known_features(columns, known, how, path)
    else:
        features, dates = choose(columns, how, path, wanted.bands)
        features = [with_unit(column, how) for column in features]
    values = stacked(features, how.nodata, path)
    if wanted.unit is None:
        labels, names = class_indices(target, how.nodata, known.classes or wanted.classes, path)
        unit = "class index"
    else:
        labels, names = numbers_of(target, how.nodata, path), ()
        unit = unit_of(with_unit(target, how), wanted.unit or (known.label.unit if known.label else ""), path)
    labels = np.where(np.isfinite(values).any(axis=1), labels, np.float32(np.nan))
    return Samples(path, columns, how, tuple(features), values, dates, target.name, labels, unit, names, files)


def survey_table(data: TableData, days: tuple[int, ...], scaling: tuple[BandSurvey, ...]) -> TableSurvey:
    """Look once through the training rows; ``scaling``: see `TableSurvey`.

    Raises ZooError for features that are constant, or missing everywhere.
    """
    samples, rows = data.samples, data.chosen
    statistics = ChannelStatistics(data.bands)
    for start in range(0, len(rows), 2**17):  # bounds the memory of its float64 copies
        statistics.update(samples.values[rows[start : start + 2**17]].T)
    low, high = statistics.minimum, statistics.maximum
    if flat := [name for name, a, b in zip(data.bands, low, high) if not a < b]:
        raise ZooError(
            f"{samples.path}: {listed(flat, 8)}: constant or missing in all training rows; --set "
            f"data.exclude=[{','.join(flat)}]"
        )
    logical = _logical(samples.values[rows])
    labels, counts = ChannelStatistics([samples.target]), ()
    if samples.classes:
        counts = tuple(np.bincount(samples.labels[rows].astype(int), minlength=len(samples.classes)).tolist())
    else:
        labels.update(samples.labels[rows][None])
    return TableSurvey(
        bands=tuple(
            band.model_copy(update={"quantiles": ZERO_TO_ONE}) if flag else band
            for band, flag in zip(surveyed(statistics, data.units), logical, strict=True)
        ),
        label=None if samples.classes else surveyed(labels, (samples.unit,))[0],
        target=samples.target,
        dates=samples.dates,
        days=days,
        scaling=scaling,
        classes=samples.classes,
        counts=counts,
    )


def _logical(values: np.ndarray) -> list[bool]:
    """Whether each feature of ``values`` (n, C) holds nothing but 0 and 1: which of them is rare says nothing."""
    return [bool(((one == 0) | (one == 1) | np.isnan(one)).all()) for one in values.T]
