"""The task ``scalar_regression``: a number for each row of a table, or each pixel of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core import Port, Sample, Slot
from eozoo_core.settings import Named
from eozoo_core.task import Ports
from eozoo_core.task.loss import registered_loss
from eozoo_core.task.scores import RegressionScores
from eozoo_core.task.table_settings import TableDataSettings, TableModel, TableSettings
from eozoo_core.task.table_task import ENCODER, FEEDS, TableTask
from pydantic import Field

if TYPE_CHECKING:
    from eozoo_core.task.table_survey import TableSurvey
    from eozoo_core.task.table_system import TableSystem

WANTS = (Port("mean", "B 1"),)  # what is needed of a network
LOSS_FEEDS = (Port("mean", "B"), Port("target", "B"))  # what a loss is called with


class RegressionData(TableDataSettings):
    """Which columns are learned from, and which value is learned."""

    unit: str = Field(
        "", description="Unit of the target, 1 = a plain number; empty = as its header says ('agb [Mg/ha]')."
    )


class RegressionModel(TableModel):
    """The network and its loss."""

    loss: Named = Field(Named(name="mse"), description="Loss; 'eozoo show scalar_regression' lists what fits.")


class RegressionSettings(TableSettings):
    """All settings of scalar_regression."""

    model: RegressionModel = Field(RegressionModel(), description="The network and its loss; fixed by a run.")
    data: RegressionData = Field(RegressionData(), description="What the columns mean; fixed by a run.")


class ScalarRegression(TableTask):
    """A number for each row of a table, or each pixel of a raster."""

    Settings: ClassVar = RegressionSettings
    settings: RegressionSettings
    slots: ClassVar = {
        "model": Slot("model", feeds=FEEDS, wants=WANTS),
        "model.encoder": ENCODER,
        "model.loss": Slot("loss", feeds=LOSS_FEEDS),
    }

    @property
    def unit(self) -> str:
        """See `TableTask`."""
        return self.settings.data.unit

    def ports(self, survey: TableSurvey) -> Ports:
        """Columns in, the target out; members of an ensemble give its mean and what they disagree about."""
        unit = survey.label.unit if survey.label else self.unit or "that of the target"
        quantity = survey.target or self.settings.data.target or ""
        return Ports(self.inputs(survey), (Port("prediction", "B", unit, spread="moments", quantity=quantity),))

    def system(self, survey: TableSurvey, fresh: bool) -> TableSystem:
        """The network between the scaling of columns and target."""
        from eozoo.builtin.table_systems import RegressionSystem

        network, encoder = self.parts(survey, 1, fresh)
        label = survey.label
        return RegressionSystem(network, survey, [label.mean if label else 0.0], [label.std if label else 1.0], encoder)

    def loss(self, survey: TableSurvey) -> Any:
        """The registered loss of what the network gives and the target."""
        return registered_loss(self, "output", "target")

    def metrics(self, survey: TableSurvey) -> RegressionScores:
        """Scores in the unit of the target."""
        return RegressionScores("prediction")

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Height of plants in 600 plots by four bands, rows and a raster to predict."""
        from eozoo.builtin.table_sample import write_table_world

        source, batch = write_table_world(root)
        data = {"target": "height", "features": ["blue", "green", "red", "nir"]}
        return Sample(RegressionSettings(data=data, runtime={"table": root / "samples.csv"}), source, batch)
