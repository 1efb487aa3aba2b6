"""From bands to features: what is around the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from eozoo_core.images.system import ImageSystem
from eozoo_core.task.survey import Survey
from eozoo_core.task.system import Tensors


class MyTaskSystem(ImageSystem):
    """Bands (B, C, H, W) in their own units -> embedding (B, D, H, W), NaN where a band is missing.

    In training a linear head says what the hidden values were.
    """

    def __init__(self, network: torch.nn.Module, survey: Survey, shift: Sequence[float], scale: Sequence[float]):
        super().__init__(network, survey, shift, scale)
        with torch.no_grad():
            features = network(torch.zeros(1, len(survey.bands), 8, 8)).shape[1]
        self.head = torch.nn.Conv2d(features, len(shift), 1)

    def raw(self, staged: Tensors) -> Tensors:
        """Return "features" (B, D, H, W) and "output", the values (B, C, H, W) that the head expects."""
        features = self.network(staged["image"])
        return {"features": features, "output": self.head(features).float() * self.output_std + self.output_mean}

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """The features; "values" are for the scores."""
        return {"embedding": raw["features"], "values": raw["output"]}
