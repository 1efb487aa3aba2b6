"""Whether two splits share what they should not: files, pixels, hours. Ground is measured in ``places``."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eozoo_core.run.fingerprint import ends_of

_KEPT = 8  # of this many fingerprints one is kept
_FEWEST = 8  # fingerprints in common that are no chance


def nearest_time(times: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``times (n,)`` datetime64 the nearest of ``others (m,)``, m > 0: its index and the time between.

    Returns index (n,) int64 and gap (n,) timedelta64[s], never negative. NaT is far from everything: its gap is NaT.
    """
    times, others = (np.asarray(t, "datetime64[s]") for t in (times, others))
    order = np.argsort(others, kind="stable")[: int((~np.isnat(others)).sum())]
    if not len(order):
        return np.zeros(len(times), np.int64), np.full(len(times), np.timedelta64("NaT"), "timedelta64[s]")
    after = np.searchsorted(others[order], times).clip(0, len(order) - 1)
    before = (after - 1).clip(0)
    gaps = [np.abs(times - others[order[k]]) for k in (before, after)]
    closer = gaps[1] < gaps[0]
    return np.where(closer, order[after], order[before]), np.where(closer, gaps[1], gaps[0])


def fingerprints(image: np.ndarray) -> np.ndarray:
    """Numbers that say which ground an image ``(C, H, W)`` shows, sorted uint64: about one for 8 pixels.

    Each is of a square of 2 x 2 pixels, all their bands, whatever their order: the same pixels give the same numbers
    when an image is renamed, shifted, cut, turned or mirrored, and other values give other ones. Squares in which
    something is missing, even ones (no data, saturation) and those that are in the image more than once give none; an
    image with so few grey levels that most of its squares are repeated gives nothing at all.
    """
    bits = np.ascontiguousarray(image + np.float32(0), np.float32).view(np.uint32)  # + 0: -0.0 is 0.0
    pixel = np.zeros(image.shape[1:], np.uint64)
    for band in bits:
        pixel = _mixed(pixel * np.uint64(0x9E3779B97F4A7C15) + band.astype(np.uint64) + np.uint64(1))
    valid = np.isfinite(image).all(axis=0)
    corners = [np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]]
    good = np.logical_and.reduce([valid[c] for c in corners])
    good &= np.logical_or.reduce([pixel[c] != pixel[corners[0]] for c in corners[1:]])
    prints = _mixed(sum(pixel[c][good] for c in corners) if good.any() else np.empty(0, np.uint64))
    kept, counts = np.unique(prints[prints % np.uint64(_KEPT) == 0], return_counts=True)
    once = kept[counts == 1]
    return once if 2 * len(once) > counts.sum() else once[:0]


def shared_pixels(one: Sequence[np.ndarray], two: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """Find images of two lists of `fingerprints` that show the same pixels.

    Returns (index in one, index in two, share of the smaller image that the other one holds too), the largest share
    first. Fewer than 8 numbers or 5 % in common count as chance.
    """
    if not sum(map(len, one)) or not sum(map(len, two)):
        return []
    prints, owner = np.concatenate(one), np.repeat(np.arange(len(one)), [len(p) for p in one])
    order = np.argsort(prints, kind="stable")
    prints, owner = prints[order], owner[order]
    found = []
    for j, mine in enumerate(two):
        first, last = (np.searchsorted(prints, mine, side) for side in ("left", "right"))
        hits = last - first
        if not hits.any():
            continue
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(hits)[:-1]]), hits)
        counts = np.bincount(owner[starts + np.arange(hits.sum())])
        for i in np.flatnonzero(counts >= _FEWEST):
            share = counts[i] / min(len(one[i]), len(mine))
            if share >= 0.05:
                found.append((int(i), j, float(share)))
    return sorted(found, key=lambda f: -f[2])


def copies(files: Sequence[Path]) -> dict[int, int]:
    """Return the number of every file that has the bytes of an earlier one -> the number of the first such.

    Files are told apart by size and 64 KiB at both ends; only where these agree is all of them read. Raises OSError.
    """
    known: dict[Any, list[int]] = {}
    found = {}
    for j, path in enumerate(files):
        size, head, tail = ends_of(path)
        alike = known.setdefault((size, hashlib.blake2b(head + tail).digest()), [])
        i = next((i for i in alike if path.samefile(files[i]) or filecmp.cmp(files[i], path, shallow=False)), None)
        if i is None:
            alike.append(j)
        else:
            found[j] = i
    return found


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
