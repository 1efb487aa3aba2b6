"""What the training patches hold: bands and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.score.baselines import Ridge
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
    ridge: Ridge | None = Field(None, description="Of runs of old versions; today's keep baselines.npz.")


def survey_patches(data: Patches, unit: str, standard: bool) -> GediSurvey:
    """Look once through the patches. ``standard``: bands must vary, as they are standardised.

    Raises ZooError where no label has a value where the input has data.
    """
    statistics, labels = ChannelStatistics(data.bands), ChannelStatistics(["label"])
    for arrays in data:
        statistics.update(arrays["image"])
        labels.update(arrays["target"])
    if not labels.count.sum():
        folder = data.pair(0).label.parent
        raise ZooError(f"{folder}: none of {len(data)} label files has a value where the input has data")
    if standard:
        statistics.require_spread(str(data.input_files[0].parent))
    return GediSurvey(bands=surveyed(statistics, data.units), label=surveyed(labels, (unit,))[0])
