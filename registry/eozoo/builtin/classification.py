"""The task ``classification``: a class for each row of a table, or each pixel of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core import Port, Sample, Slot
from eozoo_core.settings import Named
from eozoo_core.task import Ports
from eozoo_core.task.baselines import Baseline, most_frequent
from eozoo_core.task.loss import registered_loss
from eozoo_core.task.scores import ClassScores
from eozoo_core.task.table_settings import TableDataSettings, TableModel, TableSettings
from eozoo_core.task.table_task import ENCODER, FEEDS, TableTask
from pydantic import Field

if TYPE_CHECKING:
    from eozoo_core.task.table_survey import TableSurvey
    from eozoo_core.task.table_system import TableSystem

WANTS = (Port("logits", "B K", "1"),)  # what is needed of a network
LOSS_FEEDS = (*WANTS, Port("target", "B", "class index"))  # what a loss is called with


class ClassData(TableDataSettings):
    """Which columns are learned from, and which names are learned."""

    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="Classes in the order of their numbers; null = what the target holds, sorted."
    )


class ClassModel(TableModel):
    """The network and its loss."""

    loss: Named = Field(Named(name="cross_entropy"), description="Loss; 'eozoo show classification' lists what fits.")


class ClassSettings(TableSettings):
    """All settings of classification."""

    model: ClassModel = Field(ClassModel(), description="The network and its loss; fixed by a run.")
    data: ClassData = Field(ClassData(), description="What the columns mean; fixed by a run.")


class Classification(TableTask):
    """A class for each row of a table, or each pixel of a raster."""

    Settings: ClassVar = ClassSettings
    settings: ClassSettings
    slots: ClassVar = {
        "model": Slot("model", feeds=FEEDS, wants=WANTS),
        "model.encoder": ENCODER,
        "model.loss": Slot("loss", feeds=LOSS_FEEDS),
    }

    @property
    def classes(self) -> tuple[str, ...]:
        """See `TableTask`."""
        return self.settings.data.classes or ()

    def ports(self, survey: TableSurvey) -> Ports:
        """Columns in; out the likeliest class, and the probability of each, averaged over members of an ensemble."""
        names = survey.classes or self.known.classes or self.classes or ("class 0", "class 1")
        code = Port("class", "B", "class index", spread="class", of="probability", legend=tuple(enumerate(names)))
        return Ports(self.inputs(survey), (code, Port("probability", "B K", "1", names, spread="probabilities")))

    def system(self, survey: TableSurvey, fresh: bool) -> TableSystem:
        """The network; logits start at those of the class frequencies (one added each)."""
        from eozoo.builtin.table_systems import ClassSystem, log_shares

        classes = len(self.ports(survey).outputs[0].legend)
        network, encoder = self.parts(survey, classes, fresh)
        return ClassSystem(network, survey, log_shares(survey.counts or (0,) * classes), [1.0] * classes, encoder)

    def loss(self, survey: TableSurvey) -> Any:
        """The registered loss of logits and class indices."""
        return registered_loss(self, "output", "target")

    def metrics(self, survey: TableSurvey) -> ClassScores:
        """Scores over all rows."""
        return ClassScores("class", range(len(survey.classes)))

    def baselines(self, survey: TableSurvey) -> dict[str, Baseline]:
        """The class of most training rows."""
        return most_frequent(survey.counts)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Bare, shrub or forest in 600 plots by four bands; rows and a raster to predict."""
        from eozoo.builtin.table_sample import write_table_world

        source, batch = write_table_world(root)
        data = {"target": "cover", "features": ["blue", "green", "red", "nir"]}
        return Sample(ClassSettings(data=data, runtime={"table": root / "samples.csv"}), source, batch)
