"""What a run knows of the table that it was trained on."""

from __future__ import annotations

from pydantic import Field

from eozoo_core.task.survey import BandSurvey, Survey

ROLE = "features"  # of the only input
ZERO_TO_ONE = (0.0,) * 4 + (0.5,) + (1.0,) * 4  # quantiles that columns of 0 and 1 get, however rare one of them is


class TableSurvey(Survey):
    """What is known of the training rows. ``bands``: the columns that are learned from, in the network's order."""

    target: str = Field("", description="Column that is learned.")
    dates: int = Field(0, description="Dates of a series, whose columns come date by date; 0 = there is none.")
    days: tuple[int, ...] = Field((), description="Day of year of each date.")
    scaling: tuple[BandSurvey, ...] = Field(
        (), description="Bands of the run that the encoder is taken from, whose statistics it needs; none = its own."
    )
    classes: tuple[str, ...] = Field((), description="Names of the classes, in the order of their indices.")
    counts: tuple[int, ...] = Field((), description="Training rows of each class.")

    @property
    def widths(self) -> tuple[float, ...]:
        """What each column is divided by: its standard deviation, of columns of 0 and 1 0.5.

        A flag of one row in a thousand would else be 30 deviations off wherever it is set.
        """
        return tuple(0.5 if band.quantiles == ZERO_TO_ONE else band.std for band in self.bands)

    @property
    def seen(self) -> bool:
        """Whether it is of data, not the placeholder."""
        return bool(self.target)
