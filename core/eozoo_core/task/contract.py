"""The contract: what a system writes. Core writes the verbs, see `eozoo_core.task.task`.

A batch goes: ``Data.batch`` -> ``System.stage`` (and kept ``features``) -> ``System.raw`` -> the loss; a scene goes
``Task.map``, which calls ``System.predict`` and ``spread.combine`` and yields blocks -> ``spread.present`` ->
``Task.layers`` -> files.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.settings import Named, TaskSettings
from eozoo_core.slots import Slot
from eozoo_core.spec import Port, Spec
from eozoo_core.task.survey import Fitted, Survey

if TYPE_CHECKING:
    import numpy as np
    import torch

    from eozoo_core.checking import Expected, Separation, Split
    from eozoo_core.raster.files import Layer
    from eozoo_core.raster.read import RasterInfo
    from eozoo_core.run.directory import Run
    from eozoo_core.task.data import Data
    from eozoo_core.task.scenes import Block, Scene
    from eozoo_core.task.system import System

Scores = dict[str, dict[str, float]]
Arrays = dict[str, "np.ndarray"]
Loss = Callable[[dict[str, "torch.Tensor"], dict[str, "torch.Tensor"]], dict[str, tuple[Any, Any]]]


class Registry(Protocol):
    """What a task may ask of the registry: anybody's model, loss or dataset by its name."""

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build the ``kind`` ("model", "loss", "dataset") called ``name`` with keyword ``options``."""

    def chosen(self, slot: Slot, part: Named) -> Spec:
        """Return the Spec of what ``part`` names in ``slot``, with the Ports that its options decide.

        Of a part of a trained run they say what that run scaled its bands with.
        """


class Metrics(Protocol):
    """Scores as sums that add up over samples and processes."""

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """Take some samples: outputs in physical units, and the batch with its "target"; NaN = missing."""

    def sums(self) -> np.ndarray:
        """Return everything as one flat float64 array that may be added to another's."""

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """Return metric -> finite value; what is undefined is left out."""


Baseline = Callable[[Arrays], Arrays]  # a batch -> the outputs that something simple would give


@dataclass(frozen=True)
class Target:
    """What a metric should stay below, and what it means in a few words."""

    below: float
    meaning: str

    def verdict(self, value: float) -> str:
        """Say whether a value reaches it."""
        return f"{'met' if value < self.below else 'missed'}: < {self.below:g}"


