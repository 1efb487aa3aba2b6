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

import torch

from eozoo_core.errors import ZooError
from eozoo_core.spec import Port
from eozoo_core.task.system import Tensors

ALEATORIC, EPISTEMIC = "aleatoric", "epistemic"


def output_ports(ports: Sequence[Port], draws: int) -> tuple[Port, ...]:
    """Return the outputs of ``present``: those declared and, with several draws, the parts of every deviation."""
    found: list[Port] = []
    for port in ports:
        if port.spread == "deviation" and draws > 1:
            found += [replace(port, role=f"{part}_{port.role}") for part in (ALEATORIC, EPISTEMIC)]
        found.append(port)
        if port.spread == "moments" and draws > 1 and _deviation(ports, port) is None:
            found.append(replace(port, role=f"{EPISTEMIC}_{_deviation_name(port)}", spread="deviation", of=port.role))
    return tuple(found)


def combine(parts: Iterable[Tensors], ports: Sequence[Port], factor: float = 1.0) -> Tensors:
    """Average what every draw gave, one draw in memory at a time; ``factor`` multiplies all variances.

    Running updates (Welford 1962) keep the variance of close means from cancelling. One draw comes back as it is.
    Raises ZooError where there are several draws and an output does not say how they combine.
    """
    mean: Tensors = {}
    spread: Tensors = {}
    aleatoric: Tensors = {}
    count = 0
    for found in parts:
        count += 1
        for port in ports:
            if port.spread in ("deviation", "class"):
                continue
            if count > 1 and not port.spread:
                raise ZooError(f"output {port.role!r} does not say how members combine; predict with one draw")
            value, deviation = found[port.role], _deviation(ports, port)
            variance = None if deviation is None else found[deviation.role] ** 2
            if count == 1:
                mean[port.role], spread[port.role] = value, 0 * value
                if variance is not None:
                    aleatoric[port.role] = variance
                continue
            step = value - mean[port.role]
            mean[port.role] = mean[port.role] + step / count
            spread[port.role] = spread[port.role] + step * (value - mean[port.role])
            if variance is not None:
                aleatoric[port.role] = aleatoric[port.role] + (variance - aleatoric[port.role]) / count
    if not count:
        raise ValueError("nothing to combine")
    quantities: Tensors = {}
    for port in ports:
        if port.role not in mean:
            continue
        quantities[port.role] = mean[port.role]
        if port.role in aleatoric:
            quantities[f"{port.role}.{ALEATORIC}"] = aleatoric[port.role] * factor
        if port.spread == "moments" and count > 1:
            quantities[f"{port.role}.{EPISTEMIC}"] = spread[port.role] / count * factor
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
        else:
            found[port.role] = quantities[port.role]
            between = quantities.get(f"{port.role}.{EPISTEMIC}")
            if between is not None and _deviation(ports, port) is None:
                found[f"{EPISTEMIC}_{_deviation_name(port)}"] = _root(between)
    return found


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
