"""The task ``pixelwise_regression``: a value for every pixel, learned from labels in some or all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Run, Sample, Task
from eozoo_core.images.data import ImageData, image_data, image_port, survey_images
from eozoo_core.task import Ports, Scores, Survey

from eozoo.builtin.image_cards import REGRESSION_SLOTS
from eozoo.builtin.image_settings import RegressionSettings

if TYPE_CHECKING:
    from eozoo_core.images.moments import MomentsSystem
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.label_loss import LabelLoss
    from eozoo_core.task.scores import RegressionScores


class PixelwiseRegression(Task):
    """Mean and, where the loss trains it, standard deviation of a value in every pixel of a raster."""

    Settings: ClassVar = RegressionSettings
    slots: ClassVar = REGRESSION_SLOTS
    settings: RegressionSettings

    def data(self, split: str) -> ImageData:
        """Images with labels of one value."""
        return image_data(self, split)

    def survey(self, train: ImageData) -> Survey:
        """Statistics of every band and of the label."""
        return survey_images(train, self.settings.data.unit or train.label_unit)

    def ports(self, survey: Survey) -> Ports:
        """Bands in; out the mean and, where the loss trains a variance, its standard deviation."""
        data = self.settings.data
        unit = data.unit or (survey.label.unit if survey.label else "") or "unit of the labels"
        mean = Port("mean", "B H W", unit, spread="moments", quantity=data.quantity, least=data.least)
        std = Port("std", "B H W", unit, spread="deviation", of="mean", quantity=data.quantity)
        return Ports((image_port(survey),), (mean, std) if self._loss().trains_variance else (mean,))

    def system(self, survey: Survey, fresh: bool) -> MomentsSystem:
        """The network between the scaling of bands and labels."""
        from eozoo_core.images.moments import MomentsSystem
        from eozoo_core.images.system import image_network

        loss, label = self._loss(), survey.label
        network, takes = image_network(self, survey, 2 if loss.trains_variance else 1, fresh)
        target = (label.mean, label.std) if label else (0.0, 1.0)
        return MomentsSystem(network, loss, survey.mean, survey.std, *target, takes)

    def loss(self, survey: Survey) -> Loss:
        """The registered loss, and the squared error of the mean for the log."""
        from eozoo_core.task.label_loss import called

        return called(self._loss())

    def metrics(self, survey: Survey) -> RegressionScores:
        """Scores over labelled pixels, by stratum where there are some."""
        from eozoo_core.task.scores import RegressionScores

        strata = self.settings.eval.strata
        return RegressionScores("mean", "std", (*strata, float("inf")) if strata else None)

    def derive(self, means: dict[str, float], survey: Survey) -> dict[str, float]:
        """RMSE from the mean squared error."""
        return {"rmse": means["mse"] ** 0.5}

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score the model and baselines over all labels of the split; write pictures and a report."""
        from eozoo_core.task.label_report import report_labels

        return report_labels(self, run, split, self._loss())

    def _loss(self) -> LabelLoss:
        from eozoo_core.task.label_loss import label_loss

        return label_loss(self)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Canopy height of a synthetic landscape at a fifth of the pixels, as if measured there."""
        from eozoo.builtin.demo import write_heights

        return write_heights(root)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw true and predicted height, error and uncertainty."""
        from eozoo.builtin.demo import draw_heights

        return draw_heights(sample, out)
