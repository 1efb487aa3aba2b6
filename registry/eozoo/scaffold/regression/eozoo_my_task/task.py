"""The task ``my_task``: SUMMARY."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core import Port, Sample, Slot, Task
from eozoo_core.images.data import ImageData, image_port, survey_images
from eozoo_core.task import Ports, Survey
from eozoo_core.task.loss import registered_loss
from eozoo_core.task.scores import RegressionScores

from eozoo_my_task.plugin import FEEDS, LOSS_FEEDS, WANTS
from eozoo_my_task.settings import MyTaskSettings

if TYPE_CHECKING:
    from eozoo_my_task.system import MyTaskSystem


class MyTask(Task):
    """SUMMARY. ``eozoo_core.task.contract`` says what each method is for, and what else may be replaced."""

    Settings: ClassVar = MyTaskSettings
    settings: MyTaskSettings
    slots: ClassVar = {"model": Slot("model", feeds=FEEDS, wants=WANTS), "model.loss": Slot("loss", feeds=LOSS_FEEDS)}

    def data(self, split: str) -> ImageData:
        """Images with labels of one value."""
        return ImageData(self.settings.runtime, split, self.settings.data, self.settings.train.seed)

    def survey(self, train: ImageData) -> Survey:
        """Statistics of every band and of the label."""
        return survey_images(train, self.settings.data.unit)

    def ports(self, survey: Survey) -> Ports:
        """Bands in, a height out. "moments": members of an ensemble give its mean and what they disagree about."""
        return Ports((image_port(survey),), (Port("height", "B 1 H W", self.settings.data.unit, spread="moments"),))

    def system(self, survey: Survey, fresh: bool) -> MyTaskSystem:
        """The network between the scaling of bands and label."""
        from eozoo_my_task.system import MyTaskSystem

        network = self.build("model", self.settings.model, {"in_channels": len(survey.bands), "outputs": 1})
        label = survey.label
        return MyTaskSystem(network, survey, [label.mean if label else 0.0], [label.std if label else 1.0])

    def loss(self, survey: Survey) -> Any:
        """The registered loss of what the network gives and the label."""
        return registered_loss(self, "output", "target")

    def metrics(self, survey: Survey) -> RegressionScores:
        """Scores over labelled pixels, in the unit of the label."""
        return RegressionScores("height")

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Canopy height at a fifth of the pixels, as if measured there."""
        from eozoo_core.images.sample import BANDS, Band, landscape, write_world

        height, bands = landscape()
        scene, batch = write_world(root, bands, BANDS, height, Band("height", "m"))
        return Sample(MyTaskSettings(runtime={"data_dir": root}), scene, batch)
