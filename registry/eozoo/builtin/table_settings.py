"""Settings of the built-in tasks of samples in tables."""

from __future__ import annotations

from eozoo_core.settings import Named, like
from eozoo_core.tables.settings import TableDataSettings, TableModel, TableSettings
from eozoo_core.task.classes import ClassWeights
from pydantic import Field


class RegressionModel(TableModel):
    """The network and its loss."""

    loss: Named = Field(
        Named(name="gaussian_nll"),
        description="Loss; gaussian_nll and laplacian_nll train a standard deviation, mse, mae and huber none.",
    )


class RegressionData(TableDataSettings):
    """Which columns are learned from, and which value is learned."""

    unit: str | None = Field(
        None, description="Unit of the target (m; 1 = none); null = that in its header, 'agb [Mg/ha]'."
    )
    least: float | None = Field(None, description="Smallest value that there can be (0 of a height); null = any.")


class RegressionSettings(TableSettings):
    """All settings of scalar_regression."""

    model: RegressionModel = Field(RegressionModel(), description="The network and its loss; fixed by a run.")
    data: RegressionData = like(TableSettings, "data", RegressionData())


class ClassModel(TableModel):
    """The network and its loss."""

    loss: Named = Field(Named(name="cross_entropy"), description="Loss: cross_entropy, focal or any that fits.")
    class_weights: ClassWeights = Field(
        "none", description="none; balanced = inverse to the training rows of a class; or a factor for each class."
    )


class ClassData(TableDataSettings):
    """Which columns are learned from, and which names are learned."""

    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="Classes in the order of their numbers; null = what the target holds, sorted."
    )


class ClassSettings(TableSettings):
    """All settings of classification."""

    model: ClassModel = Field(ClassModel(), description="The network and its loss; fixed by a run.")
    data: ClassData = like(TableSettings, "data", ClassData())
