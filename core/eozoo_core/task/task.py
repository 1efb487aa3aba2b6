"""A task with its verbs: what the command, the Python API and the conformance kit call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.task.contract import Arrays, Contract, Registry, Sample, Scores
from eozoo_core.task.results import Graph, Network, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from eozoo_core.checking import Expected, Findings, Separation, Split
    from eozoo_core.raster.files import Layer
    from eozoo_core.run.directory import Run
    from eozoo_core.run.pool import Pool
    from eozoo_core.settings import TaskSettings
    from eozoo_core.spec import Port
    from eozoo_core.task.data import Data
    from eozoo_core.task.module import RunModule
    from eozoo_core.task.scenes import Block, Scene
    from eozoo_core.task.survey import Fitted
    from eozoo_core.task.train import Trainer
    from eozoo_core.task.windows import Drawn


class Predictor(Protocol):
    """Trained weights ready to use: arrays in, arrays out."""

    def __call__(self, batch: Arrays) -> Arrays:
        """Predict for one batch."""


class Task(Contract):
    """One trainable system: a subclass writes the hooks of `Contract`, and core's verbs stand here.

    ``evaluate``, ``predictor`` and ``infer`` need the run directory and their input, nothing else: no training data,
    no original settings file.
    """

    def __init__(self, settings: TaskSettings, registry: Registry | None = None):
        super().__init__(settings, registry)
        self._predictor: tuple[Any, Predictor] | None = None

    # -- verbs ----------------------------------------------------------------------------------------------------

    def outputs(self) -> dict[str, str]:
        """Return name -> unit of every array that ``predict`` gives, for these settings ("1" for a plain number)."""
        from eozoo_core.task.describe import outputs_of

        return {port.role: port.unit for port in outputs_of(self, self.Survey())}

    def train(self, run: Run) -> None:
        """Train every member to the configured end, going on from the last checkpoints; then score the test split.

        Leaves current.pt, best.pt and training_log.jsonl in the run. Raises ZooError for data that cannot be used.
        """
        from eozoo_core.task.members import train_all

        train_all(self, run)

    def plan(self, run: Run) -> Plan:
        """Look at data and system without training: what ``train --dry-run`` prints."""
        if not self._writes("data"):
            raise ZooError(f"{run.task}: has no dry run")
        from eozoo_core.task.plan import make_plan

        return make_plan(self, run)

    def check(self, findings: Findings) -> None:
        """Look at the data before training, for ``eozoo check``: add to ``findings`` what is there and what is odd.

        Reads at most ``findings.samples`` samples of a split, builds no network, writes nothing. Of a task that does
        not write ``data``, the paths in ``runtime`` are looked at, and the GeoTIFF and .npy files below them.
        """
        if not self._writes("data"):
            from eozoo_core.checking.folders import check_settings

            check_settings(self.settings, findings)
            return
        from eozoo_core.task.check import check

        check(self, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt on ``split``; return predictor -> metric -> finite float.

        The first predictor is "model"; simple baselines stand beside it. Metrics are pooled over all valid elements.
        """
        from eozoo_core.task.evaluate import evaluate

        return evaluate(self, run, split)

    def score(self, run: Run, split: str, on_unlike: str | None = None) -> Scores:
        """Judge ``split`` against what training saw, then `evaluate` it: what ``eozoo eval`` calls.

        Raises ZooError where inputs or labels lie far outside, unless ``on_unlike`` (None = ``eval.on_unlike``) is
        "warn".
        """
        if not self._writes("data"):
            return self.evaluate(run, split)
        from eozoo_core.task.evaluate import score

        return score(self, run, split, on_unlike or self.settings.eval.on_unlike)

    def scored_on(self, run: Run, split: str) -> dict[str, Any]:
        """Return what scores of ``split`` belong to, kept beside them: "units", "samples", "fingerprint" of the files.

        {} for a task that does not write ``data``.
        """
        if not self._writes("data"):
            return {}
        from eozoo_core.task.evaluate import scored_on

        return scored_on(self, run, split)

    def predictor(self, run: Run) -> Predictor:
        """Load best.pt strictly and return a callable: dict of arrays in, dict of arrays out (see ``outputs``).

        All arrays share their first axis, the sample. Outputs are float arrays, a sample's the same whatever else is
        in the batch, and the arrays given are left as they are. Missing data in a pixel or sample (NaN) gives NaN in
        every output there; in the arrays of ``tolerates_gaps`` single values may be missing.
        """
        from eozoo_core.task.predict import Predictor

        return Predictor(self, run)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Predict for ``source`` (a file, or a folder of files) and return the files written.

        Outputs are georeferenced where the input is, name their unit and nodata, and appear complete or not at all.
        """
        from eozoo_core.task.infer import infer

        return infer(self, run, source, dest)

    def forecast(self, run: Run, source: Path, dest: Path) -> list[str]:
        """Say in lines what ``infer`` would do and take; nothing is written. See `eozoo_core.task.forecast`."""
        from eozoo_core.task.forecast import forecast

        return forecast(self, run, source, dest)

    def network(self, run: Run | None = None) -> Network:
        """Describe the network for these settings; with a ``run``, as trained: its bands, statistics, first weights."""
        if not self._writes("ports"):
            raise ZooError(f"{type(self).__name__} does not describe its network: its author adds Task.network")
        from eozoo_core.task.describe import describe

        return describe(self, run)

    def graph(self, run: Run) -> Graph:
        """Return the trained run as one torch module on the CPU. Raises ZooError where that cannot be, and why."""
        if not self._writes("system"):
            raise ZooError(f"{run.task}: cannot be exported: the task does not offer its network as one graph")
        from eozoo_core.task.graph import make_graph

        return make_graph(self, run)

    def module(self, run: Run, output: str | None = None, trainable: bool = False) -> RunModule:
        """Return the trained run as a differentiable torch module that gives ``output``.

        None = the first that is no class: those have no gradient. Raises ZooError for an output that there is not, and
        for a task that does not write ``system``.
        """
        if not self._writes("system"):
            raise ZooError(f"{run.task}: is no module: the task does not offer its network")
        from eozoo_core.task.module import make_module

        return make_module(self, run, output, trainable)

    def predict(self, run: Run, batch: Any) -> Any:
        """Predict for a dict of arrays, or for xarray; weights are loaded at the first call and kept.

        Of a DataArray or Dataset it returns a Dataset, as `task.xarrays.predict_xarray` says.
        """
        from eozoo_core.task.xarrays import is_xarray, predict_xarray

        if is_xarray(batch):
            return predict_xarray(self, run, self._loaded(run), batch)
        if not isinstance(batch, dict):
            raise ZooError(f"predict: give a dict of arrays, name -> array, got a {type(batch).__name__}")
        return self._loaded(run)(batch)

    def _loaded(self, run: Run) -> Predictor:
        stamp = (run.path, tuple(sorted((str(f), f.stat().st_mtime_ns) for f in run.path.rglob("best.pt"))))
        if self._predictor is None or self._predictor[0] != stamp:
            self._predictor = (stamp, self.predictor(run))
        return self._predictor[1]

    def prepare(self, step: str) -> list[Path]:
        """Run one named preparation step; return the files written. Raises ZooError for an unknown step."""
        if step not in self.prepare_steps:
            raise ZooError(f"no prepare step {step!r}.{did_you_mean(step, self.prepare_steps)}")
        return self.steps()[step]()

    def workers(self) -> AbstractContextManager[Pool]:
        """Return the workers of preparation: ``prepare.workers`` processes, or the cluster ``prepare.dask``."""
        from eozoo_core.run.workers import open_workers
        from eozoo_core.task.made_from import distribution_of

        how = self.settings.prepare
        return open_workers(how.workers, how.dask, needs=[distribution_of(type(self))])

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw pictures of a finished demo run into ``out``; return them. The default draws none."""
        return []

    def _writes(self, hook: str) -> bool:
        """Whether this task writes a hook of `Contract`; one that replaces the verbs need not."""
        return getattr(type(self), hook) is not getattr(Contract, hook)

    # -- defaults of what a system may replace, see `Contract` -----------------------------------------------------

    def describe_splits(self, data: Mapping[str, Data]) -> tuple[list[Split], Separation]:
        """Compare the pixels of the first input, files and ground."""
        from eozoo_core.task.splits import describe_splits

        return describe_splits(self, data)

    def expected(self) -> Expected:
        """Compare labels with the unit or the classes of what is predicted."""
        from eozoo_core.task.check import expected_of

        return expected_of(self)

    def fitted(self, run: Run) -> Fitted | None:
        """Fit the factor of all variances where an output is a deviation."""
        from eozoo_core.task.fitted import fit_variance

        return fit_variance(self, run)

    def example(self, inputs: Sequence[Port]) -> Arrays:
        """Draw values from the statistics of the bands."""
        from eozoo_core.task.graph import example

        return {port.role: example(port, getattr(self.settings.infer, "window", 32)) for port in inputs}

    def optimizers(self, trainer: Trainer) -> None:
        """Train the whole system with ``train.optimizer``."""
        from eozoo_core.task.train import add_model

        add_model(trainer)

    def step(self, trainer: Trainer) -> Any:
        """Descend the mean of the loss over all labelled elements."""
        from eozoo_core.task.train import make_step

        return make_step(trainer)

    def validate(self, trainer: Trainer) -> dict[str, float]:
        """Sum loss and metrics over the samples of the validation split."""
        from eozoo_core.task.train import validate

        return validate(self, trainer)

    def map(self, drawn: Drawn, scene: Scene) -> Iterator[Block]:
        """Predict windows of ``infer.window`` pixels and blend them. Raises ZooError where no input is an image."""
        if not any({"H", "W"} <= set(port.axes.split()) for port in drawn.inputs):
            taken = ", ".join(map(str, drawn.inputs))
            raise ZooError(
                f"{scene.path}: cannot be mapped: the task takes {taken}, which has no rows and columns; call predict "
                "with arrays, or its author writes Task.map"
            )
        from eozoo_core.raster.tiles import Tiling
        from eozoo_core.task.windows import map_raster

        infer = self.settings.infer
        return map_raster(drawn, scene, Tiling(infer.window, infer.overlap, drawn.multiple))

    def layers(self, outputs: Sequence[Port], run: Run) -> Sequence[Layer]:
        """Write every output that has rows and columns into a file of its own."""
        from eozoo_core.task.maps import layers_of

        return layers_of(outputs)

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: Scene, dest: Path) -> list[Path]:
        """Draw the maps of one band side by side, where ``infer.picture`` says so."""
        from eozoo_core.task.maps import draw_maps

        return (
            draw_maps(outputs, files, dest / f"{scene.name or scene.path.stem}.png")
            if self.settings.infer.picture
            else []
        )
