"""What the training patches hold: bands, labels, and ridge regression on the pixel's bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.score.baselines import Ridge, RidgeFit
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task import Survey
from eozoo_core.task.survey import BandSurvey, surveyed
from pydantic import Field

from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

if TYPE_CHECKING:
    from eozoo_gedi_sparse.data import Patches


class GediSurvey(Survey):
    """What is known of the training patches; before any are seen, the document's bands."""

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=name) for name in DOCUMENTED_BANDS), description="Input bands in the network's order."
    )
    ridge: Ridge = Field(Ridge((), 0.0, 1.0, 0.0, 1.0), description="Ridge regression on the pixel's bands.")


def survey_patches(data: Patches, unit: str, standard: bool) -> GediSurvey:
    """Look once through the patches. ``standard``: bands must vary, as they are standardised.

    Raises ZooError where no label has a value where the input has data.
    """
    statistics, labels = ChannelStatistics(data.bands), ChannelStatistics(["label"])
    ridge = RidgeFit(len(data.bands))
    for arrays in data:
        image, target = arrays["image"], arrays["target"][0]
        statistics.update(image)
        labels.update(target[None])
        labelled = np.isfinite(target)
        ridge.update(image[:, labelled], target[labelled])
    if ridge.count == 0:
        folder = data.pair(0).label.parent
        raise ZooError(f"{folder}: none of {len(data)} label files has a value where the input has data")
    if standard:
        statistics.require_spread(str(data.input_files[0].parent))
    fit = ridge.solve()
    label = surveyed(labels, (unit,))[0].model_copy(update={"mean": fit.mean, "std": fit.std, "count": ridge.count})
    return GediSurvey(bands=surveyed(statistics, data.units), label=label, ridge=fit)
