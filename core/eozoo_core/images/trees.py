"""A forest as a network for images: grown from the labels of a split (`score.forest`), applied with torch, so that
checkpoints, maps, exported graphs and ensembles have it as they have any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from eozoo_core.errors import ZooError
from eozoo_core.images.squares import square_mean
from eozoo_core.score.forest import Forest, grow_forest

_ROWS = 16_384  # pixels that go down a tree at once
_LEVELS = 50  # shares of labels that a leaf knows where a quantile is asked for
_LOOK = 5  # questions between looks for rows that have arrived
_TREES = ("roots", "feature", "threshold", "right")


class PixelForest(nn.Module):
    """Extremely randomised trees on what `covariates` says of every pixel; ``solve`` grows them, no step trains them.

    bands: channels of an image. outputs: 1 = the mean alone; 2 = with the log-scale of its deviation. size: trees,
    fewest labels of a leaf. spread: the deviation is that of the labels in the leaves (Meinshausen 2006, Quantile
    Regression Forests), of its own in every pixel; without it the RMSE of trees on labels that they did not see, the
    same everywhere. quantile: of the labels in the leaves, 0..1, in place of the mean; None = the mean.

    Leaf values are parameters, the rest of the trees buffers; their sizes are those of the labels, so a checkpoint
    says them (`take_sizes`). ``seed`` is drawn with the weights: ensembles have members of their own.
    """

    multiple = 1

    def __init__(
        self,
        bands: int,
        outputs: int,
        size: tuple[int, int],
        spread: bool,
        quantile: float | None,
        squares: Sequence[int],
    ):
        super().__init__()
        self.outputs, self.size, self.spread, self.quantile = outputs, size, spread, quantile
        self.squares = tuple(squares)
        self._features = bands * (1 + len(self.squares))
        self.register_buffer("seed", torch.randint(2**31 - 1, ()))
        for name, values in {"roots": [0], "feature": [-1], "threshold": [0.0], "right": [0]}.items():
            self.register_buffer(name, torch.tensor(values))
        self.register_buffer("residual", torch.tensor(1.0))  # of the target as it is standardised
        self.register_buffer("power", torch.tensor(2))  # of the log-scale, see `LabelLoss.scale_power`
        self.register_buffer("levels", torch.zeros(_LEVELS if quantile is not None else 0))
        first = [0.0] + [1.0] * spread + [1 / _LEVELS] * len(self.levels)  # mean, mean square, shares of the levels
        self.values = nn.Parameter(torch.tensor([first]))
        self._depth = 1

    def covariates(self, image: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        """Return what trees see of every pixel, (B, F, H, W): its bands, and their means in the squares around it."""
        return torch.cat([image, *(square_mean(image, side) for side in self.squares)], dim=1)

    def solve(self, x: np.ndarray, y: np.ndarray, fold: np.ndarray, power: int) -> None:
        """Grow the trees on rows (n, F) and standardised labels (n,); ``fold`` and errors as `grow_forest`."""
        forest = grow_forest(x, y[:, None], fold, False, size=self.size, seed=int(self.seed))
        columns = [y[:, None]]
        if self.spread:
            columns.append(y[:, None] ** 2)
        if self.quantile is not None:
            levels = np.quantile(y, (np.arange(_LEVELS) + 0.5) / _LEVELS)
            columns.append(np.abs(y[:, None] - levels).argmin(axis=1)[:, None] == np.arange(_LEVELS))
            self.levels = torch.tensor(levels, dtype=torch.float32)
        known = np.concatenate(columns, axis=1)
        sums, count = np.zeros((len(forest.values), known.shape[1])), np.zeros((len(forest.values), 1))
        for ends in forest.leaves(x):
            np.add.at(sums, ends, known)
            np.add.at(count, ends, 1)
        self.values = nn.Parameter(torch.tensor(sums / count, dtype=torch.float32))
        for name in _TREES:
            self.register_buffer(name, torch.from_numpy(getattr(forest, name).copy()))
        self.residual, self.power = torch.tensor(forest.residual), torch.tensor(power)
        self._depth = _depth(forest)

    def take_sizes(self, state: dict[str, torch.Tensor], path: Path) -> None:
        """Make room for the trees in ``state``, a checkpoint's; raise ZooError where they are no trees."""
        if not {*_TREES, "values"} <= state.keys() or state["values"].shape[1:] != self.values.shape[1:]:
            return  # said by whoever loads it
        parts = {name: state[name].numpy() for name in _TREES}
        none, axes = np.zeros(len(parts["feature"]), bool), {len(a.shape) for a in parts.values()}
        forest = Forest(
            **parts, missing_left=none, values=state["values"].numpy(), features=self._features, residual=1.0
        )
        kinds = "".join(array.dtype.kind for array in parts.values())
        if (
            fault := "its arrays are of other types"
            if (axes, kinds) != ({1}, "iifi")
            else forest.fault(self.values.shape[1])
        ):
            raise ZooError(f"{path}: holds no forest, {fault}; restore the file or train again")
        for name in _TREES:
            self.register_buffer(name, torch.empty_like(state[name]))
        self.values = nn.Parameter(torch.empty_like(state["values"]))
        self._depth = _depth(forest)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) standardised bands, and what else `covariates` takes -> (B, outputs, H, W)."""
        maps = self.covariates(*inputs)
        rows = maps.movedim(1, -1).flatten(0, 2)
        parts = (rows,) if _in_graph() else rows.split(_ROWS)
        found = torch.cat([self._predict(part) for part in parts])
        return found.unflatten(0, (maps.shape[0], *maps.shape[2:])).movedim(-1, 1)

    def _predict(self, rows: torch.Tensor) -> torch.Tensor:
        """Predict rows (n, F) -> (n, outputs), of the standardised target."""
        mean = self._leaf_mean(rows)
        first = mean[:, :1]
        if self.quantile is not None:
            shares = mean[:, 1 + self.spread :].cumsum(dim=1)
            reached = (shares < self.quantile).sum(dim=1, keepdim=True).clamp(max=_LEVELS - 1)
            first = self.levels[reached]
        if self.outputs == 1:
            return first
        if self.spread:  # a pixel whose leaves hold one label each still has a deviation
            variance = (mean[:, 1:2] - mean[:, :1] ** 2).clamp(min=0.01 * self.residual**2)
        else:
            variance = (self.residual**2).expand_as(first)
        # Log-variance, or log b of a Laplacian whose variance is 2 b^2.
        scale = torch.where(self.power == 2, variance.log(), 0.5 * (variance / 2).log())
        return torch.cat([first, scale], dim=1)

    def _leaf_mean(self, rows: torch.Tensor) -> torch.Tensor:
        """Mean over the trees of the values (n, K) of the leaves in which rows (n, F) end."""
        inner, count = self.feature >= 0, len(rows)
        number = torch.arange(len(inner), device=rows.device)
        ways = torch.where(inner, self.right.long(), number), torch.where(inner, number + 1, number)
        child, leaf = torch.stack(ways, dim=1).flatten(), (~inner).cumsum(0) - 1
        column, flat = self.feature.long().clamp(min=0) * count, rows.T.flatten()
        total = torch.zeros(count, self.values.shape[1], device=rows.device)
        for roots in self.roots.split(len(self.roots) if _in_graph() else 1):  # one by one stays in the cache
            node = roots.long().repeat_interleave(count)
            place = torch.arange(count, device=rows.device).repeat(len(roots))
            ends = node.clone()
            for level in range(self._depth):
                value = flat.index_select(0, column.index_select(0, node) + place)
                left = value <= self.threshold.index_select(0, node)
                node = child.index_select(0, 2 * node + left)
                if level % _LOOK == _LOOK - 1 and not _in_graph():  # most rows arrive long before the last
                    ends[place] = node
                    going = inner.index_select(0, node)
                    node, place = node[going], place[going]
            if _in_graph():
                ends = node
            else:
                ends[place] = node
            found = self.values.index_select(0, leaf.index_select(0, ends))
            total = total + found.unflatten(0, (len(roots), count)).sum(dim=0)
        return total / len(self.roots)


def _in_graph() -> bool:
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def _depth(forest: Forest) -> int:
    """How many questions the deepest leaf is away; children come after their parents (`Forest.fault`), so it ends."""
    level, nodes = 0, forest.roots
    while len(nodes := nodes[forest.feature[nodes] >= 0]):
        nodes, level = np.concatenate([nodes + 1, forest.right[nodes]]), level + 1
    return max(level, 1)


def labelled_rows(system: Any, data: Any, most: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return covariates (n, F), labels (n,) and fold (n,) of at most ``most`` labelled pixels of a split.

    system: a `MomentsSystem` whose network has `covariates`. Images that hold more than their share lose some at
    random, the same each time. Folds are whole images in their order, five where there are so many. A label where a
    band is missing is left out. Raises ZooError below ten labels.
    """
    from eozoo_core.task.data import in_groups, tensors
    from eozoo_core.task.references import thinned

    drawn, taken, count = [], 0, len(data)
    for group in in_groups(data, range(count)):
        batch = data.items(group)
        there = np.isfinite(batch["target"][:, 0]) & np.isfinite(batch["image"]).all(axis=1)
        there = thinned(there, -(-(most - taken) // (count - group[0])), group[0])
        staged = system.staged(tensors(batch))
        with torch.no_grad():
            maps = system.network.covariates(*(staged[role] for role in getattr(system, "takes", ("image",))))
        sample = np.broadcast_to(np.reshape(group, (-1, 1, 1)), there.shape)
        drawn.append((maps.movedim(1, -1).numpy()[there], batch["target"][:, 0][there], sample[there]))
        taken += int(there.sum())
    x, y, sample = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    if len(y) < 10:
        raise ZooError(f"{data.name(0)} and {count - 1} others hold {len(y)} labels: a forest needs at least 10")
    order = np.unique(sample, return_inverse=True)[1].ravel()
    images = int(order.max()) + 1
    return x, y, order * 5 // images if images >= 5 else np.arange(len(y)) * 5 // len(y)
