"""The task ``my_task``: SUMMARY."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Graph, Network, Plan, Sample, Slot, Task

from eozoo_my_task.plugin import FEEDS, LOSS_FEEDS, WANTS
from eozoo_my_task.settings import MyTaskSettings

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.checking import Findings
    from eozoo_core.task import Predictor, Scores


class MyTask(Task):
    """SUMMARY. Each verb imports what it needs when it is called."""

    Settings: ClassVar = MyTaskSettings
    settings: MyTaskSettings
    slots: ClassVar = {
        "model": Slot("model", feeds=FEEDS, wants=WANTS),
        "model.loss": Slot("loss", feeds=LOSS_FEEDS),
    }

    def outputs(self) -> dict[str, str]:
        """Name -> unit of what ``predict`` gives."""
        from eozoo_my_task.objective import outputs

        return outputs(self.settings)

    def train(self, run: Run) -> None:
        """Train on the windows of DATA_DIR/train."""
        from eozoo_my_task.training import train

        train(run, self.settings, self.registry)

    def plan(self, run: Run) -> Plan:
        """Data, size of the model, steps."""
        from eozoo_my_task.training import plan

        return plan(self.settings, self.registry)

    def network(self, run: Run | None = None) -> Network:
        """What goes in and comes out, and how many parameters; with a run, its bands and their statistics."""
        from eozoo_my_task.training import describe

        return describe(self, run)

    def check(self, findings: Findings) -> None:
        """Look at DATA_DIR before training: bands, units, labels, and what splits share."""
        from eozoo_my_task.checking import check

        check(self.settings, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt and a constant prediction on DATA_DIR/SPLIT."""
        from eozoo_my_task.training import evaluate

        return evaluate(run, self.settings, self.registry, split)

    def predictor(self, run: Run) -> Predictor:
        """``{"image": (B, C, H, W)}`` in the unit of training -> see ``outputs``; NaN where any band is missing."""
        from eozoo_my_task.maps import make_predictor

        return make_predictor(run, self.settings, self.registry)

    def graph(self, run: Run) -> Graph:
        """Everything from bands to masked outputs as one network, for windows of ``infer.window`` pixels."""
        from eozoo_my_task.maps import make_graph

        return make_graph(run, self.settings, self.registry)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Write a map for a raster or every raster of a folder."""
        from eozoo_my_task.maps import infer

        return infer(run, self.settings, lambda batch: self.predict(run, batch), source, dest)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write a synthetic landscape; its settings train on it in seconds."""
        from eozoo_my_task.synthetic import write_sample

        return write_sample(root)
