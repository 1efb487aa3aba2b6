"""A trained run as one network, for ``eozoo export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.task import Graph

from eozoo_gedi_sparse.ensemble import combine, load_draws, member_runs
from eozoo_gedi_sparse.maps import map_names, variance_factor
from eozoo_gedi_sparse.regressor import missing

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.losses import SparseLoss
    from eozoo_gedi_sparse.settings import GediSettings


class Whole(torch.nn.Module):
    """All members from raw bands (B, C, H, W) to the maps of ``predict``, NaN where any band is missing."""

    def __init__(self, models: list[torch.nn.Module], loss: SparseLoss, factor: float):
        super().__init__()
        self.models, self._loss, self._factor = torch.nn.ModuleList(models), loss, factor

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return mean and standard deviations (B, H, W) in the order of ``map_names``."""
        predicted = [model(image) for model in self.models]
        trained = self._loss.trains_variance
        mean, aleatoric, epistemic = combine((m, self._loss.std(s) ** 2 if trained else None) for m, s in predicted)
        parts = [v * self._factor for v in (aleatoric,) if v is not None]
        parts += [epistemic * self._factor] if len(predicted) > 1 else []
        variances = [*parts, sum(parts)] if len(parts) == 2 else parts
        hidden = missing(image)
        return tuple(torch.where(hidden, torch.nan, v)[:, 0] for v in (mean, *(torch.sqrt(v) for v in variances)))


def make_graph(run: Run, settings: GediSettings, registry: Registry) -> Graph:
    """Return the run's members as one graph, for images of any size where the network takes any.

    Raises ZooError for draws by dropout: they are random passes through one network, not a graph.
    """
    draws, loss, _ = load_draws(run, settings, registry, settings.infer.draws, "infer")
    models = [draw.model.cpu() for draw in draws]
    if any(draw.dropout_seed is not None for draw in draws):
        raise ZooError(f"{run.path}: passes with dropout cannot be exported; add --set infer.draws.mc_passes=0")
    side, bands = settings.infer.window, models[0].input_mean.numel()
    noise = np.random.default_rng(0).normal(size=(1, bands, side, side)).astype("float32")
    image = noise * models[0].input_std.numpy() + models[0].input_mean.numpy()
    names = map_names(loss.trains_variance, len(draws))
    names_of = member_runs(run, settings)[0].info()["bands"]
    return Graph(
        Whole(models, loss, variance_factor(run, settings)[0]),
        {"image": image},
        names,
        axes={"image": ("batch", "", "height", "width")},
        about={"image": f"bands {', '.join(names_of)}, in this order and in the units of training; NaN = missing"},
    )
