"""The task ``semantic_segmentation``: the class of every pixel, learned from labels in some or all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from eozoo_core import Port, Run, Sample, Task
from eozoo_core.images.data import ImageData, image_data, image_port, survey_classes
from eozoo_core.task import Ports
from eozoo_core.task.classes import ClassSurvey, Legend, legend_of

from eozoo.builtin.image_cards import SEGMENTATION_SLOTS
from eozoo.builtin.image_settings import SegmentationSettings

if TYPE_CHECKING:
    from eozoo_core.images.system import ClassSystem
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.scores import ClassScores


class SemanticSegmentation(Task):
    """The likeliest class of every pixel of a raster, and the probability of each."""

    Settings: ClassVar = SegmentationSettings
    Survey: ClassVar = ClassSurvey
    slots: ClassVar = SEGMENTATION_SLOTS
    settings: SegmentationSettings

    def data(self, split: str) -> ImageData:
        """Images with labels of class codes."""
        return image_data(self, split)

    def survey(self, train: ImageData) -> ClassSurvey:
        """Statistics of every band, the classes, and how often each was labelled."""
        return survey_classes(train, self.settings.data.classes)

    def ports(self, survey: ClassSurvey) -> Ports:
        """Bands in; out the code of the likeliest class, and the probability of each."""
        legend = self._legend(survey)
        code = Port("class", "B 1 H W", "class code", spread="class", of="probability", legend=legend)
        probability = Port("probability", "B K H W", "1", tuple(n for _, n in legend), spread="probabilities")
        return Ports((image_port(survey),), (code, probability))

    def system(self, survey: ClassSurvey, fresh: bool) -> ClassSystem:
        """The network with the bands' scaling; logits start at those of the class frequencies."""
        from eozoo_core.images.system import ClassSystem, image_network

        classes = len(self._legend(survey))
        network, takes = image_network(self, survey, classes, fresh)
        even = self.settings.model.class_weights != "none"
        counts = np.ones(classes) if even or not survey.counts else np.array(survey.counts) + 1.0
        return ClassSystem(network, survey, np.log(counts / counts.sum()).tolist(), [1.0] * classes, takes)

    def loss(self, survey: ClassSurvey) -> Loss:
        """The registered loss of logits and labels, with class weights."""
        from eozoo_core.task.classes import class_loss

        return class_loss(self, survey, self._legend(survey))

    def metrics(self, survey: ClassSurvey) -> ClassScores:
        """Scores over labelled pixels."""
        from eozoo_core.task.scores import ClassScores

        return ClassScores("class", [code for code, _ in self._legend(survey)])

    def _legend(self, survey: ClassSurvey) -> Legend:
        return legend_of(self.settings.data.classes, survey)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Bare, shrub or forest of a synthetic landscape, labelled at a fifth of the pixels."""
        from eozoo.builtin.demo import write_cover

        return write_cover(root)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw true and predicted classes."""
        from eozoo.builtin.demo import draw_cover

        return draw_cover(sample, out)
