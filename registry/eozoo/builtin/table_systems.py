"""From columns to a value or to classes: what is around the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from eozoo_core.task.system import Tensors
from eozoo_core.task.table_system import TableSystem


class RegressionSystem(TableSystem):
    """Features (B, C) in their own units -> prediction (B,) in the target's; NaN where every feature is missing."""

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output" (B,) in the target's unit."""
        return {"output": super().raw(staged)["output"].squeeze(1)}

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Name the output; it has its unit already."""
        return {"prediction": self.where_seen(raw["output"], arrays)}


class ClassSystem(TableSystem):
    """Features (B, C) in their own units -> probability (B, K); NaN where every feature is missing."""

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn logits into probabilities; core chooses the likeliest class."""
        return {"probability": self.where_seen(raw["output"].softmax(dim=1), arrays)}


def log_shares(counts: Sequence[int]) -> list[float]:
    """Return the logit (K,) of each class by how often it was labelled, one added to each."""
    found = np.asarray(counts, np.float64) + 1
    return np.log(found / found.sum()).tolist()
