"""A trained run as a part of another network: tensors in and out, with gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.run.directory import Run
from eozoo_core.task.contract import Contract
from eozoo_core.task.graph import Whole
from eozoo_core.task.predict import check_arrays, open_draws, variance_factor
from eozoo_core.task.spread import output_ports
from eozoo_core.task.system import Tensors

if TYPE_CHECKING:
    from eozoo_core.spec import Port


class RunModule(torch.nn.Module):
    """What ``predict`` does, on tensors, differentiable with respect to its inputs: a run as a layer.

    ``module(a, b)`` or ``module(name=a)`` takes the arrays of ``inputs``, in that order or by role, in their units, all
    with a batch axis, NaN = missing, optional ones may be left out. It returns the tensor ``output``; ``all`` returns
    every output by name. Of an ensemble that is what its members give together: means and probabilities are averaged,
    deviations are those of the mixture. Outputs are NaN where ``predict`` gives NaN, and no gradient flows there.

    Not ``trainable``: no parameter asks for a gradient, and the module stays in evaluation mode inside a network that
    trains (no dropout, batch norm uses what it learned). ``trainable``: parameters that the run trained ask for
    gradients again (a frozen base stays frozen), and ``train()`` is obeyed. The state dict holds everything, the
    frozen base too. Names, axes and sizes are checked at every call (ZooError); values are not, to wait for no device.
    """

    def __init__(self, whole: Whole, output: str, trainable: bool):
        super().__init__()
        self.whole, self.output, self.trainable = whole, output, trainable
        self.inputs = whole.systems[0].inputs
        self.outputs = output_ports(whole.systems[0].outputs, len(whole.systems))
        if not trainable:
            self.requires_grad_(False)
        self.train(False)

    def forward(self, *arrays: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Return the tensor of ``output``."""
        return self.all(*arrays, **named)[self.output]

    def all(self, *arrays: torch.Tensor, **named: torch.Tensor) -> Tensors:
        """Return every output by name."""
        given = self._given(arrays, named)
        return dict(zip([port.role for port in self.outputs], self.whole(*given), strict=True))

    def train(self, mode: bool = True) -> RunModule:
        """Set the training mode where the run may be trained."""
        return super().train(mode and self.trainable)

    def _given(self, arrays: tuple[torch.Tensor, ...], named: Tensors) -> list[torch.Tensor]:
        """Return the inputs in the order of their ports and in their types; NaN for those left out."""
        roles = [port.role for port in self.inputs]
        if len(arrays) > len(roles):
            raise ZooError(f"module: got {len(arrays)} arrays, takes {len(roles)}: {', '.join(roles)}")
        both = dict(zip(roles, arrays, strict=False))
        if twice := next((name for name in named if name in both), None):
            raise ZooError(f"module: {twice!r} is given twice, by its place and by its name")
        found = {name: values for name, values in (both | named).items() if values is not None}
        for name, values in found.items():
            if not isinstance(values, torch.Tensor):
                raise ZooError(f"module: {name} is a {type(values).__name__}, not a tensor; predict takes arrays")
        stand_ins = {name: self._stand_in(name, values) for name, values in found.items()}
        shapes = check_arrays(stand_ins, self.inputs, "module")
        some = next(iter(found.values()))
        return [
            self._typed(port, found[port.role])
            if port.role in found
            else torch.full(shapes[port.role].shape, torch.nan, device=some.device)
            for port in self.inputs
        ]

    def _stand_in(self, name: str, values: torch.Tensor) -> np.ndarray:
        """An array of the same shape without memory, in the type of its port."""
        port = next((port for port in self.inputs if port.role == name), None)
        return np.broadcast_to(np.zeros((), port.dtype if port else "float32"), tuple(values.shape))

    @staticmethod
    def _typed(port: Port, values: torch.Tensor) -> torch.Tensor:
        if port.dtype.startswith("int") and values.is_floating_point():
            raise ZooError(f"module: {port.role} holds whole numbers, got {values.dtype}; give torch.{port.dtype}")
        return values.to(getattr(torch, port.dtype))


def make_module(task: Contract, run: Run, output: str | None, trainable: bool) -> RunModule:
    """Return best.pt of ``run`` as a module on ``runtime.device``; see ``Task.module``."""
    which = getattr(task.settings.infer, "draws", None)
    if which is not None and which.mc_passes:
        raise ZooError(f"{run.path}: passes with dropout are no module; add infer.draws.mc_passes=0")
    systems = list(open_draws(task, run, "infer").systems.values())
    for system in systems:
        system.frozen = set  # the state dict of a part is whole: nobody else keeps its base
    ports = output_ports(systems[0].outputs, len(systems))
    names = [port.role for port in sorted(ports, key=lambda port: port.spread == "class")]  # a code has no gradient
    if output is not None and output not in names:
        raise ZooError(f"{run.path}: has no output {output!r}.{did_you_mean(output, names)}")
    return RunModule(Whole(systems, variance_factor(run, task)[0]), output or names[0], trainable)
