"""One fold of cross-validation: the same task on data that are divided otherwise, by the split designer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from eozoo_core.checking.blocks import Units, kept_together
from eozoo_core.checking.design import SPLITS, design
from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.raster.georeference import Grid, apply
from eozoo_core.raster.points import on_plane, transform_points
from eozoo_core.settings.splits import SplitSettings
from eozoo_core.task.contract import Contract
from eozoo_core.task.data import Data

if TYPE_CHECKING:
    from eozoo_core.checking import Separation, Split

By = Literal["places", "blocks", "fields", "stations", "months"]
_OPTIONS = (
    (", or data.split.by: samples", ""), (", or set data.split.val or test to 0", ", or fewer --folds"),
    (" data.split.by: blocks", " --cv blocks"), ("data.split.gap", "--distance"), ("data.split.block", "--block"),
    ("data.split.column", "--column"), ("data.split:", "--cv:"),
    ("a smaller gap, or other shares", "a smaller --distance"),
)  # fmt: skip
_COUNTED = 5_000  # samples whose labels are counted before they are divided; of more each counts the same


@dataclass(frozen=True)
class Fold:
    """Which part of the data is the test.

    by: places = what lies ``distance`` m apart; blocks = squares of ``block`` m; fields, stations, months = groups that
    the data name, of tables those of ``column``. distance: also the gap between blocks. number: of ``folds``. draw:
    which random division. labels: share of the labels of train and validation that is kept.
    """

    by: By
    folds: int = 5
    number: int = 0
    draw: int = 0
    distance: float = 0.0
    block: float | None = None
    column: str | None = None
    labels: float = 1.0

    def settings(self, known: SplitSettings) -> SplitSettings:
        """Return the settings of the split designer for data of settings ``known``, whose val share stays."""
        column = self.column or known.column
        by = {"places": "distance", "blocks": "blocks"}.get(self.by, "column" if column else "samples")
        if by == "distance" and not self.distance:
            raise ZooError("--cv places: say how far apart places are; --distance 1000 (m)")
        made = {"by": by, "column": column if by == "column" else None, "block": self.block, "gap": self.distance}
        made |= {"folds": self.folds, "fold": self.number, "seed": self.draw, "labels": self.labels}
        return known.model_copy(update=made | {"val": known.val or 0.15})


def folded(task: Contract, fold: Fold) -> Contract:
    """Return ``task`` on one fold: `Contract.folded`, else by ``data.split``, else its splits in one and divided again.

    Raises ZooError where its data cannot be divided so.
    """
    try:
        if (found := task.folded(fold)) is None:
            return _folded(task, fold)
        found.data("test")  # divided here, where errors are put into the words of --cv
        return found
    except ZooError as error:  # of the designer, whose settings nobody typed here
        text = str(error)
        for setting, option in _OPTIONS:
            text = text.replace(setting, option)
        raise type(error)(text) from None


def _folded(task: Contract, fold: Fold) -> Contract:
    settings, train = task.settings, task.data("train")
    if train.division is not None and hasattr(settings.data, "split"):
        _require_named(fold, settings.data.split.column, train.division.units)
        how = fold.settings(settings.data.split)
        made = type(task)(with_data(settings, split=how), task.registry)
        _require_placed(fold, made.data("test").division.units)
        return made
    return _pooled(task, train, fold)


def _require_named(fold: Fold, column: str | None, units: Units) -> None:
    """Raise ZooError where groups are asked for that nobody names; polygons and points are fields themselves."""
    if fold.by in ("places", "blocks") or fold.column or column or (fold.by == "fields" and units.shapes is not None):
        return
    if units.what == "rows" or units.shapes is not None:
        raise ZooError(f"--cv {fold.by}: say which column names them; --column NAME")
    raise ZooError(f"--cv {fold.by}: these {units.what} do not say their {fold.by}; use --cv places or blocks")


def _require_placed(fold: Fold, units: Units) -> None:
    """Raise ZooError where a distance is asked for between samples that say no place."""
    if fold.distance and not units.placed.any():
        raise ZooError(f"--distance {fold.distance:g}: these {units.what} do not say where they lie; leave it out")


def with_data(settings: object, **update: object) -> object:
    """Return ``settings`` with other values in ``data``; the members of an ensemble are trained one after the other."""
    made = {"data": settings.data.model_copy(update=update)}
    if hasattr(settings.runtime, "member_processes"):  # others would read the settings, and not the fold
        made["runtime"] = settings.runtime.model_copy(update={"member_processes": 1})
    return settings.model_copy(update=made)


def _pooled(task: Contract, train: Data, fold: Fold) -> Contract:
    """Return a task whose splits are those of ``task`` in one, divided again."""
    cls = type(task)
    others = [train, *(task.data(name) for name in SPLITS[1:] if task.has_split(name))]
    if type(train).pick is Data.pick:
        train.pick(others, np.zeros(0, int))  # raises
    how, units = _how(others, fold), _units(others, fold)
    _require_placed(fold, units)
    if fold.column:
        raise ZooError(f"--column {fold.column}: is for tables and polygons, not for {train.what}; leave it out")
    owner, kept = design(units, how), kept_together(units, how)

    class Folded(cls):  # members of an ensemble are built of the class
        folded_by = fold
        validates = True

        def data(self, split: str) -> Data:
            if not self.has_split(split):
                raise NoSplit(f"cross-validation: there is no {split}")
            own = cls(self.settings, self.registry)
            found = [own.data(name) for name in SPLITS if own.has_split(name)]
            mine = np.flatnonzero(owner == SPLITS.index(split))
            part = found[0].pick(found, mine)
            part.apart, part.kept = True, kept[mine]
            part.selection = sha256(owner.tobytes() + split.encode()).hexdigest()
            return part

        def has_split(self, split: str) -> bool:
            return split in SPLITS and bool((owner == SPLITS.index(split)).any())

        def describe_splits(self, data: dict[str, Data]) -> tuple[list[Split], Separation]:
            from eozoo_core.task.splits import describe_splits

            return describe_splits(self, data)

    Folded.__name__, Folded.__qualname__ = cls.__name__, cls.__qualname__
    return Folded(with_data(task.settings), task.registry)


def _how(found: Sequence[Data], fold: Fold) -> SplitSettings:
    named, data = found[0].groups(fold.by) is not None, found[0]
    on_ground = data.grid(0) is not None and data.grid(0).crs is not None
    kinds = [by for by in get_args(By) if data.groups(by) is not None or (on_ground and by in ("places", "blocks"))]
    if fold.by not in kinds:
        told = f"; use --cv {' or '.join(kinds)}" if kinds else " or where they lie; give georeferenced files"
        raise ZooError(f"--cv {fold.by}: these {data.what} do not say their {fold.by}{told}")
    if not named:
        return fold.settings(SplitSettings())
    how = {"folds": fold.folds, "fold": fold.number, "seed": fold.draw, "labels": fold.labels}
    return SplitSettings(by="samples", gap=fold.distance).model_copy(update=how)


def _units(found: Sequence[Data], fold: Fold) -> Units:
    """Samples of all splits as what is divided: their places, labels and groups."""
    at = [(data, i) for data in found for i in range(len(data))]
    weight, values = np.ones(len(at)), np.full(len(at), np.nan)
    if len(at) <= _COUNTED:
        for n, (data, i) in enumerate(at):
            target = data.item(i).get("target")
            there = np.isfinite(target) if target is not None else np.zeros(0, bool)
            weight[n] = there.sum() if target is not None else 1
            values[n] = target[there].mean() if there.any() else np.nan
    groups = [data.groups(fold.by) for data in found]
    group = None
    if all(one is not None for one in groups):
        names = np.array([str(name) for one in groups for name in one])
        group = np.unique(names, return_inverse=True)[1].ravel()
        if len(at) > _COUNTED or group.max() + 1 == len(at):
            values[:] = np.nan
    points, size = _middles([data.grid(i) for data, i in at] if group is None or fold.distance else [None] * len(at))
    known = values if np.isfinite(values).any() else None
    return Units(*points, weight, None, known, group, size, found[0].what)


def _middles(grids: Sequence[Grid | None]) -> tuple[np.ndarray, tuple[float, float]]:
    """Middles of grids (2, n) in metres of one plane, NaN = no place, and the largest extent of one."""
    points, sizes = np.full((2, len(grids)), np.nan), np.zeros((len(grids), 2))
    placed = [i for i, grid in enumerate(grids) if grid is not None and grid.crs and grid.transform]
    for i in placed:
        grid = grids[i]
        x, y = apply(
            grid.transform, np.array([0, grid.width / 2, grid.width]), np.array([0, grid.height / 2, grid.height])
        )
        degrees = transform_points(grid.crs, "EPSG:4326", x, y)
        points[:, i], plane = degrees[:, 1], on_plane("EPSG:4326", *degrees)
        sizes[i] = np.abs(plane[:, 2] - plane[:, 0])
    if not placed:
        return points, (0.0, 0.0)
    return on_plane("EPSG:4326", *points), tuple(sizes.max(axis=0).tolist())


def clusters_of(data: Data, fold: Fold) -> list[Hashable]:
    """Name what each sample of a split errs together with: what the division kept together, else itself.

    The names are the same in all folds and draws.
    """
    found = data.kept if data.kept is not None else data.groups(fold.by)
    return [data.name(i) for i in range(len(data))] if found is None else [str(name) for name in found]
