"""Parts that may come from other plugins: the loss, and a network for maps in place of Clay and its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core import ZooError
from torch import Tensor, nn

if TYPE_CHECKING:
    from eozoo_core.settings import Named
    from eozoo_core.task import Registry

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def squared_error() -> SquaredError:
    """Squared error over values that have a label."""
    return SquaredError()


class SquaredError:
    """(mean, target) of one shape, NaN in the target = no label -> sum over the labelled, and their number."""

    def __call__(self, mean: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sum, count)."""
        labelled = torch.isfinite(target)
        error = torch.where(labelled, mean - torch.where(labelled, target, 0), 0)
        return error.square().sum(), labelled.sum()


def make_loss(named: Named, registry: Registry | None) -> Loss:
    """Build ``model.loss``. It sees z-scores of temperature, each sample as a map of one pixel (B, 1, 1, 1)."""
    return _create("loss", named, {}, registry)


def make_network(named: Named, in_channels: int, registry: Registry | None, fresh: bool = True) -> nn.Module:
    """Build ``model.network`` for so many planes. Raises ZooError for an option that follows from the data.

    ``fresh`` False: weights will be loaded over it, so published ones are not needed any more.
    """
    for option in ("in_channels", "outputs"):
        if option in named.options:
            raise ZooError(f"model.network.options.{option}: follows from the data; leave it out")
    options = {"in_channels": in_channels, "outputs": 1}
    if not fresh and "pretrained" in named.options:
        options["pretrained"] = False
    return _create("model", named, options, registry)


def loss_sums(loss: Loss, z: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Sum of the loss of z-scores ``z (B,)`` against ``y (B,)``, and the number of labels; arrays or tensors."""
    z, y = (torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in (z, y))
    return loss(z.reshape(-1, 1, 1, 1), y.reshape(-1, 1, 1, 1))


def _create(kind: str, named: Named, fixed: dict[str, Any], registry: Registry | None) -> Any:
    if registry is not None:
        return registry.create(kind, named.name, {**named.options, **fixed})
    if (kind, named.name) == ("loss", "ta_squared_error") and not named.options:
        return squared_error()
    raise ZooError(f"{kind} {named.name!r}: no registry was given to find it in")
