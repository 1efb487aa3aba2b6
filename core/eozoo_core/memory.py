"""How much memory a training step will take, without taking it: shapes are followed on torch's meta device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from eozoo_core.settings import TrainSettings


def predict_memory(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], train: TrainSettings) -> int:
    """Return the bytes of weights, gradients, optimiser state and saved activations of one forward and backward.

    ``inputs``: example arguments of the right shapes on any device (their values are not read). Counted are tensors
    that autograd keeps, each storage once; workspace of the libraries and fragmentation are not, so a real step takes
    somewhat more. Under mixed precision the activations count half.
    """
    weights = sum(_bytes(p) for p in model.parameters()) + sum(_bytes(b) for b in model.buffers())
    trained = sum(_bytes(p) for p in model.parameters() if p.requires_grad)
    states = {"adam": 2, "adamw": 2, "sgd": 1 if train.momentum else 0}[train.optimizer]
    activations = saved_activations(model, inputs)
    if train.precision != "fp32":
        activations //= 2
    return weights + trained * (1 + states) + activations


def saved_activations(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    """Return the bytes that autograd saves for backward in one forward pass, and those of its outputs."""
    import torch

    meta = copy.deepcopy(model).to("meta")
    parameters = {_storage(p) for p in [*meta.parameters(), *meta.buffers()]}
    saved: dict[int, tuple[int, Any]] = {}  # keeps the storages alive, so that none is counted under another's id

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _storage(tensor) not in parameters:
            saved[_storage(tensor)] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = meta(*(x.to("meta") for x in inputs))
    for output in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
        if output is not None:
            keep(output)
    return sum(size for size, _ in saved.values())


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
