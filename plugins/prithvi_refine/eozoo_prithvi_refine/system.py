"""The refiner as core trains, stores and uses it: the encoder's frozen numbers once beside the run."""

from __future__ import annotations

import torch
from eozoo_core.task.system import System, Tensors
from torch import nn

from eozoo_prithvi_refine.adapters import adapt, train_own
from eozoo_prithvi_refine.encoder import PrithviEncoder, build_encoder
from eozoo_prithvi_refine.plain import fix_size, make_plain
from eozoo_prithvi_refine.positions import position_table
from eozoo_prithvi_refine.refiner import Around, PrithviRefiner
from eozoo_prithvi_refine.settings import ModelSettings
from eozoo_prithvi_refine.weights import load_prithvi


class RefineSystem(PrithviRefiner, System):
    """`PrithviRefiner` between physical arrays: before ``adapt`` the plain encoder alone, then all parts.

    It is the refiner, and has none: names in checkpoints are those of the refiner's parts.
    """

    forward = System.forward

    def __init__(
        self, settings: ModelSettings, encoder: PrithviEncoder | None, receipt: str = "", around: Around | None = None
    ):
        nn.Module.__init__(self)
        self.settings, self.encoder, self.around, self.receipt = settings, encoder, around, receipt
        if encoder is not None:
            train_own(encoder, settings)

    def frozen(self) -> set[str]:
        """All of the encoder that is not trained; nothing where its own weights are (``freeze_base`` false)."""
        return self.untrained("encoder") if self.encoder is not None and self.settings.freeze_base else set()

    def adapt(self) -> None:
        """Quantise the encoder, add adapters, and then the other parts."""
        encoder, around = self.encoder, self.around
        if encoder is not None:
            adapt(encoder, self.settings)
            del self.encoder  # it takes its place among the others
        if around is not None:
            del self.around
        self.assemble(self.settings, encoder, around)

    def stage(self, arrays: Tensors) -> Tensors:
        """Codes as whole numbers; where one is not known, 1: core hides the sample."""
        codes = {name: torch.nan_to_num(arrays[name], nan=1.0).long() for name in ("month", "biome")}
        return {name: arrays[name] for name in ("opt_v1", "time", "location") if name in arrays} | codes

    def raw(self, staged: Tensors) -> Tensors:
        """Return "refined" (B, 4, H, W) reflectance and "features" (B, head_width, H, W), finite everywhere."""
        pairs = (staged.get("time"), staged.get("location"))
        refined, features = PrithviRefiner.forward(self, staged["opt_v1"], staged["month"], staged["biome"], *pairs)
        return {"refined": refined, "features": features}

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """What ``raw`` gives is reflectance already."""
        return raw

    def simplify(self, side: int) -> tuple[str, ...]:
        """Fold adapters in, expand 8- and 4-bit numbers, and keep the positions of images of ``side`` px alone."""
        if self.encoder is not None:
            make_plain(self.encoder)
            fix_size(self.encoder, side)
        return ("H", "W")


def build_system(settings: ModelSettings, fresh: bool, around: Around | None = None) -> RefineSystem:
    """Return the system before ``adapt``: its encoder from ``model.weights``, at random, or as shapes alone.

    Random weights have a generator of their own: what is drawn after them (adapters, head) is the same where the run
    takes them from its base instead.
    """
    if settings.encoder == "none":
        return RefineSystem(settings, None, around=around)
    if fresh and settings.weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((torch.initial_seed() + 1) % 2**63)
            random = "random: model.weights was not given"
            return RefineSystem(settings, build_encoder(settings.encoder), random, around)
    with torch.device("meta"):  # neither memory nor time is spent on random numbers
        encoder = build_encoder(settings.encoder)
    if not fresh:
        return RefineSystem(settings, encoder, around=around)
    encoder.to_empty(device="cpu")
    encoder.pos_embed.copy_(position_table(encoder.variant.embed_dim, *encoder.grid))
    return RefineSystem(settings, encoder, str(load_prithvi(encoder, settings.weights, settings.encoder)), around)
