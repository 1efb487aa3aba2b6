"""How the draws of an ensemble become one prediction, and how uncertain it is.

A draw is a member, or a pass of a member with dropout on. ``combine`` gives quantities that may be averaged, over
draws and over overlapping windows: means, variances, probabilities. ``present`` turns these into the outputs that a
user sees: standard deviations and classes. The variance of a mixture is the mean of the variances (aleatoric: the noise
that the data have) plus the variance of the means (epistemic: what the members do not agree about), Lakshminarayanan et
al. 2017, arXiv:1612.01474.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from eozoo_core.errors import ZooError
from eozoo_core.spec import Port
from eozoo_core.task.system import Tensors

ALEATORIC, EPISTEMIC = "aleatoric", "epistemic"
_AVERAGED = ("moments", "probabilities")  # of these the variance between draws is told too


def output_ports(ports: Sequence[Port], draws: int) -> tuple[Port, ...]:
    """Return the outputs of ``present``: those declared and, with several draws, the parts of every deviation.

    An output that does not say how draws combine (features of a network) is left out where there are several.
    """
    found: list[Port] = []
    for port in ports if draws == 1 else _combinable(ports) or ports:
        if port.spread == "deviation" and draws > 1:
            found += [replace(port, role=f"{part}_{port.role}") for part in (ALEATORIC, EPISTEMIC)]
        found.append(port)
        if port.spread in _AVERAGED and draws > 1 and _deviation(ports, port) is None:
            found.append(replace(port, role=f"{EPISTEMIC}_{_deviation_name(port)}", spread="deviation", of=port.role))
    return tuple(found)


class Moments:
    """Mean and variances of draws, one at a time: arrays or tensors of one shape.

    Running updates (Welford 1962) keep the variance of close means from cancelling. One draw comes back as it is, with
    an epistemic variance of 0. aleatoric: None where the draws gave no variance.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.aleatoric, self._spread = 0, None, None, None

    def add(self, value: Any, variance: Any | None = None) -> None:
        """Take the mean of a draw, and its own variance where it has one."""
        self.count += 1
        if self.count == 1:
            self.mean, self._spread, self.aleatoric = value, 0 * value, variance
            return
        step = value - self.mean
        self.mean = self.mean + step / self.count
        self._spread = self._spread + step * (value - self.mean)
        if variance is not None:
            self.aleatoric = self.aleatoric + (variance - self.aleatoric) / self.count

    @property
    def epistemic(self) -> Any:
        """Population variance of the means."""
        return self._spread / self.count


def moments(parts: Iterable[tuple[Any, Any | None]]) -> tuple[Any, Any | None, Any]:
    """Return mean, aleatoric and epistemic variance of draws that each gave (mean, variance)."""
    found = Moments()
    for value, variance in parts:
        found.add(value, variance)
    if not found.count:
        raise ValueError("nothing to combine")
    return found.mean, found.aleatoric, found.epistemic


def combine(parts: Iterable[Tensors], ports: Sequence[Port], factor: float = 1.0) -> Tensors:
    """Average what every draw gave, one draw in memory at a time; ``factor`` multiplies all variances.

    Outputs that do not say how draws combine are left out where there are several; raises ZooError where none is left.
    """
    averaged = [port for port in ports if port.spread not in ("deviation", "class")]
    found = {port.role: Moments() for port in averaged}
    for number, values in enumerate(parts):
        if number and not _combinable(averaged):
            raise ZooError(f"output {averaged[0].role!r} does not say how members combine; predict with one draw")
        averaged = _combinable(averaged) if number else averaged
        for port in averaged:
            deviation = _deviation(ports, port)
            found[port.role].add(values[port.role], None if deviation is None else values[deviation.role] ** 2)
    quantities: Tensors = {}
    for port in averaged:
        one = found[port.role]
        if not one.count:
            raise ValueError("nothing to combine")
        quantities[port.role] = one.mean
        if one.aleatoric is not None:
            quantities[f"{port.role}.{ALEATORIC}"] = one.aleatoric * factor
        if port.spread in _AVERAGED and one.count > 1:
            quantities[f"{port.role}.{EPISTEMIC}"] = one.epistemic * factor
    return quantities


def present(quantities: Tensors, ports: Sequence[Port]) -> Tensors:
    """Turn what ``combine`` gave, or a blend of it over windows, into outputs in the order of ``output_ports``."""
    found: Tensors = {}
    for port in ports:
        if port.spread == "class":
            found[port.role] = _likeliest(quantities[port.of], next(p for p in ports if p.role == port.of), port)
        elif port.spread == "deviation":
            parts = {n: quantities[f"{port.of}.{n}"] for n in (ALEATORIC, EPISTEMIC) if f"{port.of}.{n}" in quantities}
            if len(parts) > 1:
                found |= {f"{name}_{port.role}": _root(variance) for name, variance in parts.items()}
            found[port.role] = _root(sum(parts.values()))
        elif port.role in quantities or port.spread:
            found[port.role] = quantities[port.role]
            between = quantities.get(f"{port.role}.{EPISTEMIC}")
            if between is not None and _deviation(ports, port) is None:
                found[f"{EPISTEMIC}_{_deviation_name(port)}"] = _root(between)
    return found


def _combinable(ports: Sequence[Port]) -> list[Port]:
    return [port for port in ports if port.spread]


def _deviation(ports: Sequence[Port], port: Port) -> Port | None:
    return next((p for p in ports if p.spread == "deviation" and p.of == port.role), None)


def _deviation_name(port: Port) -> str:
    return "std" if port.role == "mean" else f"{port.role}_std"


def _root(variance: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(torch.clamp(variance, min=0))  # NaN stays NaN


def _likeliest(probabilities: torch.Tensor, of: Port, port: Port) -> torch.Tensor:
    """Code of the likeliest class, float32, NaN where the probabilities are; the class axis goes or becomes 1."""
    axis = of.axes.split().index(next(name for name in of.axes.split() if name not in ("B", "H", "W")))
    keep = len(port.axes.split()) == len(of.axes.split())
    best = torch.nan_to_num(probabilities).argmax(dim=axis, keepdim=keep)
    codes = torch.tensor([float(code) for code, _ in port.legend] or range(probabilities.shape[axis]))
    codes = codes.to(probabilities.device, torch.float32)
    missing = torch.isnan(probabilities).any(dim=axis, keepdim=keep)
    return torch.where(missing, torch.nan, codes[best])
