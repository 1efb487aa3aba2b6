"""What a run knows of the table that it was trained on."""

from __future__ import annotations

from pydantic import Field

from eozoo_core.task.survey import BandSurvey, Survey

ROLE = "features"  # of the only input


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
    def seen(self) -> bool:
        """Whether it is of data, not the placeholder."""
        return bool(self.target)
