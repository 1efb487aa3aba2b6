"""The pre-training network of a run: made, loaded from best.pt, and its encoder on whole series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.task.load import Trained, load_trained
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.precision import compute_in, precision_in_use

from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder, build_encoder
from eozoo_barlow_twins.networks import Twins, projector

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_barlow_twins.settings import BarlowSettings
    from eozoo_barlow_twins.training import Pixels


def encoder_info(settings: BarlowSettings, pixels: Pixels) -> EncoderInfo:
    """What a new encoder of these settings sees of ``pixels``."""
    data = settings.data
    return EncoderInfo(settings.model.backbone, pixels.bands, data.sample_size, data.min_valid)


def make_twins(settings: BarlowSettings, registry: Registry, info: EncoderInfo, pixels: Pixels | None) -> Twins:
    """Build encoder and projector; ``pixels`` gives the statistics of the bands, None leaves them as they are."""
    p = settings.model.projector
    encoder = build_encoder(registry, info)
    if pixels is not None:
        encoder.standardise.mean.copy_(torch.from_numpy(pixels.mean))
        encoder.standardise.std.copy_(torch.from_numpy(pixels.std))
    return Twins(encoder, projector(encoder.backbone.latent_dim, p.width, p.hidden_layers, p.batch_norm))


def trained_twins(run: Run, settings: BarlowSettings, registry: Registry, random_weights: bool = False) -> Twins:
    """Encoder and projector of best.pt in eval mode, on the CPU; ``random_weights`` keeps its statistics of the bands
    alone."""

    def build(trained: Trained[BarlowSettings]) -> Twins:
        return make_twins(trained.settings, registry, EncoderInfo.of(run), None)

    model, _ = load_trained(run, settings, build, None, "cpu")
    if random_weights:
        standardise = model.encoder.standardise.state_dict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.settings.train.seed)
            model = make_twins(settings, registry, EncoderInfo.of(run), None)
        model.encoder.standardise.load_state_dict(standardise)
    return model.eval()


def series_encoder(
    run: Run, settings: BarlowSettings, registry: Registry, random_weights: bool = False, scope: str = "infer"
) -> SeriesEncoder:
    """The trained encoder (best.pt, strictly loaded) on whole series, or one with the seed's initial weights.

    ``scope``: "eval" or "infer", whose precision it computes in.
    """
    device = resolve_device(settings.runtime.device)
    model: Any = trained_twins(run, settings, registry, random_weights).encoder.to(device)
    model = compute_in(precision_in_use(run, scope, device), model, device)
    return SeriesEncoder(model, model.backbone.latent_dim, EncoderInfo.of(run), settings.infer, device)
