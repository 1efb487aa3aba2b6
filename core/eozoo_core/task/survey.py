"""What the training data hold, once and typed: a system is built from it, and a run and its checkpoints keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

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
    quantiles: tuple[float, ...] = Field(
        (), description="At 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999; none in runs of old versions."
    )
    missing: float | None = Field(None, description="Share of missing values; null = not looked at.")


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
    columns = {
        "mean": statistics.mean,
        "std": statistics.std,
        "low": statistics.minimum,
        "high": statistics.maximum,
        "count": statistics.count,
        "quantiles": statistics.quantiles,
        "missing": statistics.missing,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    named = zip(statistics.names, units or ("",) * len(statistics.names), rows, strict=True)
    return tuple(BandSurvey(name=name, unit=unit, **dict(zip(columns, row, strict=True))) for name, unit, row in named)


class Carried:
    """Typed facts as a part of a checkpoint: best.pt rebuilds its system from them."""

    def __init__(self, facts: Settings):
        self.facts = facts

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return self.facts.model_dump(mode="python")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A run that goes on keeps the facts of today's data, which ``Run.check_data`` found to be the same."""
