"""Splits by place: blocks of a raster are drawn for train, val and test, and windows lie within blocks of one split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.tiles import Window

_DRAWS = 200  # random assignments tried; the one nearest to the asked shares is taken


@dataclass(frozen=True)
class Placed:
    """A window and the split that it belongs to."""

    split: str
    window: Window

    @property
    def name(self) -> str:
        """A name that says where it lies."""
        return f"r{self.window.row:06d}_c{self.window.col:06d}"


def make_blocks(height: int, width: int, block: int, gap: int, size: int) -> list[Window]:
    """Cut a raster into blocks of ``block`` px with ``gap`` px between them; those at the end may be smaller, but hold
    a patch of ``size``. Raises ZooError where not even one patch fits.
    """
    rows = [r for r in range(0, height, block + gap) if min(block, height - r) >= size]
    cols = [c for c in range(0, width, block + gap) if min(block, width - c) >= size]
    if not rows or not cols:
        raise ZooError(
            f"prepare.patches.size: a patch of {size} px does not fit into a raster of {height} x {width} px"
        )
    return [Window(r, c, min(block, height - r), min(block, width - c)) for r in rows for c in cols]


def tile_block(block: Window, size: int) -> Iterator[Window]:
    """Windows of ``size`` side by side in a block."""
    for row in range(block.row, block.row + block.height - size + 1, size):
        for col in range(block.col, block.col + block.width - size + 1, size):
            yield Window(row, col, size, size)


def assign_blocks(labels: Sequence[int], shares: dict[str, float], seed: int) -> list[str | None]:
    """Give every block that has labels to a split so that the labels are shared as asked; None = a block without.

    Blocks are taken in random order, each by the split that lacks most; of several such draws the best is kept.
    Raises ZooError where there are fewer labelled blocks than splits, or a split would get less than half its share.
    """
    counts = np.asarray(labels, np.int64)
    holders = np.flatnonzero(counts)
    if len(holders) < len(shares):
        raise ZooError(
            f"prepare.patches: {len(holders)} blocks hold labels, {len(shares)} splits need one each; "
            "set a smaller prepare.patches.block or size"
        )
    names = list(shares)
    asked = np.array([shares[name] for name in names])
    best, best_miss, best_got = None, np.inf, asked
    for draw in range(_DRAWS):
        order = np.random.default_rng((seed, draw)).permutation(holders)
        owner, got = _deal(counts, order, asked)
        miss = np.abs(got - asked).max()
        if miss < best_miss:
            best, best_miss, best_got = owner, miss, got
    poor = int(np.argmin(best_got / asked))
    if best is None or best_got[poor] < 0.5 * asked[poor]:
        raise ZooError(
            f"prepare.patches.shares: {names[poor]} would get {best_got[poor]:.1%} of the labels instead of "
            f"{asked[poor]:.1%}: the blocks are too large for these shares; set a smaller prepare.patches.block or size"
        )
    return [names[best[i]] if counts[i] else None for i in range(len(counts))]


def _deal(counts: np.ndarray, order: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = counts.sum()
    owner, got = np.full(len(counts), -1), np.zeros(len(asked))
    for i in order:
        split = int(np.argmin(got / (asked * total)))
        owner[i] = split
        got[split] += counts[i]
    return owner, got / total


def require_disjoint(placed: Sequence[Placed], height: int, width: int) -> None:
    """Raise ZooError where windows of two splits share a pixel of the raster (height, width)."""
    names = list(dict.fromkeys(p.split for p in placed))
    owner = np.zeros((height, width), np.uint8)
    for p in placed:
        mine = names.index(p.split) + 1
        part = owner[p.window.slices]
        other = part[(part != 0) & (part != mine)]
        if other.size:
            raise ZooError(
                f"patch {p.name} of {p.split} overlaps a patch of {names[other[0] - 1]} by {other.size} px; "
                "splits must not share a place"
            )
        part[:] = mine
