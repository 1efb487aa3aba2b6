"""From bands to classes: what is around the network."""

from __future__ import annotations

from eozoo_core.images.system import ImageSystem
from eozoo_core.task.system import Tensors


class MyTaskSystem(ImageSystem):
    """Bands (B, C, H, W) in their own units -> probability (B, K, H, W), NaN where a band is missing."""

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn logits into probabilities; core chooses the likeliest class."""
        return {"probability": raw["output"].softmax(dim=1)}
