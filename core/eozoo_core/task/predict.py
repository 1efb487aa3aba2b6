"""Trained weights ready to use: every draw of a run on one device, arrays in and arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.run.progress import print_message
from eozoo_core.task.build import rebuild
from eozoo_core.task.contract import Arrays, Contract
from eozoo_core.task.data import tensors
from eozoo_core.task.ensemble import best_hash, chosen_members, member_runs, with_dropout
from eozoo_core.task.load import Trained, load_trained
from eozoo_core.task.spread import combine, output_ports, present
from eozoo_core.task.survey import Fitted, Survey
from eozoo_core.task.system import System, Tensors
from eozoo_core.train.execution import crowded, pixels_of, samples_at_once
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.precision import precision_in_use, slow_precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port


@dataclass(frozen=True)
class Draws:
    """The draws of a run: members, or passes of members with dropout. ``survey``, ``folder``: of the first member."""

    systems: dict[str, System]
    survey: Any
    device: torch.device
    folder: Path


def load_system(task: Contract, run: Run, scope: str) -> tuple[System, Survey]:
    """Return best.pt as a system in evaluation mode on ``runtime.device``, every tensor matched, and its survey.

    ``scope``: "eval" or "infer", whose precision it computes in.
    """
    kept: list[Survey] = []

    def build(trained: Trained) -> System:
        kept.append(load_survey(task, trained))
        return rebuild(task, kept[0], trained)

    return load_trained(run, task.settings, build, scope)[0], kept[0]


def load_survey(task: Contract, trained: Trained) -> Survey:
    """Return the survey of a checkpoint. Raises ZooError where it has none, or one of another system."""
    try:
        return task.Survey.model_validate(trained.content["survey"])
    except (KeyError, ValueError) as error:
        raise ZooError(
            f"{trained.file}: what it knows of its training data cannot be read ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); train it again with this version"
        ) from None


def open_draws(task: Contract, run: Run, scope: str, every: bool = False) -> Draws:
    """Load every draw that ``settings.infer`` or ``settings.eval`` (``scope``) asks for, onto ``runtime.device``.

    ``every``: all members, whatever the settings ask for, without passes of dropout.
    """
    settings = task.settings
    which = None if every else getattr(getattr(settings, scope), "draws", None)
    runs, systems, first = member_runs(run, settings), {}, None
    members = chosen_members(settings, which)
    for i in members:
        member = type(task)(runs[i].settings, task.registry)
        system, survey = load_system(member, runs[i], scope)
        first = first or survey
        systems |= with_dropout(system, i, which.mc_passes if which else 0)
    device = torch.device(resolve_device(settings.runtime.device))
    line = slow_precision(precision_in_use(runs[members[0]], scope, device), device)
    if line and not settings.runtime.quiet:
        print_message(line)
    return Draws(systems, first, device, runs[members[0]].path)


def variance_factor(run: Run, task: Contract) -> tuple[float, str]:
    """Return the factor of all variances, and in words where it comes from."""
    if not getattr(task.settings.infer, "scale_variance", True):
        return 1.0, "off (infer.scale_variance)"
    fitted = load_fitted(run, task)
    if fitted.variance_factor is None:
        return 1.0, "not fitted (no variance, too few validation labels, or training has not ended with this best.pt)"
    return fitted.variance_factor, f"fitted on {fitted.labels} validation labels"


def load_fitted(run: Run, task: Contract) -> Fitted:
    """Return what was fitted after training; every default where nothing was, or best.pt is another one since."""
    found = task.Fitted.model_validate(run.info().get("fitted", {}))
    return found if found.best in ("", best_hash(run, task.settings)) else task.Fitted()


class Predictor:
    """All draws of a run as one function; ``quantities`` may be blended over windows, ``present`` shows them."""

    def __init__(self, task: Contract, run: Run):
        self._draws, self._check = open_draws(task, run, "infer"), task.check_inputs
        self._most = getattr(task.settings.infer, "batch_size", None)
        if (line := crowded(task.settings.infer, self._draws.device)) and not task.settings.runtime.quiet:
            print_message(line)
        self.factor, self.factor_source = variance_factor(run, task)
        first = next(iter(self._draws.systems.values()))
        self.inputs, self.declared, self.multiple = first.inputs, first.outputs, first.multiple
        self.names, self.survey, self.folder = list(self._draws.systems), self._draws.survey, self._draws.folder
        self.outputs = output_ports(self.declared, len(self.names))

    def __call__(self, batch: Arrays) -> Arrays:
        """Predict for arrays that share their first axis, or for one sample without it; see ``Task.predict``."""
        given = [port for port in self.inputs if port.role in batch or not port.optional]
        single = all(np.ndim(batch.get(port.role)) == len(port.axes.split()) - 1 for port in given)
        arrays = check_arrays({n: np.asanyarray(v)[None] for n, v in batch.items()} if single else batch, self.inputs)
        asked = self._in_parts(self._check(arrays))
        parts = [to_arrays(present(self.quantities(part), self.declared)) for part in asked]
        found = parts[0] if len(parts) == 1 else {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
        return {name: values[0] for name, values in found.items()} if single else found

    def at_once(self, pixels: int) -> int:
        """Return how many samples of ``pixels`` to predict at a time: ``infer.batch_size``, or what is fast here."""
        return self._most or samples_at_once(self._draws.device, pixels)

    def _in_parts(self, arrays: Arrays) -> Iterator[Arrays]:
        """Yield some samples at a time, see `at_once`: memory does not grow with what is asked for."""
        count, size = len(next(iter(arrays.values()))), self.at_once(pixels_of(arrays, self.inputs))
        for start in range(0, max(count, 1), size):
            yield {name: values[start : start + size] for name, values in arrays.items()}

    def quantities(self, arrays: Arrays, members: str = "") -> Tensors:
        """Return what may be averaged: means, variances, probabilities; see `spread.combine`.

        ``members``: an output of which every draw's own value is added, as "member 0" and so on.
        """
        each: Tensors = {}
        with torch.inference_mode():
            given = tensors(arrays, self._draws.device)

            def parts() -> Iterator[Tensors]:
                for name, draw in self._draws.systems.items():
                    found = draw.predict(given)
                    if members:
                        each[name] = found[members]
                    yield found

            return combine(parts(), self.declared, self.factor) | each


def check_arrays(batch: Arrays, ports: Sequence[Port], who: str = "predict") -> Arrays:
    """Return the arrays that ``ports`` ask for, in their types. Raises ZooError for one that is missing or misfits.

    ``who`` is told about it, for messages.
    """
    for name in batch:
        if name not in {port.role for port in ports}:
            raise ZooError(f"{who}: no array {name!r} is asked for.{did_you_mean(name, [p.role for p in ports])}")
    found: Arrays = {}
    sizes: dict[str, tuple[int, str]] = {}  # letter of an axis -> its size, and the array that set it
    for port in ports:
        if port.role not in batch and port.optional:
            continue
        if port.role not in batch:
            needed = ", ".join(p.role for p in ports if not p.optional)
            raise ZooError(f"{who}: the array {port} is missing; give all of {needed}")
        values, axes = _unmasked(batch[port.role]), port.axes.split()
        if values.dtype.kind not in "fiub":
            raise ZooError(f"{who}: {port.role} holds {values.dtype}, not numbers")
        if port.dtype.startswith("int") and values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
            raise ZooError(f"{who}: {port.role} holds whole numbers, got {values.dtype} with fractions or NaN")
        if values.ndim != len(axes):
            raise ZooError(f"{who}: {port.role} has {values.ndim} axes {values.shape}, not {len(axes)}: {port.axes}")
        if 0 in [size for axis, size in zip(axes, values.shape, strict=True) if axis != "B"]:
            raise ZooError(f"{who}: {port.role} is empty, {values.shape}")
        for axis, size in zip(axes, values.shape, strict=True):
            known = (int(axis), "the network") if axis.isdigit() else sizes.setdefault(axis, (size, port.role))
            if size != known[0]:
                raise ZooError(f"{who}: axis {axis} of {port.role} is {size}, of {known[1]} {known[0]}")
            if axis == "C" and port.bands and size != len(port.bands):
                names = ", ".join(port.bands)
                raise ZooError(f"{who}: {port.role} has {size} bands, the run needs {len(port.bands)}: {names}")
        found[port.role] = values.astype(port.dtype, copy=False)
    for port in ports:
        if port.role not in found:
            shape = [int(axis) if axis.isdigit() else sizes[axis][0] for axis in port.axes.split()]
            found[port.role] = np.full(shape, np.nan, port.dtype)
    return found


def _unmasked(values: Any) -> np.ndarray:
    """Return an array; NaN where a masked array hides values, as ``rasterio.read(masked=True)`` gives them."""
    if not isinstance(values, np.ma.MaskedArray) or not np.ma.is_masked(values):
        return np.asarray(values)
    return values.astype(np.result_type(values.dtype, np.float32)).filled(np.nan)


def to_arrays(found: Tensors) -> Arrays:
    """Return float32 arrays on the CPU."""
    return {name: values.float().cpu().numpy() for name, values in found.items()}
