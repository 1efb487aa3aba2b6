"""What a division of data came to: a table, a picture, and whether it is what was asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.checking.design import NEITHER, SPLITS, TEST, TRAIN, VAL, Units
from eozoo_core.checking.findings import Findings, Numbers, listed, percent
from eozoo_core.score.quicklook import Panel, quicklook

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.settings.splits import SplitSettings

OFF = 2.0  # half of what was asked, by which scores are known 1.4 times worse, or twice as much
_LOST = 0.5  # of the labels in a gap: more than what is used
_CLASSES = 6  # of many classes so many in the table, the commonest
_SIDE = 160  # cells of the picture's map along its longer side, at most
_BAR, _WIDE = 12, 200  # cells of the bar of a split


@dataclass(frozen=True)
class Division:
    """Units, the split (n,) uint8 of each, and how it was asked for; names of the classes that the units count.

    unit: that of places, "m" or "px". given: a column named the splits, so no shares were asked for.
    """

    units: Units
    split: np.ndarray
    how: SplitSettings
    names: tuple[str, ...] = ()
    unit: str = "m"
    given: bool = False

    @property
    def labels(self) -> np.ndarray:
        """Labels (4,) in train, val, test and in none of them."""
        return np.bincount(self.split, self.units.weight, minlength=4)

    @property
    def nearest(self) -> dict[str, float]:
        """How near each split comes to another one, from edge to edge, in ``unit``; only of those with places."""
        placed, found = self.units.placed & (self.units.weight > 0), {}
        for s, name in enumerate(SPLITS):
            mine, other = placed & (self.split == s), placed & (self.split != s) & (self.split != NEITHER)
            if mine.any() and other.any():
                found[name] = least_distance(self.units, mine, other)
        return found

    def table(self) -> Numbers:
        """A row for each split: units, labels and their share, classes or mean, distance to the nearest other split."""
        nearest, labels = self.nearest, self.labels
        asked = dict(zip(SPLITS, self.how.shares, strict=True))
        columns, cells = self._contents()
        rows = []
        for s, name in enumerate((*SPLITS, "in the gap")):
            mine = (self.split == s) & (self.units.weight > 0)
            if name not in asked and not mine.any():
                continue
            share = percent(labels[s] / max(1, labels[:NEITHER].sum())) if s != NEITHER else ""
            far = [f"{nearest[name]:,.0f} {self.unit}" if name in nearest else ""] if nearest else []
            rows.append([name, f"{mine.sum():,}", f"{labels[s]:,.0f}", share, *cells[s], *far])
        columns += ["nearest other"] if nearest else []
        labelled = "labels (area)" if self.units.what == "polygons" else "labels"  # in pixels: none was counted
        return Numbers("splits", ["split", self.units.what, labelled, "share", *columns], rows)

    def numbers(self) -> dict[str, Any]:
        """The same for a script: by split units, labels, labels of each class."""
        counts = self.units.counts
        return {
            name: {
                self.units.what: int((self.split == s).sum()),
                "labels": float(self.labels[s]),
                **({} if counts is None else {"classes": counts[self.split == s].sum(axis=0).tolist()}),
            }
            for s, name in enumerate(SPLITS)
        }

    @property
    def digest(self) -> str:
        """The same where the same units, by their order and labels, are in the same splits."""
        return hashlib.sha256(self.split.tobytes() + self.units.weight.astype(np.float64).tobytes()).hexdigest()[:16]

    def judge(self, findings: Findings) -> None:
        """Add the table, and say where shares are far off those asked, or a gap takes most labels."""
        findings.tables.append(self.table())
        labels, remedy = self.labels, "set a smaller data.split.block or gap, or other shares"
        used, off = labels[:NEITHER].sum(), []
        for s, share in enumerate(() if self.given else self.how.shares):
            got = labels[s] / max(1, used)
            if share and not 1 / OFF <= got / share <= OFF:
                off.append(f"{SPLITS[s]} has {percent(got)} of the labels, {percent(share)} were asked for")
        if off:
            findings.warning("splits", "; ".join(off), remedy, self.numbers())
        if labels[NEITHER] > _LOST * labels.sum():
            text = (
                f"{percent(labels[NEITHER] / labels.sum())} of the labels lie within {self.how.gap:g} {self.unit} of "
            )
            findings.warning("splits", f"{text}another split and are not used", "set a smaller data.split.gap")
        if not off:
            parts = [f"{name} {percent(n / max(1, used))}" for name, n in zip(SPLITS, labels, strict=False)]
            findings.ok("splits", f"shares of the labels: {', '.join(parts)}", self.numbers())

    def keep(self, run: Run) -> None:
        """Note the numbers and the digest in run.json, and draw the picture into ``run`` as splits.png."""
        run.note("splits", self.numbers())
        run.note("division", self.digest)
        if panels := self.panels():
            quicklook(panels, run.path / "splits.png", "how the data are divided")

    def panels(self) -> list[Panel]:
        """A map of the splits and one of the labels, where places are known, and a bar of classes for each split."""
        found = []
        if self.units.placed.any():
            at, shape = self._cells()
            splits = np.full(shape, np.nan, np.float32)
            splits[at] = self.split[self.units.placed]
            found.append(Panel(splits, f"splits of {len(self.split):,} {self.units.what}",
                               classes=(*SPLITS, "in the gap")))  # fmt: skip
            found.append(self._label_map(at, shape))
        bars = self._bars()
        return found if bars is None else [*found, bars]

    def _contents(self) -> tuple[list[str], list[list[str]]]:
        """Columns of the table that say what labels are, and their cells by split."""
        units, inside = self.units, [self.split == s for s in range(4)]
        if units.counts is not None:
            sums = np.stack([units.counts[rows].sum(axis=0) for rows in inside])
            shown = np.sort(np.argsort(-sums.sum(axis=0), kind="stable")[:_CLASSES])
            names = [self.names[k] if self.names else f"class {k}" for k in shown]
            shares = sums / np.maximum(1, sums.sum(axis=1, keepdims=True))
            cells = [[percent(share) for share in row[shown]] for row in shares]
            if len(shown) < sums.shape[1]:
                names.append("classes")
                cells = [[*row, f"{(of > 0).sum()} of {len(of)}"] for row, of in zip(cells, sums, strict=True)]
            return names, cells
        if units.values is None:
            return [], [[]] * 4
        cells = []
        for rows in inside:
            known = units.values[rows & np.isfinite(units.values)]
            cells.append([f"{known.mean():.4g} +- {known.std():.4g}" if known.size else ""])
        return ["mean +- std"], cells

    def _cells(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[int, int]]:
        """Row and column of each placed unit in the picture's map, north up, and the shape of that."""
        points = self.units.points[self.units.placed]
        low, extent = points.min(axis=0), np.ptp(points, axis=0)
        across = min(_SIDE, 2 * len(points) ** 0.5)  # few units are drawn larger
        side = max(self.units.side, float(extent.max()) / across) or 1.0
        col, row = np.floor((points - low) / side).astype(int).T
        height, width = row.max() + 1, col.max() + 1
        return (height - 1 - row, col), (height, width)

    def _label_map(self, at: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> Panel:
        units, placed = self.units, self.units.placed
        drawn = np.full(shape, np.nan, np.float32)
        if units.counts is not None:
            some = units.counts[placed].sum(axis=1) > 0
            drawn[at] = np.where(some, units.counts[placed].argmax(axis=1), np.nan)
            return Panel(drawn, "commonest class", classes=self._class_names())
        if units.values is not None:
            drawn[at] = units.values[placed]
            return Panel(drawn, "label", colours="magma")
        drawn[at] = units.weight[placed]
        return Panel(drawn, "labels", "number", "magma")

    def _class_names(self) -> tuple[str, ...]:
        return self.names or tuple(f"class {k}" for k in range(self.units.counts.shape[1]))

    def _bars(self) -> Panel | None:
        """Train, val and test from top to bottom, each as long as the picture and divided by its classes."""
        if self.units.counts is None:
            return None
        rows, names = [], [name for s, name in enumerate(SPLITS) if (self.split == s).any()]
        for s in (TRAIN, VAL, TEST):
            sums = self.units.counts[self.split == s].sum(axis=0)
            if not sums.sum():
                continue
            ends = np.cumsum(sums) / sums.sum()
            bar = np.searchsorted(ends, (np.arange(_WIDE) + 0.5) / _WIDE, side="right").astype(np.float32)
            rows += [np.tile(bar, (_BAR, 1)), np.full((_BAR // 3, _WIDE), np.nan, np.float32)]
        title = f"classes of {listed(names)}, from the top"
        return Panel(np.concatenate(rows[:-1]), title, classes=self._class_names()) if rows else None


def least_distance(units: Units, mine: np.ndarray, others: np.ndarray) -> float:
    """The least distance between the units ``mine`` (n,) and ``others`` (n,), bool, edge to edge."""
    extent = np.ptp(units.points[mine | others], axis=0)
    most = max(float(extent.max()) / (mine.sum() + others.sum()) ** 0.5, 1e-9)
    while not np.isfinite(found := units.distances(mine, others, most).min()):
        most *= 2
    return float(found)
