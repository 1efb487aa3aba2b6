"""The task: settings and verbs. Everything heavy is imported when a verb is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Graph, Network, Plan, Sample, Task, ZooError

from eozoo_clay_ta.plugin import SLOTS
from eozoo_clay_ta.settings import ClaySettings

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.checking import Findings
    from eozoo_core.task import Predictor, Scores


class ClayTa(Task):
    """GK-2A patches to near-surface air temperature."""

    Settings = ClaySettings
    slots: ClassVar = SLOTS
    prepare_steps: ClassVar[dict[str, str]] = {
        "build_index": "scenes and ASOS tables -> index_train.csv, index_val.csv, index_test.csv",
        "build_patches": "index, scenes and static fields -> SPLIT_chunk_00000.pt ... and statistics",
        "inspect": "look into a chunk: --set prepare.inspect.file=... --set prepare.inspect.idx=N",
        "simulate": "write synthetic scenes, stations and static fields on data.grid",
    }

    def outputs(self) -> dict[str, str]:
        """``ta``: near-surface air temperature at the window's centre, in ``infer.unit``."""
        return {"ta": self.settings.infer.unit}

    def train(self, run: Run) -> None:
        """Train to the configured end; see ``training``."""
        from eozoo_clay_ta.training import train

        train(run, self.settings, self.registry)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt; see ``evaluation``."""
        from eozoo_clay_ta.evaluation import evaluate

        return evaluate(run, self.settings, split, self.registry)

    def predictor(self, run: Run) -> Predictor:
        """Return a function of windows in physical units; see ``predict.INPUTS`` for the arrays."""
        from eozoo_clay_ta.predict import make_predictor

        return make_predictor(run, self.settings, self.registry)

    def graph(self, run: Run) -> Graph:
        """Windows in physical units to temperatures as one network; see ``graphs``."""
        from eozoo_clay_ta.graphs import make_graph

        return make_graph(run, self.settings, self.registry)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Write maps; see ``infer``."""
        from eozoo_clay_ta.infer import infer

        return infer(run, self.settings, source, dest, self.registry)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Simulate scenes on a small part of the grid and prepare them; see ``demo.sample``."""
        from eozoo_clay_ta.demo.sample import make_sample

        return make_sample(root)

    def plan(self, run: Run) -> Plan:
        """Count samples, parameters and steps."""
        from eozoo_clay_ta.plan import make_plan

        return make_plan(self.settings, self.registry)

    def network(self, run: Run | None = None) -> Network:
        """Encoder and head, the auxiliary convolution too."""
        from eozoo_clay_ta.plan import describe

        return describe(self.settings, self.registry, self.outputs(), run)

    def check(self, findings: Findings) -> None:
        """Samples in physical units, their statistics, temperatures, and what splits share."""
        from eozoo_clay_ta.checking import check

        check(self.settings, findings)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Return the pictures that evaluation and inference have drawn, and one of a sample."""
        from eozoo_clay_ta.prepare.inspect_chunk import inspect_chunk

        _, picture = inspect_chunk("", 0, Path(self.settings.runtime.data_dir))
        return [picture, *sorted((run.path / "eval_test").glob("*.png")), run.path / "eval_test" / "report.html"]

    def prepare_build_index(self) -> list[Path]:
        """Match scenes with stations; print what was dropped and why."""
        from eozoo_core.run.progress import print_message

        from eozoo_clay_ta.grid import KoGrid
        from eozoo_clay_ta.prepare.index import build_index

        folder = Path(self.settings.runtime.index_dir)
        grid = KoGrid(**self.settings.data.grid.model_dump())
        files, counts = build_index(self.settings.prepare.build_index, folder, grid)
        print_message("\n".join(f"{n:9,}  {what}" for what, n in counts.items()))
        return files

    def prepare_build_patches(self) -> list[Path]:
        """Cut, check and normalise the samples; print how many each check dropped."""
        from eozoo_core.run.progress import print_message

        from eozoo_clay_ta.prepare.patches import PatchBuilder

        files, report = PatchBuilder(self.settings).build()
        for split, counts in report.items():
            print_message(f"{split}: " + ", ".join(f"{what} {n:,}" for what, n in counts.items()))
        return files

    def prepare_inspect(self) -> list[Path]:
        """Print what a chunk holds; return the picture of one sample."""
        from eozoo_clay_ta.prepare.inspect_chunk import inspect_chunk

        options = self.settings.prepare.inspect
        text, picture = inspect_chunk(options.file, options.idx, Path(self.settings.runtime.data_dir))
        print(text)
        return [picture]

    def prepare_simulate(self) -> list[Path]:
        """Write a synthetic data set on ``data.grid``."""
        from eozoo_clay_ta.demo.products import simulate
        from eozoo_clay_ta.grid import KoGrid

        options = self.settings.prepare.simulate
        if Path(options.out).exists() and any(Path(options.out).iterdir()):
            raise ZooError(f"prepare.simulate.out {options.out}: is not empty; choose another folder")
        grid = KoGrid(**self.settings.data.grid.model_dump())
        return simulate(Path(options.out), options, grid, self.settings.runtime.quiet)
