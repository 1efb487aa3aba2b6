"""What is known of the training tiles: their bands, and refiners that learn next to nothing."""

from __future__ import annotations

from eozoo_core.settings import Settings
from eozoo_core.task import Survey
from eozoo_core.task.survey import BandSurvey
from pydantic import Field

from eozoo_prithvi_refine.settings import BANDS, UNIT


class Baselines(Settings):
    """A per-band affine fit and an unsharp mask, from the training tiles."""

    gain: tuple[float, ...] = Field((1.0,) * 4, description="Of each band: target = gain x input + offset.")
    offset: tuple[float, ...] = Field((0.0,) * 4, description="Of each band, reflectance.")
    sigma: float = Field(1.0, description="Blur of the best unsharp mask, px.")
    amount: float = Field(0.25, description="How much of what the blur takes away the mask adds.")


class RefineSurvey(Survey):
    """What is known of the training tiles; before any are seen, the bands alone."""

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=name, unit=UNIT) for name in BANDS), description="Input bands in the network's order."
    )
    baselines: Baselines = Field(Baselines(), description="Simple refiners that stand beside the model.")