@dataclass(frozen=True)
class Ports:
    """The arrays of ``predict``: what goes in and what comes out."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class Sample:
    """A small synthetic data set: the settings that train on it in seconds, a source for ``infer``, a ``batch``.

    ``batch`` is an example for ``predict``: arrays that share their first axis, at least two samples (for images a few
    pixels are enough). The conformance kit needs it; the demo does not.
    """

    settings: TaskSettings
    source: Path
    batch: Arrays = field(default_factory=dict)


class Contract(ABC):
    """What a system writes: its data, what they hold, its network, its loss and its scores.

    A task is cheap to construct: it keeps settings and registry, and opens no file and builds no network until it is
    asked. ``Settings`` have every default; ``Survey`` and ``Fitted`` are typed and kept in the run.
    """

    api: ClassVar[int]  # of `eozoo_core.api`, the one that the task is written for; 1 where it says nothing
    Settings: ClassVar[type[TaskSettings]]
    Survey: ClassVar[type[Survey]] = Survey
    Fitted: ClassVar[type[Fitted]] = Fitted
    monitor: ClassVar[str] = "loss"  # the validation score that chooses best.pt; lower is better
    tolerates_gaps: ClassVar[tuple[str, ...]] = ()  # arrays of ``predict`` in which single values may be missing
    processes_differ: ClassVar[str] = ""  # why two processes score as one within float32 only; "" = within 1e-12
    prepare_steps: ClassVar[dict[str, str]] = {}  # step -> one line; `steps` says what runs it
    presets: ClassVar[Mapping[str, Path]] = {}  # name -> YAML file of settings; its first line says what it is for
    slots: ClassVar[dict[str, Slot]] = {}  # settings path of a Named part ("model", "model.loss") -> what fits there

    def __init__(self, settings: TaskSettings, registry: Registry | None = None):
        self.settings = settings
        self.registry = registry

    # -- what every system writes ---------------------------------------------------------------------------------

    def data(self, split: str) -> Data:
        """Open "train", "val" or "test". Raises NoSplit where there is none, ZooError where a file does not fit."""
        raise self._unwritten("data(split)")

    def has_split(self, split: str) -> bool:
        """Whether there is data of ``split``; training scores the test split at its end where there is one.

        The default opens it: `NoSplit` means no, any other ZooError goes on to the user.
        """
        try:
            self.data(split)
        except NoSplit:
            return False
        return True

    @property
    def validates(self) -> bool:
        """Whether these settings keep data for validation; without any best.pt follows the training loss."""
        return True

    def survey(self, train: Data) -> Survey:
        """Look once through the training split: bands, label, statistics and what else the system is built from."""
        raise self._unwritten("survey(train)")

    def ports(self, survey: Survey) -> Ports:
        """Describe the arrays of ``predict`` without building a network; ``Survey()`` stands for data not yet seen."""
        raise self._unwritten("ports(survey)")

    def system(self, survey: Survey, fresh: bool) -> System:
        """Build the system. Core then fills in its frozen tensors and calls its ``adapt``.

        ``fresh`` False: core loads all weights afterwards, so do not fetch published ones. Large parts may then be
        built on torch's meta device (shapes without numbers), unless their state dict leaves some of their buffers out.
        """
        raise self._unwritten("system(survey, fresh)")

    def loss(self, survey: Survey) -> Loss:
        """Return f(raw, batch) -> name -> (sum, count); "loss" is what is minimised. See `registered_loss`."""
        raise self._unwritten("loss(survey)")

    def metrics(self, survey: Survey) -> Metrics:
        """Return empty scores."""
        raise self._unwritten("metrics(survey)")

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write a small, physically plausible synthetic data set under ``root``, the same bytes every time."""
        raise ZooError(f"{cls.__name__} has no sample(root); its author adds one")

    # -- what a system may replace --------------------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """The name of the network for these settings; the default: that of the registered model."""
        return self.settings.model.name

    def plan_notes(self) -> Sequence[str]:
        """Return lines for ``train --dry-run`` about what its numbers do not say."""
        return ()

    def describe_splits(self, data: Mapping[str, Data]) -> tuple[list[Split], Separation]:
        """Say what splits (name -> data) may not share; the default: pixels, files and ground."""
        raise self._unwritten("describe_splits(data)")

    def folded(self, fold: Any) -> Contract | None:
        """Return this task on one fold of cross-validation (`eozoo_core.task.folds.Fold`).

        None = core does it: by ``data.split`` where the data are divided by that, else by `Data.pick`.
        """
        return None

    def data_to_check(self, split: str) -> Data:
        """Open a split for ``check``. Files that would stop training stay in it: `Data.item` raises for them."""
        return self.data(split)

    def expected(self) -> Expected:
        """Return what ``check`` compares the data with; the default: labels by the outputs, bands by their units."""
        raise self._unwritten("expected()")

    def beside(self) -> Sequence[Path]:
        """Return files that maps and scores of a run need: training copies them into it, under their names."""
        return ()

    def check_inputs(self, arrays: Arrays) -> Arrays:
        """Return arrays for ``predict``, whose shapes and types fit. Raises ZooError for values that cannot be."""
        return arrays

    def tags(self, run: Run) -> dict[str, str]:
        """Return what every map of a run says of itself, beside core's tags."""
        return {}

    def example(self, inputs: Sequence[Port]) -> Arrays:
        """Return one plausible sample of the inputs of ``predict``, as an exported graph shows it."""
        raise self._unwritten("example(inputs)")

    def steps(self) -> Mapping[str, Callable[[], list[Path]]]:
        """Return what runs each of ``prepare_steps``; the default: the methods called prepare_STEP."""
        return {step: getattr(self, f"prepare_{step}") for step in self.prepare_steps}

    def baselines(self, survey: Survey) -> dict[str, Baseline]:
        """Return simple predictors that stand beside the model; the default: the mean label or most frequent class.

        Those that ``eval.baselines`` names come from the run; see `covariates`.
        """
        from eozoo_core.task.baselines import simplest

        return simplest(self.ports(survey).outputs, survey)

    def covariates(self, batch: Arrays, survey: Survey) -> np.ndarray | None:
        """Return what fitted baselines see of a batch: (B, F), or (B, F, H, W) of pixels; NaN = missing, None = no fit.

        They predict the one output of moments, or of probabilities, one number for each "target": of classes this is
        the code that the output of classes has, without such an output the index (a
        batch whose "target" is the index all the same has the code as "code"). The default is the first input of
        `ports`, its axes other than rows and columns in one.
        """
        from eozoo_core.task.baselines import first_input

        return first_input(self.ports(survey).inputs, batch)

    def raster_bands(self, info: RasterInfo, survey: Survey) -> tuple[int, ...]:
        """Return the numbers (1-based) of the bands of a raster that the network gets; the default: by name."""
        from eozoo_core.task.scenes import choose_bands

        return choose_bands(info, survey.names)

    reads_assemblies: ClassVar[bool] = True  # whether `open_scene` takes scenes of several files (SAFE, STAC)

    reads_xarray: ClassVar[bool] = True  # whether `open_scene` takes data in memory (`raster.xarrays.InMemory`)

    def find_scenes(self, source: Path) -> Sequence[Any]:
        """Return what ``infer`` maps at ``source``, unopened; the default: rasters. Raises ZooError for none."""
        from eozoo_core.task.scenes import rasters

        return rasters(source)

    def open_scene(self, found: Any, survey: Survey) -> Scene:
        """Look at one of ``find_scenes`` before any is mapped; the default reads a raster's header.

        Of a run on several dates it gets a tuple, the rasters of one scene in the order of their dates.
        Raises ZooError where it does not fit.
        """
        from eozoo_core.raster.assembly import Assembly
        from eozoo_core.task.scenes import open_assembly, open_dates, open_raster

        if isinstance(found, tuple):
            return open_dates(found, survey.names, self.settings.infer)
        if isinstance(found, Assembly):
            choose = lambda info: self.raster_bands(info, survey)  # noqa: E731
            return open_assembly(found, choose, survey.names, self.settings.infer)
        return open_raster(found, lambda info: self.raster_bands(info, survey), survey.names, self.settings.infer)

    def map(self, drawn: Any, scene: Scene) -> Iterator[Block]:
        """Yield a scene's rows from top to bottom; the default: windows of a raster, blended.

        ``drawn`` (`eozoo_core.task.windows.Drawn`) predicts arrays with all draws of the run. Core masks and writes.
        """
        raise self._unwritten("map(drawn, scene)")

    def write(self, drawn: Any, scene: Scene, dest: Path) -> list[Path]:
        """Write the result for a scene with ``Scene.whole`` into ``dest``; return the files.

        Called for such scenes only. For all others core writes the maps: `layers`, filled by the blocks of `map`.
        """
        raise self._unwritten("write(drawn, scene, dest)")

    def layers(self, outputs: Sequence[Port], run: Run) -> Sequence[Layer]:
        """Return the files of a map; the default: one for every output that has rows and columns."""
        raise self._unwritten("layers(outputs, run)")

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: Scene, dest: Path) -> list[Path]:
        """Draw what lies beside a scene's maps, also where these were there; ``files``: layer -> its file.

        The default: ``infer.picture``, a PNG that is left where it is no older than the maps (`written.is_current`).
        """
        raise self._unwritten("pictures(outputs, files, scene, dest)")

    def optimizers(self, trainer: Any) -> None:
        """Give modules and optimisers to ``trainer.add``; the default trains the whole system."""
        raise self._unwritten("optimizers(trainer)")

    def step(self, trainer: Any) -> Any:
        """Return f(micro_batches, number of the step): it moves the weights and returns name -> (sum, count) to log.

        It returns None where nothing was labelled. The default descends the mean of the loss.
        """
        raise self._unwritten("step(trainer)")

    def validate(self, trainer: Any) -> dict[str, float]:
        """Score the validation split, the same on every process; the default sums loss and metrics over samples."""
        raise self._unwritten("validate(trainer)")

    def derive(self, means: dict[str, float], survey: Survey) -> dict[str, float]:
        """Return more values for the log from the means of a training interval; the default has none."""
        return {}

    def targets(self) -> Mapping[str, Target]:
        """Return metrics that a good run keeps below a limit; ``eval`` says whether it does. The default: none."""
        return {}

    def fitted(self, run: Run) -> Fitted | None:
        """Fit what comes after best.pt, on validation data; None = nothing. The default: a factor of all variances."""
        raise self._unwritten("fitted(run)")

    # -- help -----------------------------------------------------------------------------------------------------

    def build(self, kind: str, part: Named, extra: dict[str, Any] | None = None, fresh: bool = True) -> Any:
        """Build the registered ``kind`` that ``part`` names; ``extra`` are options that follow from the data.

        ``fresh`` False: weights will be loaded over it, so published ones ("pretrained") are not fetched. Raises
        ZooError for an option that is in both.
        """
        for option in extra or {}:
            if option in part.options:
                raise ZooError(f"{kind} {part.name}: the option {option!r} follows from the data; take it out")
        if self.registry is None:
            raise ValueError("this task was built without a registry")
        fetches = "pretrained" in part.options or {"run", "made"} <= part.options.keys()  # published, or of a run
        known = {"pretrained": False} if fetches and not fresh else {}
        return self.registry.create(kind, part.name, {**part.options, **known, **(extra or {})})

    def _unwritten(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not write {what}")
