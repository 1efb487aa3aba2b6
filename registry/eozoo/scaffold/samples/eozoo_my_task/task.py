"""The task ``my_task``: SUMMARY."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from eozoo.builtin.scalar_regression import ScalarRegression
from eozoo.builtin.table_settings import RegressionModel, RegressionSettings
from eozoo_core import Sample
from eozoo_core.settings import Named, like


class MyTaskSettings(RegressionSettings):
    """All settings of my_task."""

    model: RegressionModel = like(RegressionSettings, "model", RegressionModel(encoder=Named(name="my_task_encoder")))


class MyTask(ScalarRegression):
    """SUMMARY. Its methods are those of ``scalar_regression``: write one anew to change it."""

    Settings: ClassVar = MyTaskSettings

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Biomass of 400 plots, from two series and their terrain."""
        from eozoo_my_task.table import write_world

        source, batch = write_world(root)
        data, runtime = {"target": "biomass", "unit": "Mg/ha"}, {"table": root / "samples.csv"}
        return Sample(MyTaskSettings(data=data, runtime=runtime), source, batch)
