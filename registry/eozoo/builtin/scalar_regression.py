"""The task ``scalar_regression``: a number for each row of a table, or each pixel of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Run, Sample
from eozoo_core.tables.task import TableTask
from eozoo_core.task import Ports, Scores

from eozoo.builtin.table_cards import REGRESSION_SLOTS
from eozoo.builtin.table_settings import RegressionSettings

if TYPE_CHECKING:
    from eozoo_core.tables.survey import TableSurvey
    from eozoo_core.tables.system import ValueSystem
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.label_loss import LabelLoss
    from eozoo_core.task.scores import RegressionScores


class ScalarRegression(TableTask):
    """Mean and, where the loss trains it, standard deviation of a value for each row of a table."""

    Settings: ClassVar = RegressionSettings
    slots: ClassVar = REGRESSION_SLOTS
    settings: RegressionSettings

    @property
    def unit(self) -> str:
        """See `TableTask`."""
        return self.settings.data.unit or ""

    def ports(self, survey: TableSurvey) -> Ports:
        """Columns in; out the mean and, where the loss trains a variance, its standard deviation."""
        data = self.settings.data
        unit, quantity = survey.label.unit if survey.label else self.unit or "that of the target", survey.target
        mean = Port("mean", "B", unit, spread="moments", quantity=quantity, least=data.least)
        std = Port("std", "B", unit, spread="deviation", of="mean", quantity=quantity)
        return Ports(self.inputs(survey), (mean, std) if self._loss().trains_variance else (mean,))

    def system(self, survey: TableSurvey, fresh: bool) -> ValueSystem:
        """The network between the scaling of columns and target."""
        from eozoo_core.tables.system import ValueSystem

        loss = self._loss()
        network, encoder = self.parts(survey, 2 if loss.trains_variance else 1, fresh)
        return ValueSystem(network, survey, loss, encoder)

    def loss(self, survey: TableSurvey) -> Loss:
        """The registered loss, and the squared error of the mean for the log."""
        from eozoo_core.task.label_loss import called

        return called(self._loss())

    def metrics(self, survey: TableSurvey) -> RegressionScores:
        """Scores in the unit of the target."""
        from eozoo_core.task.scores import RegressionScores

        return RegressionScores("mean", "std")

    def derive(self, means: dict[str, float], survey: TableSurvey) -> dict[str, float]:
        """RMSE from the mean squared error."""
        return {"rmse": means["mse"] ** 0.5}

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score the model and baselines over all rows of the split; write pictures and a report."""
        from eozoo_core.task.label_report import report_labels

        self.remember(run)
        return report_labels(self, run, split, self._loss())

    def _loss(self) -> LabelLoss:
        from eozoo_core.task.label_loss import label_loss

        return label_loss(self)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Height of plants in 800 plots by four bands, rows and a raster to predict."""
        from eozoo.builtin.table_sample import write_table_world

        source, batch = write_table_world(root)
        data = {"target": "height", "unit": "m", "features": ["blue", "green", "red", "nir"]}
        return Sample(RegressionSettings(data=data, runtime={"table": root / "samples.csv"}), source, batch)
