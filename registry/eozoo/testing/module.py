"""The check of ``Task.module``, for tasks that write a system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eozoo.testing.equality import array_difference
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    import torch
    from eozoo_core.task import Arrays

_TOLERANCE = 1e-3  # of the largest value, as for a batch of another size


def module_is_predict(bench: Bench, folder: Path) -> None:
    """``module`` gives what ``predict`` gives, missing values too, also in a network that trains; gradients flow."""
    import torch

    if not bench.writes("system"):
        return
    # In single precision: a network that asks for gradients takes other kernels, which round bfloat16 differently.
    task, run = bench.open(bench.copy(bench.finished.path, folder), "infer.precision=fp32")
    module = task.module(run)
    torch.nn.ModuleList([module]).train()
    for what, batch in {"": bench.batch(), " where a sample is missing": _holed(bench.batch())}.items():
        expected, given = task.predict(run, batch), _tensors(batch, module)
        by_name, by_place = module.all(**given), module.all(*given.values())
        for found in (by_name, by_place):
            arrays = {name: values.detach().cpu().numpy() for name, values in found.items()}
            assert not (said := array_difference(expected, arrays, _TOLERANCE)), (
                f"module(){what} is not what predict() gives: {said}; one network computes both"
            )
        _backward(by_name, given, what)
    one = module(*given.values())
    assert one.requires_grad or not one.is_floating_point(), f"module() gives {module.output}, which has no gradient"
    trained = [name for name, p in module.named_parameters() if p.requires_grad or p.grad is not None]
    assert not trained, f"module() is not to be trained, and its {trained[0]} asks for a gradient"
    said = "module() leaves evaluation mode in a parent's train()"
    assert not any(part.training for part in module.modules()), said


def _tensors(batch: Arrays, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The arrays in the order of the inputs; numbers with fractions ask for a gradient."""
    import torch

    given = {port.role: torch.tensor(batch[port.role]) for port in module.inputs if port.role in batch}
    return {n: v.requires_grad_() if v.is_floating_point() else v for n, v in given.items()}


def _holed(batch: Arrays) -> Arrays:
    """The batch with the first sample of its first array of fractions missing."""
    name = next((name for name, values in batch.items() if values.dtype.kind == "f"), None)
    if name is not None:
        batch[name][0] = float("nan")
    return batch


def _backward(found: dict[str, torch.Tensor], given: dict[str, torch.Tensor], what: str) -> None:
    import torch

    smooth = [values for values in found.values() if values.requires_grad]
    assert smooth, "module() gives no output with a gradient: no torch.no_grad(), detach() or numpy in the system"
    torch.stack([torch.where(torch.isfinite(v), v, 0.0).square().sum() for v in smooth]).sum().backward()
    gradients = {name: values.grad for name, values in given.items() if values.grad is not None}
    wrong = next((name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()), None)
    assert wrong is None, f"module(){what}: the gradient of {wrong!r} is not finite; fill before the arithmetic"
    reached = any(bool(gradient.any()) for gradient in gradients.values())
    assert reached, f"module(){what}: no input gets a gradient; no torch.no_grad(), detach() or numpy in the system"
