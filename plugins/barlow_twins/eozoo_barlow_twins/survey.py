"""What an encoder is built from and fed with; a run and its checkpoints keep it."""

from __future__ import annotations

from eozoo_core.settings import Named
from eozoo_core.task.survey import BandSurvey, Survey
from pydantic import Field

UNIT = "reflectance x 10000"


class PixelSurvey(Survey):
    """Bands with their statistics, and the encoder. The default describes an encoder of bands not yet seen."""

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=f"band_{i + 1}", unit=UNIT) for i in range(11)), description="Bands, in their order."
    )
    backbone: Named = Field(Named(name="btfm_transformer"), description="Encoder, by name.")
    sample_size: int = Field(16, description="Dates that it sees at once.")
    min_valid: int = Field(32, description="A pixel is used where it has more clear dates than this.")

    @property
    def seen(self) -> bool:
        """Whether it is of data, not of settings alone."""
        return self.bands[0].count > 0


class ClassSurvey(PixelSurvey):
    """Of labelled pixels, the classes too. With a pre-trained encoder its bands and their statistics stay."""

    legend: tuple[tuple[int, str], ...] = Field((), description="Code in maps and name of each class, in their order.")
    counts: tuple[int, ...] = Field((), description="Training labels of each class.")
