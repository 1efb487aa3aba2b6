"""A network for images with the scaling that it was trained with: bands in their own units go in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from eozoo_core.task.contract import Contract
from eozoo_core.task.survey import Survey
from eozoo_core.task.system import System, Tensors

IMAGE = ("image",)


def image_network(task: Contract, survey: Survey, outputs: int, fresh: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the registered network that ``model`` of the settings names, and return it with what it takes.

    That is "image" (B, C, H, W), standardised and without gaps; a network that declares them gets, in its order,
    "values" (the same bands in their own units, 0 where missing) and "missing" (1 = missing, else 0), and the option
    ``bands``: name and unit of each, none before any image was seen.
    """
    part, sizes = task.settings.model, {"in_channels": len(survey.bands), "outputs": outputs}
    takes = tuple(port.role for port in task.registry.chosen(task.slots["model"], part).takes)
    if "values" in takes and survey.bands[0].count:
        sizes["bands"] = tuple((band.name, band.unit) for band in survey.bands)
    return task.build("model", part, sizes, fresh), takes


class ImageSystem(System):
    """Standardise the bands of "image" (B, C, H, W), fill what is missing with the training mean, run a network.

    ``raw`` gives "output" (B, K, H, W): the network's times ``scale`` plus ``shift``, one number per channel, so that
    training can start at the mean label. A standard deviation of 0 counts as 1. ``network.multiple``, where it has
    one, is that of the system. ``takes``: what the network takes, see `image_network`. A subclass writes ``finish``.
    """

    def __init__(
        self,
        network: nn.Module,
        survey: Survey,
        shift: Sequence[float],
        scale: Sequence[float],
        takes: Sequence[str] = IMAGE,
    ):
        super().__init__()
        self.network, self.multiple, self.takes = network, int(getattr(network, "multiple", 0)), tuple(takes)
        self.receipt = str(getattr(network, "receipt", None) or "")
        for name, (mean, std) in {"input": (survey.mean, survey.std), "output": (shift, scale)}.items():
            self.register_buffer(f"{name}_mean", torch.tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
            spread = torch.tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(f"{name}_std", torch.where(spread == 0, 1.0, spread))

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "image" standardised and without gaps, and what else the network takes."""
        return staged_image(arrays, self.input_mean, self.input_std, self.takes)

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output" (B, K, H, W), finite everywhere."""
        output = self.network(*(staged[role] for role in self.takes)).float()
        return {"output": output * self.output_std + self.output_mean}


class ClassSystem(ImageSystem):
    """Bands (B, C, H, W) in their own units -> "probability" (B, K, H, W) of each class."""

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn logits into probabilities; core chooses the likeliest class."""
        return {"probability": raw["output"].softmax(dim=1)}


def staged_image(arrays: Tensors, mean: torch.Tensor, std: torch.Tensor, takes: Sequence[str]) -> Tensors:
    """Return "image" (B, C, H, W) as `standardised` does, and "values" and "missing" where a network takes them."""
    staged = {"image": standardised(arrays, mean, std)}
    if takes == IMAGE:
        return staged
    values = arrays["image"].float()
    there = torch.isfinite(values)
    if "jitter" in arrays:
        values = values + arrays["jitter"] * std
    return staged | {"values": torch.where(there, values, 0.0), "missing": (~there).float()}


def standardised(arrays: Tensors, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Return "image" (B, C, H, W) standardised, 0 where it is missing, with the "jitter" of training where it is not.

    mean, std: broadcast against it.
    """
    scaled = (arrays["image"].float() - mean) / std
    if "jitter" in arrays:
        scaled = scaled + arrays["jitter"]
    return scaled.nan_to_num(0.0, 0.0, 0.0)  # a third of isfinite and where
