"""What an encoder is built from and fed with; a run and its checkpoints keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.settings import Named
from eozoo_core.task.survey import BandSurvey, Fitted, Survey
from pydantic import Field

if TYPE_CHECKING:
    from eozoo_barlow_twins.colours import Colours
    from eozoo_barlow_twins.pixels import PixelSeries

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


class ColourFit(Fitted):
    """False colours: three principal components of the embeddings of training pixels."""

    mean: tuple[float, ...] = Field((), description="Mean embedding, grey in the middle.")
    components: tuple[tuple[float, ...], ...] = Field((), description="Three directions of unit length.")
    std: tuple[float, ...] = Field((), description="Standard deviation along each.")

    @property
    def colours(self) -> Colours | None:
        """As a function; None where nothing was fitted."""
        from eozoo_barlow_twins.colours import Colours

        return Colours(list(self.mean), [list(c) for c in self.components], list(self.std)) if self.mean else None


def surveyed_bands(train: PixelSeries) -> tuple[BandSurvey, ...]:
    """Return the bands of a training split with their statistics over clear dates."""
    mean, std = train.statistics
    count = sum(int(tile.counts.sum(dtype="int64")) for tile in train.tiles)
    rows = zip(train.survey.names, mean.tolist(), std.tolist(), strict=True)
    return tuple(BandSurvey(name=name, unit=UNIT, mean=m, std=s, count=count) for name, m, s in rows)
