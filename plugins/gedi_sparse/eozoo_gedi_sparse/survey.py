"""What the training patches hold: bands, labels, and ridge regression on the pixel's bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.settings import Settings
from eozoo_core.task import Survey
from eozoo_core.task.survey import BandSurvey
from pydantic import Field

from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

if TYPE_CHECKING:
    from eozoo_core.score.baselines import Ridge


class RidgeSurvey(Settings):
    """Ridge regression of the label on the bands, and the mean label: see `eozoo_core.score.baselines.Ridge`."""

    weights: tuple[float, ...] = Field((), description="One per band.")
    intercept: float = Field(0.0, description="In the label's unit.")
    residual: float = Field(1.0, description="RMSE on the training labels.")
    mean: float = Field(0.0, description="Mean label.")
    std: float = Field(1.0, description="Standard deviation of the labels.")

    def fit(self) -> Ridge:
        """Return it ready to predict."""
        from eozoo_core.score.baselines import Ridge

        return Ridge(**self.model_dump())


class GediSurvey(Survey):
    """What is known of the training patches; before any are seen, the document's bands."""

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=name) for name in DOCUMENTED_BANDS), description="Input bands in the network's order."
    )
    ridge: RidgeSurvey = Field(RidgeSurvey(), description="Ridge regression on the pixel's bands.")
