"""The task ``classification``: a class for each row of a table, or each pixel of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Sample
from eozoo_core.tables.task import TableTask
from eozoo_core.task import Ports

from eozoo.builtin.table_cards import CLASS_SLOTS
from eozoo.builtin.table_settings import ClassSettings

if TYPE_CHECKING:
    from eozoo_core.tables.survey import TableSurvey
    from eozoo_core.tables.system import ClassSystem
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.scores import ClassScores


class Classification(TableTask):
    """The likeliest class of each row of a table, and the probability of each."""

    Settings: ClassVar = ClassSettings
    slots: ClassVar = CLASS_SLOTS
    settings: ClassSettings

    @property
    def classes(self) -> tuple[str, ...]:
        """See `TableTask`."""
        return self.settings.data.classes or ()

    def ports(self, survey: TableSurvey) -> Ports:
        """Columns in; out the number of the likeliest class, and the probability of each."""
        legend = self._legend(survey)
        code = Port("class", "B", "class index", spread="class", of="probability", legend=legend)
        names = tuple(name for _, name in legend)
        return Ports(self.inputs(survey), (code, Port("probability", "B K", "1", names, spread="probabilities")))

    def system(self, survey: TableSurvey, fresh: bool) -> ClassSystem:
        """The network; logits start at those of the class frequencies."""
        from eozoo_core.tables.system import ClassSystem

        classes = len(self._legend(survey))
        network, encoder = self.parts(survey, classes, fresh)
        even = self.settings.model.class_weights != "none" or not survey.counts
        return ClassSystem(network, survey, (0,) * classes if even else survey.counts, encoder)

    def loss(self, survey: TableSurvey) -> Loss:
        """The registered loss of logits and classes, with class weights."""
        from eozoo_core.task.classes import class_loss

        return class_loss(self, survey, self._legend(survey))

    def metrics(self, survey: TableSurvey) -> ClassScores:
        """Scores over all rows."""
        from eozoo_core.task.scores import ClassScores

        return ClassScores("class", [code for code, _ in self._legend(survey)])

    def _legend(self, survey: TableSurvey) -> tuple[tuple[int, str], ...]:
        return tuple(enumerate(survey.classes or self.known.classes or self.classes or ("class 0", "class 1")))

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Bare, shrub or forest in 800 plots by four bands; rows and a raster to predict."""
        from eozoo.builtin.table_sample import write_table_world

        source, batch = write_table_world(root)
        data = {"target": "cover", "features": ["blue", "green", "red", "nir"]}
        return Sample(ClassSettings(data=data, runtime={"table": root / "samples.csv"}), source, batch)
