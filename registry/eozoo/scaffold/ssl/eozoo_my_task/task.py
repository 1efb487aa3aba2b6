"""The task ``my_task``: SUMMARY."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from eozoo_core import Port, Sample, Slot, Task
from eozoo_core.images.data import ImageData, image_port, survey_images
from eozoo_core.task import Arrays, Ports, Survey
from eozoo_core.task.baselines import Baseline, constant
from eozoo_core.task.loss import registered_loss
from eozoo_core.task.scores import RegressionScores

from eozoo_my_task.plugin import FEEDS, LOSS_FEEDS, WANTS
from eozoo_my_task.settings import MyTaskSettings

if TYPE_CHECKING:
    from eozoo_my_task.system import MyTaskSystem

HIDDEN = 0.3  # share of the pixels that are hidden


class HiddenPixels(ImageData):
    """Images without labels: what is learned is what stood in hidden pixels."""

    def example(self, image: np.ndarray, label: np.ndarray | None, random: np.random.Generator) -> Arrays:
        """Hide pixels of image (C, H, W), NaN; target (C, H, W) holds their values, NaN elsewhere."""
        hidden, nothing = random.random(image.shape[1:]) < HIDDEN, np.float32(np.nan)
        return {"image": np.where(hidden, nothing, image), "target": np.where(hidden, image, nothing)}


class MyTask(Task):
    """SUMMARY. ``eozoo_core.task.contract`` says what each method is for, and what else may be replaced."""

    Settings: ClassVar = MyTaskSettings
    settings: MyTaskSettings
    slots: ClassVar = {"model": Slot("model", feeds=FEEDS, wants=WANTS), "model.loss": Slot("loss", feeds=LOSS_FEEDS)}

    def data(self, split: str) -> HiddenPixels:
        """Images with hidden pixels."""
        s = self.settings
        return HiddenPixels(s.runtime, split, s.data, s.train.seed, labelled=False)

    def survey(self, train: ImageData) -> Survey:
        """Statistics of every band."""
        return survey_images(train)

    def ports(self, survey: Survey) -> Ports:
        """Bands in, features of every pixel out; features of several members cannot be averaged."""
        return Ports((image_port(survey),), (Port("embedding", "B D H W", "1"),))

    def system(self, survey: Survey, fresh: bool) -> MyTaskSystem:
        """The encoder with the bands' scaling, and the head that training needs."""
        from eozoo_my_task.system import MyTaskSystem

        network = self.build("model", self.settings.model, {"in_channels": len(survey.bands)})
        return MyTaskSystem(network, survey, survey.mean, survey.std)

    def loss(self, survey: Survey) -> Any:
        """The registered loss of guessed and true values."""
        return registered_loss(self, "output", "target")

    def metrics(self, survey: Survey) -> RegressionScores:
        """Scores over hidden values, in the unit of the bands."""
        return RegressionScores("values")

    def baselines(self, survey: Survey) -> dict[str, Baseline]:
        """The mean of every band."""
        return {"training mean": constant({"values": np.array(survey.mean)[:, None, None]})}

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Images only."""
        from eozoo_core.images.sample import BANDS, landscape, write_world

        scene, batch = write_world(root, landscape()[1], BANDS)
        return Sample(MyTaskSettings(runtime={"data_dir": root}), scene, batch)
