"""What the training samples hold: the statistics that they were made with, and the usual temperature of a station."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.settings import Settings
from eozoo_core.task import Survey
from eozoo_core.task.survey import BandSurvey
from pydantic import Field

from eozoo_clay_ta.sample_schema import NAMES, UNITS, Normalisation

if TYPE_CHECKING:
    from eozoo_clay_ta.climatology import Climatology
    from eozoo_clay_ta.data import Samples


_LOOKED_AT = 2048  # samples whose windows are looked at for quantiles


class ClimatologySurvey(Settings):
    """Harmonics of day and hour, see `eozoo_clay_ta.climatology.Climatology`."""

    common: tuple[float, ...] = Field((), description="Of all stations, degC.")
    stations: dict[str, tuple[float, ...]] = Field({}, description="Station -> its difference from them, degC.")

    def fit(self) -> Climatology:
        """Return it ready to predict."""
        from eozoo_clay_ta.climatology import Climatology

        return Climatology.from_state({"common": self.common, "stations": self.stations})


class ClaySurvey(Survey):
    """What is known of the training samples; before any are seen, the channels' names and units."""

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=name, unit=unit) for name, unit in zip(NAMES, UNITS, strict=True)),
        description="The 19 channels with what they were normalised with.",
    )
    climatology: ClimatologySurvey = Field(ClimatologySurvey(), description="The usual temperature.")
    calibration: tuple[str, ...] = Field((), description="How counts of the scenes became K and albedo, where known.")

    def normalisation(self) -> Normalisation:
        """Return what the samples were made with; zeros and ones before any were seen."""
        label = self.label or BandSurvey(name="TA")
        return Normalisation.of(self.mean, self.std, label.mean, label.std)


_LOOKED_AT = 2048  # samples whose windows are looked at for quantiles


def survey_patches(data: Samples, calibration: tuple[str, ...] = ()) -> ClaySurvey:
    """Look once through labels, times and stations, and at some windows.

    ``calibration``: what preparation said of the scenes.
    """
    from eozoo_clay_ta.climatology import Climatology

    norm = data.normalisation()
    truth = data.labels(norm) * norm.ta_std + norm.ta_mean
    usual = Climatology.fit(data.meta(), truth).state()
    state, count = norm.state(), len(data)
    windows, labels = ChannelStatistics(NAMES), ChannelStatistics(["TA"])
    labels.update(truth[None])
    for start in range(0, min(count, _LOOKED_AT), data.together):
        some = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)[start : start + data.together]
        windows.update(data.channels(some, norm))
    rows = zip(NAMES, UNITS, state["mean"], state["std"], windows.quantiles.tolist(), strict=True)
    return ClaySurvey(
        bands=tuple(
            BandSurvey(name=n, unit=u, mean=mean, std=std, count=count, quantiles=q) for n, u, mean, std, q in rows
        ),
        label=BandSurvey(
            name="TA",
            unit="degC",
            mean=norm.ta_mean,
            std=norm.ta_std,
            count=count,
            quantiles=labels.quantiles[0].tolist(),
        ),
        climatology=ClimatologySurvey(**usual),
        calibration=calibration,
    )
