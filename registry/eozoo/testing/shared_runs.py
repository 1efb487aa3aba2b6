"""Where the checks of one task work: its sample, the trained runs they share, and copies they may spoil."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eozoo.registry import Registry
from eozoo.testing.forks import second_trainers
from eozoo.testing.watch import ambient, killed_at, not_in_checkpoints, trained_parameters

if TYPE_CHECKING:
    from eozoo_core import Run, Sample, Task, TaskSettings
    from eozoo_core.task import Arrays

T = TypeVar("T")
# Any machine, no pictures, no other processes, no forest: what is checked does not depend on them.
_QUIET = (
    *("runtime.device=cpu", "runtime.workers=0", "runtime.tensorboard=false", "runtime.quiet=true"),
    "eval.baselines=[ridge]",
)
_SHORT = ("train.epochs=2", "train.steps=null", "train.schedule.warmup_steps=0")


@dataclass(frozen=True)
class Trained:
    """A finished training.

    path:   its run directory.
    task:   the object that trained it, still in memory.
    killed: the run directory as a kill would have left it at the moment asked for; None where it never came.
    lost:   shapes of parameters that an optimiser trained and whose final values are in no current.pt.
    seconds: what other processes were told that began to train the same run meanwhile.
    """

    path: Path
    task: Task
    killed: Path | None
    lost: tuple[tuple[int, ...], ...]
    seconds: tuple[str, ...] = ()


class Bench:
    """Everything that the checks of one task share. Work is done at the first use and its failure kept as well."""

    def __init__(self, name: str, registry: Registry, overrides: tuple[str, ...] = ()):
        self.name, self.registry, self.overrides = name, registry.within(name), overrides
        self.plugin = self.registry.own.plugin
        self.drawn: set[tuple[Any, ...]] = set()
        self._kept: dict[str, tuple[Any, Exception | None]] = {}

    @cached_property
    def task_class(self) -> type[Task]:
        """The class behind the name."""
        return self.registry.get("task", self.name)

    def writes(self, hook: str) -> bool:
        """Whether the task writes a hook of ``eozoo_core.task.contract``, so that core has the verbs that need it."""
        from eozoo_core.task.contract import Contract

        return getattr(self.task_class, hook) is not getattr(Contract, hook)

    @cached_property
    def home(self) -> Path:
        """The folder of the sample and of all runs; it goes when this object goes."""
        self._temporary = tempfile.TemporaryDirectory(prefix="eozoo-kit-")
        home = Path(self._temporary.name) / "home"
        home.mkdir()
        return home

    # -- sample ---------------------------------------------------------------------------------------------------

    @property
    def sample(self) -> Sample:
        """The task's sample, written once."""
        return self.once("sample", lambda: self.task_class.sample(self.sample_root))

    @property
    def sample_root(self) -> Path:
        """The folder that ``sample`` was written into."""
        return self.home / "sample"

    def settings(self, *overrides: str) -> TaskSettings:
        """Return the sample's settings, made short and quiet, with ``overrides`` ("key=value") last."""
        from eozoo_core.settings.config import load_settings, to_dict

        base = self.sample.settings
        expected = self.task_class.Settings
        assert isinstance(base, expected), f"Sample.settings is a {type(base).__name__}, not a {expected.__name__}"
        return load_settings(type(base), None, [*_QUIET, *_SHORT, *self.overrides, *overrides], to_dict(base))

    def batch(self) -> Arrays:
        """Return a fresh copy of the sample's batch."""
        batch = self.sample.batch
        assert batch, "Sample.batch is empty: let sample() give an example batch for predict(), at least two samples"
        sizes = {name: (array.shape or (0,))[0] for name, array in batch.items()}
        assert len(set(sizes.values())) == 1, f"Sample.batch: arrays must share their first axis, the sample; {sizes}"
        assert min(sizes.values()) >= 2, f"Sample.batch: give at least two samples, got {sizes}"
        return copy.deepcopy(batch)

    def source(self, folder: Path) -> Path:
        """Copy the sample's source, with the files of the same stem beside it, into ``folder``; return its place."""
        source = Path(self.sample.source)
        if source.is_dir():
            return Path(shutil.copytree(source, folder / source.name))
        folder.mkdir(parents=True, exist_ok=True)
        for file in source.parent.glob(f"{source.stem}.*"):
            shutil.copy2(file, folder / file.name)
        return folder / source.name

    # -- runs -----------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> Trained:
        """A finished run of the sample, killed after its first epoch."""
        return self.once("finished", lambda: self._train("finished", within=False))

    @property
    def stepwise(self) -> Trained:
        """The same with a checkpoint at every optimiser step and other random state around, killed in epoch two.

        Other processes begin to train the same run meanwhile.
        """
        return self.once("stepwise", lambda: self._train("stepwise", True, "train.save_every_steps=1", ambient_seed=7))

    def copy(self, path: Path, folder: Path) -> Path:
        """Copy a run directory into ``folder`` (links stay links) and return the copy."""
        return Path(shutil.copytree(path, folder / path.name, symlinks=True))

    def open(self, path: Path, *overrides: str) -> tuple[Task, Run]:
        """Open a run as ``eozoo infer`` does: a new task object, and settings from the run directory."""
        from eozoo_core import Run

        run = Run.open(path, self.task_class.Settings, self.name, overrides)
        return self.new_task(run), run

    def new_task(self, run: Run) -> Task:
        """Return a new task object for a run: nothing loaded, nothing remembered."""
        return self.task_class(run.settings, self.registry)

    def go_on(self, path: Path, *overrides: str) -> tuple[Task, Run]:
        """Open a run as the same ``eozoo train`` command does once more."""
        from eozoo_core import Run

        settings = self.settings(*overrides)
        return self.task_class(settings, self.registry), Run.create(path, self.name, settings, self.plugin)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take sample and runs away: what still works inside needs only what was copied before."""
        away = self.home.with_name("away")
        self.home.rename(away)
        try:
            yield
        finally:
            away.rename(self.home)

    def _train(self, name: str, within: bool, *overrides: str, ambient_seed: int = 3) -> Trained:
        path, killed, seconds = self.home / name, self.home / "killed" / name, []
        task, run = self.go_on(path, *overrides)
        others = second_trainers(lambda: self.go_on(path, *overrides)[1].path, seconds) if within else nullcontext()
        with ambient(ambient_seed), killed_at(path, killed, within), others, trained_parameters() as parameters:
            task.train(run)
            lost = not_in_checkpoints(parameters, path)
        return Trained(run.path, task, killed if killed.exists() else None, lost, tuple(seconds))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return ``make()``, done at the first call under this name; a failure is kept too and told again."""
        if name not in self._kept:
            try:
                self._kept[name] = (make(), None)
            except Exception as error:  # every check that needs it fails for the same reason, without the work again
                self._kept[name] = (None, error)
                raise
        value, error = self._kept[name]
        if error is not None:
            raise RuntimeError(f"not checked: {name!r} of the sample failed before: {error}") from error
        return value
