"""The zoo from Python, in the words people know: list, create, load, predict."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from eozoo.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from eozoo_core import Run, Task
    from eozoo_core.task.module import RunModule


def list_tasks(pattern: str = "*") -> list[str]:
    """Return the names of tasks that match a shell-style pattern, sorted."""
    return _names("task", pattern)


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of models that match a shell-style pattern, for example ``"*unet*"``."""
    return _names("model", pattern)


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the names of datasets that match a shell-style pattern."""
    return _names("dataset", pattern)


def list_losses(pattern: str = "*") -> list[str]:
    """Return the names of losses that match a shell-style pattern."""
    return _names("loss", pattern)


def create_model(name: str, /, **options: Any) -> Any:
    """Build a registered model as a torch.nn.Module, untrained unless an option says otherwise.

    ``options`` are the model's own; one that it does not have is a ZooError with a suggestion.
    """
    return Registry.discover().create("model", name, options)


def create_dataset(name: str, /, **options: Any) -> Any:
    """Build a registered dataset: samples with a length, each a dict of arrays by role."""
    return Registry.discover().create("dataset", name, options)


def create_loss(name: str, /, **options: Any) -> Any:
    """Build a registered loss: a callable that returns ``(sum, count)`` over labelled elements."""
    return Registry.discover().create("loss", name, options)


def load_run(path: str | Path, *overrides: str) -> LoadedRun:
    """Open a trained run. ``overrides`` are ``"key=value"`` strings for its free scopes (runtime, infer, eval).

    Raises ZooError where there is no run, or its task is not installed.
    """
    from eozoo_core import Run

    from eozoo.trained_with import registry_of

    path = Path(path)
    registry = registry_of(Registry.discover(), Run.task_of(path), path)
    task = registry.get("task", registry.own.qualified)
    run = Run.open(path, task.Settings, overrides=overrides)
    return LoadedRun(run, task(run.settings, registry))


class LoadedRun:
    """A trained run, ready to predict. ``outputs`` gives name -> unit."""

    def __init__(self, run: Run, task: Task):
        self.run, self.task, self.outputs = run, task, task.outputs()

    @overload
    def predict(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    @overload
    def predict(self, batch: xr.DataArray | xr.Dataset) -> xr.Dataset: ...

    def predict(self, batch: Any) -> Any:
        """Predict for a dict of arrays, or for xarray with rows and columns; NaN in gives NaN out.

        A DataArray (band, y, x) or a Dataset of bands gives a Dataset with a variable for each map that ``infer``
        would write, on the same coordinates. Weights are loaded at the first call.
        """
        return self.task.predict(self.run, batch)

    def module(self, output: str | None = None, trainable: bool = False) -> RunModule:
        """Return the run as a torch module, a part of your own network: ``refined = module(opt_v1, month, biome)``.

        Tensors go in by the order or the names of the input ports, in physical units, NaN = missing; ``output`` (None =
        the first that is no class) comes out, ``module.all(...)`` gives all by name, each as ``predict`` does.
        Gradients reach the inputs; with ``trainable`` also the parameters that the run trained. See
        `eozoo_core.task.module.RunModule`.
        """
        return self.task.module(self.run, output, trainable)

    def infer(self, source: str | Path, dest: str | Path) -> list[Path]:
        """Predict for a file or a folder and return the files written."""
        return self.task.infer(self.run, Path(source), Path(dest))

    def evaluate(self, split: str = "test") -> dict[str, dict[str, float]]:
        """Score the run: predictor -> metric -> value, simple baselines beside the model."""
        from eozoo_core.run.read_only import writable

        with writable(self.run) as (run, _):
            return self.task.score(run, split)

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.run.path)!r}, task={self.run.task!r}, outputs={self.outputs})"


def _names(kind: str, pattern: str) -> list[str]:
    return [name for name in Registry.discover().names(kind) if fnmatchcase(name, pattern)]
