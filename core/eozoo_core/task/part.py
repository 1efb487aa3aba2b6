"""Parts of trained runs inside another system: what of their weights fits, what stays as it is, whole runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from eozoo_core.errors import ZooError


def matched(module: nn.Module, state: dict[str, torch.Tensor], new: tuple[str, ...], said: str) -> tuple[set[str], str]:
    """Load ``state`` into ``module``, but for what begins with one of ``new``; return the names loaded, and a receipt.

    ``said``: file and part, for messages. Raises ZooError where a tensor that is not new is missing, too many or of
    another shape, and for a name in ``new`` that neither has; the module is then unchanged.
    """
    own = module.state_dict()
    if strange := next((name for name in new if not any(key.startswith(name) for key in (*own, *state))), None):
        raise ZooError(f"{said}: no tensor begins with {strange!r} (options.new); the network has {_some(own)}")
    begins_new = {name for name in {*own, *state} if new and name.startswith(new)}
    wanted = {name for name in own if name not in begins_new}
    found = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in own and name not in begins_new],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
            for name in wanted
            if name in state and state[name].shape != own[name].shape
        ],
    }
    if problems := [f"{len(names)} {kind} ({_some(sorted(names))})" for kind, names in found.items() if names]:
        names = sorted(one.split()[0] for names in found.values() for one in names)
        begin = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
        raise ZooError(
            f"{said}: {'; '.join(problems)}; give the options that it was trained with, or let these begin at random: "
            f"options.new=[{_some(begin)}]"
        )
    module.load_state_dict({**own, **{name: state[name] for name in wanted}}, strict=True)
    values = sum(own[name].numel() for name in wanted)
    left = [name for name in own if name not in wanted]
    rest_of = f"; at random: {', '.join(left)}" if left else ""
    return wanted, f"{said}, {len(wanted)} of {len(own)} tensors ({values:,} values) loaded{rest_of}"


def rest(module: nn.Module, loaded: Iterable[str]) -> nn.Module:
    """Freeze the tensors ``loaded`` of ``module``; what holds none of the others stays in evaluation mode. In place."""
    loaded = set(loaded)
    for name, parameter in module.named_parameters():
        if name in loaded:
            parameter.requires_grad_(False)
    others = {name.rpartition(".")[0] for name in module.state_dict() if name not in loaded}
    module.resting = tuple(name for name, _ in module.named_modules() if name not in others)
    cls = type(module)
    module.__class__ = type(cls.__name__, (_Resting, cls), {"__module__": cls.__module__})
    return module.train(module.training)


class _Resting(nn.Module):
    """A network parts of which, ``resting``, keep their batch statistics and drop nothing while the rest trains."""

    resting: tuple[str, ...]

    def train(self, mode: bool = True) -> _Resting:
        """Set the mode of what does not rest."""
        super().train(mode)
        for name in self.resting:
            self.get_submodule(name).training = False
        return self


class PartOfRun(nn.Module):
    """A whole run as a model: its inputs by position, in physical units; its output ``output`` as a tensor.

    ``system``: plain, of the run. The system around it stores the frozen tensors of that with its own
    (`System.frozen`), and adapts it (`System.adapt`): then ``load``, where given, fills in what the run trained.
    """

    receipt: str = ""

    def __init__(self, system: Any, output: str, freeze: bool, load: Callable[[], Any] | None = None):
        super().__init__()
        self.system, self.output, self.freeze, self._load = system, output, freeze, load
        self._frozen = system.frozen()
        system.frozen = set  # what its run keeps once is the care of the system around this one

    def frozen(self) -> set[str]:
        """Names of the tensors that the run itself keeps once; what ``freeze`` adds is not among them."""
        return {f"system.{name}" for name in self._frozen}

    def adapt(self) -> None:
        """Make of the plain system the one that was trained, with its weights."""
        self.system.adapt()
        del self.system.frozen  # checkpoints of its run do not hold them
        self._frozen = self.system.frozen()
        if self._load is not None:
            self._load()
            self._load = None
        self.system.frozen = set
        if self.freeze:
            rest(self, nn.Module.state_dict(self))

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        """Take the run's inputs in their order; NaN = missing, in and out."""
        given = dict(zip((port.role for port in self.system.inputs), arrays, strict=True))
        return self.system.predict(given)[self.output]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
