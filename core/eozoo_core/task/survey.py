"""What the training data hold, once and typed: a system is built from it, and a run and its checkpoints keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from eozoo_core.checking.guard import LEVELS, Known
from eozoo_core.settings import Settings

if TYPE_CHECKING:
    from eozoo_core.score.statistics import ChannelStatistics

S = TypeVar("S", bound=Settings)


class BandSurvey(Settings):
    """One band, or the label, over the whole training split; missing values are left out."""

    name: str = Field(description="Its name, as the files give it.")
    unit: str = Field("", description="Its unit and range; empty = not known.")
    mean: float = Field(0.0, description="Mean, in its unit.")
    std: float = Field(1.0, description="Population standard deviation, in its unit.")
    low: float | None = Field(None, description="Smallest value; null = not looked at.")
    high: float | None = Field(None, description="Largest value; null = not looked at.")
    count: int = Field(0, description="Values that were not missing.")
    missing: float | None = Field(None, description="Share of missing values; null = not looked at.")
    quantiles: tuple[float, ...] = Field(
        (), description="At 0.1, 1, 5, 25, 50, 75, 95, 99 and 99.9 per cent; () = not looked at."
    )

    def known(self) -> Known:
        """Return what new data are judged against."""
        return Known.of(self.name, self.unit, self.quantiles, self.mean, self.std)


class Survey(Settings):
    """Typed facts about the training split. A task extends it with its own.

    The default describes a system before it has seen data: four bands, nothing standardised.
    """

    bands: tuple[BandSurvey, ...] = Field(
        tuple(BandSurvey(name=f"band {i}") for i in range(1, 5)), description="Input bands in the network's order."
    )
    label: BandSurvey | None = Field(None, description="The label; null = there is none.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(band.name for band in self.bands)

    @property
    def mean(self) -> tuple[float, ...]:
        """Means of the bands."""
        return tuple(band.mean for band in self.bands)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviations of the bands."""
        return tuple(band.std for band in self.bands)


class Fitted(Settings):
    """Typed values that are fitted after training, with best.pt, on validation data. A task extends it.

    ``best`` is the SHA-256 of the best.pt that they belong to (of an ensemble: of all its members').
    """

    best: str = Field("", description="SHA-256 of the weights that the values belong to.")
    variance_factor: float | None = Field(None, gt=0, description="Factor of all variances; null = not fitted.")
    labels: int = Field(0, description="Validation labels that were fitted on.")


def surveyed(statistics: ChannelStatistics, units: tuple[str, ...] = ()) -> tuple[BandSurvey, ...]:
    """Return what ``statistics`` saw of each channel, with ``units`` where they are known."""
    quantiles = statistics.quantiles(LEVELS)
    return tuple(
        BandSurvey(
            name=name,
            unit=units[i] if units else "",
            mean=float(statistics.mean[i]),
            std=float(statistics.std[i]),
            low=float(statistics.minimum[i]),
            high=float(statistics.maximum[i]),
            count=int(statistics.count[i]),
            missing=float(statistics.missing[i]),
            quantiles=tuple(quantiles[i].tolist()) if statistics.count[i] else (),
        )
        for i, name in enumerate(statistics.names)
    )


class Carried:
    """Typed facts as a part of a checkpoint: best.pt rebuilds its system from them."""

    def __init__(self, facts: Settings):
        self.facts = facts

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return self.facts.model_dump(mode="python")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A run that goes on keeps the facts of today's data, which ``Run.check_data`` found to be the same."""
