"""A trained run as one network for ``eozoo export``: the same ``predict`` and ``present`` as everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.run.directory import Run
from eozoo_core.task.contract import Contract
from eozoo_core.task.predict import open_draws, variance_factor
from eozoo_core.task.results import Graph
from eozoo_core.task.spread import combine, output_ports, present
from eozoo_core.task.system import System
from eozoo_core.train.execution import PLAIN, lay_out

if TYPE_CHECKING:
    from eozoo_core.spec import Port


_WORDS = {"B": "batch", "H": "height", "W": "width", "T": "dates"}  # axes of any size


class Whole(torch.nn.Module):
    """All members from physical arrays to outputs, in the order of ``output_ports``."""

    def __init__(self, systems: list[System], factor: float):
        super().__init__()
        self.systems, self._factor = torch.nn.ModuleList(systems), factor
        self._names = [port.role for port in systems[0].inputs]
        self._ports = systems[0].outputs

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take the inputs in the order of their ports."""
        given = dict(zip(self._names, arrays, strict=True))
        found = combine((system.predict(given) for system in self.systems), self._ports, self._factor)
        return tuple(present(found, self._ports).values())


def make_graph(task: Contract, run: Run) -> Graph:
    """Return the run as one torch module on the CPU; see ``Task.graph``. Raises ZooError for passes with dropout."""
    which = getattr(task.settings.infer, "draws", None)
    if which is not None and which.mc_passes:
        raise ZooError(f"{run.path}: passes with dropout cannot be exported; add --set infer.draws.mc_passes=0")
    runtime = run.settings.runtime.model_copy(update={"device": "cpu"})
    settings = run.settings.model_copy(update={"runtime": runtime})
    draws = open_draws(type(task)(settings, task.registry), Run(run.path, run.task, settings), "infer")
    systems = list(draws.systems.values())
    for system in systems:
        lay_out(system, PLAIN)  # what a file says of strides is for its readers, whatever this machine likes
    fixed = {axis for system in systems for axis in system.simplify(getattr(task.settings.infer, "window", 32))}
    inputs, outputs = systems[0].inputs, output_ports(systems[0].outputs, len(systems))
    return Graph(
        Whole(systems, variance_factor(run, task)[0]),
        task.example(inputs),
        tuple(port.role for port in outputs),
        axes={port.role: axes_of(port, fixed) for port in inputs},
        about={p.role: about(p) for p in (*inputs, *outputs) if p.bands or p.legend or (p in inputs and p.unit)},
    )


def example(port: Port, side: int) -> np.ndarray:
    """Return plausible values of the right shape, from the statistics of the bands."""
    samples = 1 if "H" in port.axes.split() else 2  # where a hole takes the whole sample, another one stays
    sizes = {"B": samples, "C": max(1, len(port.bands)), "H": side, "W": side}
    shape = [int(axis) if axis.isdigit() else sizes[axis] for axis in port.axes.split()]
    noise = np.random.default_rng(0).normal(size=shape).astype("float32")
    if port.mean:
        form = (1, -1) + (1,) * (len(shape) - 2)
        noise = noise * np.reshape(port.std, form) + np.reshape(port.mean, form)
    return noise.astype(port.dtype)


def axes_of(port: Port, fixed: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a word for each axis whose size is free, "" for the others and those that are ``fixed``."""
    words = {axis: word for axis, word in _WORDS.items() if axis not in fixed}
    return tuple(words.get(axis, "") for axis in port.axes.split())


def about(port: Port) -> str:
    """Say what a stranger must know of an array: order of bands, classes, unit."""
    bands = f"bands {', '.join(port.described)}, in this order" if port.bands else ""
    legend = ", ".join(f"{code} {name}" for code, name in port.legend)
    return "; ".join(part for part in (bands, legend, port.unit and f"unit {port.unit}", "NaN = missing") if part)
