"""An ensemble of networks in one run: members in folders ``member_0``, ``member_1`` ..., each a run of its own.

Member 0 is the network that the same settings with one member would train. Every draw (a member, or a pass of a member
with dropout on) gives a mean and a variance per pixel; ``combine`` turns them into the mean of the means, the mean of
the variances (aleatoric: the noise that the data have) and the population variance of the means (epistemic: what the
networks do not agree about); their sum is the variance of the mixture (Lakshminarayanan et al. 2017, arXiv:1612.01474).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.errors import ZooError
from eozoo_core.run.directory import Run
from eozoo_core.task.load import Trained, load_trained

from eozoo_gedi_sparse.losses import SparseLoss
from eozoo_gedi_sparse.regressor import SparseRegressor
from eozoo_gedi_sparse.training import make_loss, make_network

if TYPE_CHECKING:
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.settings import DrawSettings, GediSettings

SEED_STEP = 1000  # members of runs with neighbouring seeds must not be the same networks


@dataclass(frozen=True)
class Draw:
    """One way to predict: a member, or with ``dropout_seed`` a member with these channels dropped in every window."""

    name: str
    model: SparseRegressor
    dropout_seed: int | None = None

    def __call__(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Predict as ``SparseRegressor``: bands (B, C, H, W) -> mean, raw log-scale."""
        if self.dropout_seed is None:
            return self.model(image)
        with _fixed_dropout(self.model, self.dropout_seed):
            return self.model(image)


def member_settings(settings: GediSettings, number: int) -> GediSettings:
    """Settings of the run of one member: a seed of its own, and one network."""
    train = settings.train.model_copy(update={"seed": settings.train.seed + SEED_STEP * number, "members": 1})
    return settings.model_copy(update={"train": train})


def member_runs(run: Run, settings: GediSettings) -> list[Run]:
    """Runs of all members: the run itself where it has one. Opens nothing."""
    if settings.train.members == 1:
        return [run]
    names = [f"member_{i}" for i in range(settings.train.members)]
    return [Run(run.path / name, run.task, member_settings(settings, i)) for i, name in enumerate(names)]


def chosen_members(settings: GediSettings, which: DrawSettings) -> tuple[int, ...]:
    """Numbers of the members that predict. Raises ZooError for one that there is not."""
    known = range(settings.train.members)
    chosen = tuple(known) if which.members is None else which.members
    strange = next((i for i in chosen if i not in known), None)
    if strange is not None or not chosen or len(set(chosen)) < len(chosen):
        raise ZooError(f"members {list(chosen)}: choose each once, from 0 to {settings.train.members - 1}")
    return chosen


def draw_count(settings: GediSettings, which: DrawSettings) -> int:
    """How many draws there will be; with one there is no epistemic variance."""
    return len(chosen_members(settings, which)) * max(1, which.mc_passes)


def load_model(
    run: Run, settings: GediSettings, registry: Registry, scope: str
) -> tuple[SparseRegressor, SparseLoss, torch.device]:
    """Load best.pt of one network, every tensor matched, in evaluation mode onto ``runtime.device``.

    ``scope``: "eval" or "infer", whose precision it computes in.
    """
    loss = make_loss(settings, registry)

    def build(trained: Trained[GediSettings]) -> SparseRegressor:
        mean = trained.state.get("input_mean")
        bands = 1 if mean is None else mean.numel()
        network = make_network(trained.settings, registry, loss, bands, fresh=False)
        return SparseRegressor(network, [0.0] * bands, [1.0] * bands, scale_power=loss.scale_power)

    model, device = load_trained(run, settings, build, scope)
    return model, loss, device


def load_draws(
    run: Run, settings: GediSettings, registry: Registry, which: DrawSettings, scope: str = "eval"
) -> tuple[list[Draw], SparseLoss, torch.device]:
    """Load every draw that ``which`` asks for, in the precision of ``scope``: "eval" or "infer".

    Raises ZooError for Monte-Carlo passes without dropout.
    """
    runs, draws = member_runs(run, settings), []
    for i in chosen_members(settings, which):
        model, loss, device = load_model(runs[i], settings, registry, scope)
        if which.mc_passes == 0:
            draws.append(Draw(f"member {i}", model))
            continue
        if not any(layer.p > 0 for layer in _dropouts(model)):
            raise ZooError("mc_passes needs a network with dropout; train with model.options.dropout above 0")
        draws += [Draw(f"member {i} pass {k}", model, dropout_seed=k) for k in range(which.mc_passes)]
    return draws, loss, device


def combine(parts: Iterable[tuple[Any, Any | None]]) -> tuple[Any, Any | None, Any]:
    """Mean and variances (aleatoric None where there is none, epistemic) of draws that each gave (mean, variance).

    Arrays or tensors of one shape; one draw at a time is in memory. Running updates (Welford 1962) keep the variance
    of close means from cancelling. One draw comes back as it is, with epistemic 0.
    """
    mean = spread = aleatoric = None
    count = 0
    for value, variance in parts:
        count += 1
        if mean is None:
            mean, spread, aleatoric = value, 0 * value, variance
            continue
        step = value - mean
        mean = mean + step / count
        spread = spread + step * (value - mean)
        if variance is not None:
            aleatoric = aleatoric + (variance - aleatoric) / count
    if mean is None:
        raise ValueError("nothing to combine")
    return mean, aleatoric, spread / count


def predict_moments(
    draws: list[Draw], loss: SparseLoss, image: torch.Tensor, keep: list[torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Mean (unit), aleatoric and epistemic variance (unit^2), each (B, 1, H, W) float32, of bands (B, C, H, W).

    The mean of every draw is appended to ``keep``, where it is given.
    """

    def parts() -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        for draw in draws:
            mean, log_scale = draw(image)
            if keep is not None:
                keep.append(mean)
            yield mean, loss.std(log_scale) ** 2 if loss.trains_variance else None

    return combine(parts())


def _dropouts(model: torch.nn.Module) -> list[Any]:
    kinds = (torch.nn.Dropout, torch.nn.Dropout2d)
    return [layer for layer in model.modules() if isinstance(layer, kinds)]


@contextmanager
def _fixed_dropout(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Drop the same channels in every window and sample: one pass is one network, and its map has no seams.

    The model stays in evaluation mode, so batch norm uses what it learned. A kept channel is scaled by 1 / (1 - p).
    """
    hooks = []
    for number, layer in enumerate(_dropouts(model)):

        def drop(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor, number: int = number) -> torch.Tensor:
            generator = torch.Generator().manual_seed(1_000_003 * seed + number)
            kept = torch.rand(inputs[0].shape[1], generator=generator) >= layer.p
            return inputs[0] * (kept / (1 - layer.p)).to(inputs[0])[None, :, None, None]

        hooks.append(layer.register_forward_hook(drop))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
