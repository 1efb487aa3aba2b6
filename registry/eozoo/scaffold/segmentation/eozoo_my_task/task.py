"""The task ``my_task``: SUMMARY."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from eozoo_core import Port, Sample, Slot, Task
from eozoo_core.images.data import ClassSurvey, ImageData, image_port, survey_classes
from eozoo_core.task import Ports, Survey
from eozoo_core.task.loss import registered_loss
from eozoo_core.task.scores import ClassScores

from eozoo_my_task.plugin import FEEDS, LOSS_FEEDS, WANTS
from eozoo_my_task.settings import MyTaskSettings

if TYPE_CHECKING:
    from eozoo_my_task.system import MyTaskSystem


class MyTask(Task):
    """SUMMARY. ``eozoo_core.task.contract`` says what each method is for, and what else may be replaced."""

    Settings: ClassVar = MyTaskSettings
    Survey: ClassVar = ClassSurvey
    settings: MyTaskSettings
    slots: ClassVar = {"model": Slot("model", feeds=FEEDS, wants=WANTS), "model.loss": Slot("loss", feeds=LOSS_FEEDS)}

    def data(self, split: str) -> ImageData:
        """Images with labels of class indices."""
        return ImageData(self.settings.runtime, split, self.settings.data, self.settings.train.seed)

    def survey(self, train: ImageData) -> ClassSurvey:
        """Statistics of every band, and how often each class was labelled."""
        return survey_classes(train, self.settings.data.classes)

    def ports(self, survey: Survey) -> Ports:
        """Bands in; out the likeliest class, and the probability of each, averaged over members of an ensemble."""
        names = self.settings.data.classes
        code = Port("class", "B 1 H W", "class index", spread="class", of="probability", legend=tuple(enumerate(names)))
        probability = Port("probability", "B K H W", "1", names, spread="probabilities")
        return Ports((image_port(survey),), (code, probability))

    def system(self, survey: ClassSurvey, fresh: bool) -> MyTaskSystem:
        """The network with the bands' scaling; logits start at those of the class frequencies (one added each)."""
        from eozoo_my_task.system import MyTaskSystem

        classes = len(self.settings.data.classes)
        network = self.build("model", self.settings.model, {"in_channels": len(survey.bands), "outputs": classes})
        counts = np.array(survey.counts or (0,) * classes) + 1
        return MyTaskSystem(network, survey, np.log(counts / counts.sum()).tolist(), [1.0] * classes)

    def loss(self, survey: Survey) -> Any:
        """The registered loss of logits and labels."""
        return registered_loss(self, "output", "target")

    def metrics(self, survey: Survey) -> ClassScores:
        """Scores over labelled pixels."""
        return ClassScores("class", range(len(self.settings.data.classes)))

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Bare, shrub or forest by canopy height, labelled at a fifth of the pixels."""
        from eozoo_core.images.sample import BANDS, Band, landscape, write_world

        height, bands = landscape()
        scene, batch = write_world(root, bands, BANDS, np.digitize(height, (2.0, 10.0)), Band("class"))
        return Sample(MyTaskSettings(runtime={"data_dir": root}), scene, batch)
