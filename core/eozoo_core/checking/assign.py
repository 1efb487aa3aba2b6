"""Whole blocks to splits: labels and classes are shared as asked, as nearly as whole blocks allow."""

from __future__ import annotations

import numpy as np

_STARTS = 6  # random divisions of each of two kinds that are compared
_IMPROVED = 3  # of them the best ones, which are improved block by block
_WORK = 2**26  # numbers looked at while one is improved
_PAIRS = 2048  # random exchanges that are tried at a time
_EMPTY, _FAR, _ABSENT = 1e9, 1e4, 3.0  # what a split without labels, one far off its share, and a lost class cost


def assign(weight: np.ndarray, counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Give every block to a split (A,) int64 so that labels and classes are shared as ``shares`` (S,) > 0 asks.

    weight (A,) labels in each block, their sum above 0; counts (A, K) labels of each class, K may be 0. No split is
    left without labels where that can be, then each is within the largest block of its share, then classes are even:
    first that none is missing anywhere. Random divisions (within each class, and of
    all blocks in a row, which keeps the shares) are improved by moves and exchanges of blocks. The order of blocks and
    ``seed`` decide the rest.
    """
    amounts = np.column_stack([weight, counts]).astype(np.float64)
    amounts = amounts[:, amounts.sum(axis=0) > 0]
    problem = _Problem(amounts, shares)
    kinds = (amounts / amounts.sum(axis=0))[:, 1:].argmax(axis=1) if amounts.shape[1] > 1 else np.zeros(len(weight))
    starts = [
        _in_a_row(weight, strata, shares, np.random.default_rng((seed, k)))
        for strata in (kinds, np.zeros(len(weight)))
        for k in range(_STARTS)
    ]
    starts.sort(key=lambda owner: problem.cost(problem.got(owner)).sum())
    best = [problem.improve(owner, np.random.default_rng((seed, k))) for k, owner in enumerate(starts[:_IMPROVED])]
    return min(best, key=lambda owner: problem.cost(problem.got(owner)).sum())


def _in_a_row(weight: np.ndarray, strata: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay the blocks of each stratum in a random row and cut it where the shares end, to the nearest block."""
    splits = rng.permutation(len(shares))
    order = rng.permutation(len(weight))
    order = order[np.argsort(strata[order], kind="stable")]
    row, group = np.cumsum(weight[order]), strata[order]
    first = np.searchsorted(group, group)
    last = np.searchsorted(group, group, side="right") - 1
    before = np.where(first > 0, row[first - 1], 0.0)
    total = row[last] - before
    middle = (row - before - weight[order] / 2) / np.where(total > 0, total, 1)
    owner = np.empty(len(weight), np.int64)
    edges = np.cumsum(shares[splits])[:-1] / shares.sum()
    owner[order] = splits[np.searchsorted(edges, middle, side="right")]
    return owner


class _Problem:
    """Blocks with their amounts (A, 1 + K), labels first, and the amounts (S, 1 + K) that were asked for."""

    def __init__(self, amounts: np.ndarray, shares: np.ndarray):
        self.amounts, self.asked = amounts, np.outer(shares / shares.sum(), amounts.sum(axis=0))
        self.largest, self.total = amounts[:, 0].max(), amounts[:, 0].sum()
        enough = (amounts > 0).sum(axis=0) >= len(shares)  # a class in fewer blocks than splits is lost somewhere
        self.absent = np.where(enough, _ABSENT, 0.0)

    def got(self, owner: np.ndarray) -> np.ndarray:
        """Amounts (S, 1 + K) of each split."""
        return np.stack([self.amounts[owner == s].sum(axis=0) for s in range(len(self.asked))])

    def cost(self, got: np.ndarray, split: np.ndarray | slice | int = slice(None)) -> np.ndarray:
        """How bad ``got`` (..., 1 + K) is for ``split``: the labels count as much as all classes together."""
        asked = self.asked[split]
        ratio = got / asked - 1
        miss = np.minimum(ratio**2, np.abs(ratio)) + self.absent * (got <= 0)
        classes = miss[..., 1:].mean(axis=-1) if miss.shape[-1] > 1 else 0.0
        far = np.maximum(np.abs(got[..., 0] - asked[..., 0]) - self.largest * (1 + 1e-9), 0) / self.total
        return miss[..., 0] + classes + _FAR * far + _EMPTY * (got[..., 0] <= 0)

    def improve(self, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Improve ``owner``: move one block, else exchange two of some random pairs, until neither helps."""
        owner, got = owner.copy(), self.got(owner)
        for _ in range(max(2, min(500, _WORK // (self.amounts.size * 2 * len(got))))):
            if (found := self._move(owner, got)) is None and (found := self._exchange(owner, got, rng)) is None:
                break
            for block, split in found:
                got[owner[block]] -= self.amounts[block]
                got[split] += self.amounts[block]
                owner[block] = split
        return owner

    def _move(self, owner: np.ndarray, got: np.ndarray) -> list[tuple[int, int]] | None:
        now, splits = self.cost(got), range(len(got))
        more = np.stack([self.cost(got[s] + self.amounts, s) for s in splits], axis=1) - now
        less = np.stack([self.cost(got[s] - self.amounts, s) for s in splits], axis=1) - now
        gain = more + np.take_along_axis(less, owner[:, None], axis=1)
        gain[np.arange(len(owner)), owner] = 0
        block, split = np.unravel_index(gain.argmin(), gain.shape)
        return [(int(block), int(split))] if gain[block, split] < -1e-9 else None

    def _exchange(self, owner: np.ndarray, got: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]] | None:
        a, b = rng.integers(len(owner), size=(2, _PAIRS))
        apart = owner[a] != owner[b]
        a, b = a[apart], b[apart]
        if not len(a):
            return None
        one, two, change = owner[a], owner[b], self.amounts[a] - self.amounts[b]
        now = self.cost(got)
        gain = self.cost(got[one] - change, one) + self.cost(got[two] + change, two) - now[one] - now[two]
        k = int(gain.argmin())
        return [(int(a[k]), int(two[k])), (int(b[k]), int(one[k]))] if gain[k] < -1e-9 else None
