"""The contract between the command line and a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.settings import TaskSettings
from eozoo_core.slots import Slot
from eozoo_core.task.describe import Network
from eozoo_core.task.graph import Graph
from eozoo_core.task.plan import Plan

if TYPE_CHECKING:
    import numpy as np

    from eozoo_core.checking import Findings
    from eozoo_core.run.directory import Run

Scores = dict[str, dict[str, float]]
Arrays = dict[str, "np.ndarray"]


class Predictor(Protocol):
    """Trained weights ready to use: arrays in, arrays out."""

    def __call__(self, batch: Arrays) -> Arrays:
        """Predict for one batch."""


class Registry(Protocol):
    """What a task may ask of the registry: anybody's model, loss or dataset by its name."""

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build the ``kind`` ("model", "loss", "dataset") called ``name`` with keyword ``options``."""


@dataclass(frozen=True)
class Sample:
    """A small synthetic data set: the settings that train on it in seconds, a source for ``infer``, a ``batch``.

    ``batch`` is an example for ``predict``: arrays that share their first axis, at least two samples (for images a few
    pixels are enough). The conformance kit needs it; the demo does not.
    """

    settings: TaskSettings
    source: Path
    batch: Arrays = field(default_factory=dict)


class Task(ABC):
    """One trainable system. A subclass sets ``Settings`` and writes the verbs.

    A task is cheap to construct: it keeps settings and registry, and opens no file and builds no network until a verb
    is called. ``evaluate``, ``predictor`` and ``infer`` need the run directory and their input, nothing else: no
    training data, no original settings file.
    """

    Settings: ClassVar[type[TaskSettings]]
    monitor: ClassVar[str] = "loss"  # the validation score that chooses best.pt; lower is better
    tolerates_gaps: ClassVar[tuple[str, ...]] = ()  # arrays of ``predict`` in which single values may be missing
    prepare_steps: ClassVar[dict[str, str]] = {}  # step -> one line; the method is prepare_<step>()
    slots: ClassVar[dict[str, Slot]] = {}  # settings path of a Named part ("model", "model.loss") -> what fits there

    def __init__(self, settings: TaskSettings, registry: Registry | None = None):
        self.settings = settings
        self.registry = registry
        self._predictor: tuple[Any, Predictor] | None = None

    @abstractmethod
    def outputs(self) -> dict[str, str]:
        """Return name -> unit of every array that ``predict`` gives, for these settings ("1" for a plain number)."""

    @abstractmethod
    def train(self, run: Run) -> None:
        """Train to the configured end, going on from the run's last checkpoint if it has one.

        Leaves current.pt, best.pt and training_log.jsonl in the run, through ``eozoo_core.train.fit``.
        Raises ZooError for data that cannot be used.
        """

    @abstractmethod
    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt on ``split``; return predictor -> metric -> finite float.

        The first predictor is "model"; simple baselines (the training mean at least) stand beside it. Metrics are
        pooled over all valid elements. Files (pictures, arrays) go to ``run.path / f"eval_{split}"``.
        """

    @abstractmethod
    def predictor(self, run: Run) -> Predictor:
        """Load best.pt strictly and return a callable: dict of arrays in, dict of arrays out (see ``outputs``).

        All arrays share their first axis, the sample. Outputs are float arrays, a sample's the same whatever else is
        in the batch, and the arrays given are left as they are.
        Missing data in a pixel or sample (NaN) gives NaN in every output there. In the arrays that the class names in
        ``tolerates_gaps`` (a time series with cloudy dates) single values may be missing; only where all of a pixel or
        sample is missing must the outputs be NaN.
        """

    @abstractmethod
    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Predict for ``source`` (a file, or a folder of files) and return the files written.

        Outputs are georeferenced where the input is, name their unit and nodata, and appear complete or not at all.
        """

    @classmethod
    @abstractmethod
    def sample(cls, root: Path) -> Sample:
        """Write a small, physically plausible synthetic data set under ``root``, the same bytes every time."""

    def plan(self, run: Run) -> Plan:
        """Look at data and model without training: what ``train --dry-run`` prints."""
        raise ZooError(f"{run.task}: has no dry run")

    def network(self, run: Run | None = None) -> Network:
        """Describe the network for these settings; with a ``run``, as trained: its bands, statistics, first weights.

        Gives no weight memory (see ``eozoo_core.task.describe``). Raises ZooError where the task does not say.
        """
        raise ZooError(f"{type(self).__name__} does not describe its network: its author adds Task.network")

    def check(self, findings: Findings) -> None:
        """Look at the data before training, for ``eozoo check``: add to ``findings`` what is there and what is odd.

        Reads at most ``findings.samples`` samples of a split, builds no network, writes nothing. What training would
        stop at is an error; a ZooError that leaves the method becomes one. ``eozoo_core.checking`` judges splits that
        are described to it. The default looks at the paths in ``runtime``, and at the GeoTIFF and .npy files of the
        train, val and test that it finds there, by the bands and units that they name themselves.
        """
        from eozoo_core.checking.folders import check_settings

        check_settings(self.settings, findings)

    def graph(self, run: Run) -> Graph:
        """Return the trained run as one torch module on the CPU. Raises ZooError where that cannot be, and why."""
        raise ZooError(f"{run.task}: cannot be exported: the task does not offer its network as one graph")

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw pictures of a finished demo run into ``out``; return them. The default draws none."""
        return []

    def predict(self, run: Run, batch: Arrays) -> Arrays:
        """Predict for a dict of arrays; weights are loaded at the first call and kept."""
        if not isinstance(batch, dict):
            raise ZooError(f"predict: give a dict of arrays, name -> array, got a {type(batch).__name__}")
        stamp = (run.path, run.file("best").stat().st_mtime_ns if run.has("best") else None)
        if self._predictor is None or self._predictor[0] != stamp:
            self._predictor = (stamp, self.predictor(run))
        return self._predictor[1](batch)

    def prepare(self, step: str) -> list[Path]:
        """Run one named preparation step; return the files written. Raises ZooError for an unknown step."""
        if step not in self.prepare_steps:
            raise ZooError(f"no prepare step {step!r}.{did_you_mean(step, self.prepare_steps)}")
        return getattr(self, f"prepare_{step}")()
