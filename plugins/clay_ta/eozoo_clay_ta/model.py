"""The networks: Clay features and context to temperature, the same without Clay, and ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from eozoo_core import ZooError
from torch import Tensor, nn

from eozoo_clay_ta.clay import PATCH, SIZES, ClayEncoder
from eozoo_clay_ta.grid import HALF, WINDOW
from eozoo_clay_ta.lora import add_lora
from eozoo_clay_ta.parts import make_network
from eozoo_clay_ta.sample_schema import CHANNELS, Normalisation
from eozoo_clay_ta.settings import ClayModel
from eozoo_clay_ta.static import CLASSES

if TYPE_CHECKING:
    from eozoo_core.score.baselines import Ridge
    from eozoo_core.task import Registry

SPECTRAL = 16  # the first channels of x are what Clay sees: BT10, RF6
CONTEXT = CHANNELS + 7 + 4 + CLASSES
Batch = dict[str, Tensor]


class TaModel(nn.Module):
    """What all three have in common: the statistics travel in the checkpoint, frozen parts of an encoder do not."""

    def __init__(self, norm: Normalisation):
        super().__init__()
        self.encoder: ClayEncoder | None = None
        for name, value in norm.state().items():
            # float64: the model must give back the very numbers that the samples were made with
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def normalisation(self) -> Normalisation:
        """Return the statistics that the samples were made with."""
        return Normalisation.from_state({k: getattr(self, k).tolist() for k in ("mean", "std", "ta_mean", "ta_std")})

    def frozen_names(self) -> list[str]:
        """Names of the encoder's weights that are not trained; the run keeps them once, in its base file."""
        if self.encoder is None:
            return []
        return [f"encoder.{name}" for name, p in self.encoder.named_parameters() if not p.requires_grad]

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """Return what was trained, and the statistics: all but ``frozen_names``."""
        state = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        for name in self.frozen_names():
            state.pop(prefix + name)
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what ``state_dict`` gives. Raises RuntimeError where a tensor is missing or too many."""
        expected = self.state_dict()
        if strict and set(expected) != set(state_dict):
            raise RuntimeError(f"state dicts differ in {sorted(set(expected) ^ set(state_dict))[:3]}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)


class ClayRegressor(TaModel):
    """Temperature z-scores from Clay features, the auxiliary maps and the context. Without encoder: ``clay_free``.

    The three maps that are no spectral channels (SZA, DEM, LSMASK) go through a small convolution of their own: Clay's
    kernels attend to each other, so an invented wavelength would disturb the sixteen real ones.
    """

    def __init__(self, options: ClayModel, norm: Normalisation, encoder: ClayEncoder | None):
        super().__init__(norm)
        self.size = options.encoder_input_size
        self.encoder = encoder
        self._kernel: tuple[Tensor, Tensor] | None = None
        hidden = options.hidden
        self.auxiliary = nn.Sequential(nn.Conv2d(3, 16, 3), nn.GELU(), nn.Conv2d(16, 32, 3), nn.GELU())
        self.context = nn.Linear(CONTEXT + 32, hidden)
        if encoder is not None:
            waves = torch.tensor((*options.bt_waves_um, *options.rf_waves_um))
            self.register_buffer("waves", waves, persistent=False)
            self.clay = nn.Sequential(nn.LayerNorm(2 * encoder.size.dim), nn.Linear(2 * encoder.size.dim, hidden))
        drop = nn.Dropout(options.dropout)
        self.head = nn.Sequential(nn.GELU(), drop, nn.Linear(hidden, hidden), nn.GELU(), drop, nn.Linear(hidden, 1))
        self.direct = nn.Linear(CONTEXT, 1)  # what is linear in the centre values need not pass the head

    def forward(self, batch: Batch) -> Tensor:
        """Return ``(B,)`` z-scores of temperature.

        batch: "x" (B, 19, 9, 9), "time7" (B, 7), "loc" (B, 3), "landcover_onehot" (B, 17) as in the chunks, and
        "features" (B, 2 dim) where they were computed before. NaN must be replaced by the caller.
        """
        context = context_of(batch)
        maps = self.auxiliary(batch["x"][:, SPECTRAL:]).mean(dim=(2, 3))
        hidden = self.context(torch.cat([context, maps], dim=1))
        if self.encoder is not None:
            hidden = hidden + self.clay(batch["features"] if "features" in batch else self.features(batch))
        return (self.head(hidden) + self.direct(context))[:, 0].float()

    def features(self, batch: Batch) -> Tensor:
        """Return Clay's class token and the token(s) of the window's centre, ``(B, 2 dim)`` float32."""
        gsd = batch["loc"][:, 2] * WINDOW / self.size  # the enlarged window has smaller pixels
        if bool((gsd == gsd[0]).all()):
            gsd = gsd[:1]  # as ever: then the positions are encoded once, not for every sample
        return self.features_at(batch, gsd)

    def features_at(self, batch: Batch, gsd: Tensor) -> Tensor:
        """Return ``features`` with the pixel size of the enlarged window given, (1,) or (B,) metres."""
        loc, time = batch["loc"], batch["time7"]
        pixels = F.interpolate(batch["x"][:, :SPECTRAL], (self.size, self.size), mode="bilinear", align_corners=False)
        tokens = self.encoder(pixels, time[:, :4], place_encoding(loc), gsd, self.waves, self.kernel())
        side = self.size // PATCH
        middle = slice((side - 1) // 2, side // 2 + 1)  # one token, or four where the side is even
        centre = tokens[:, 1:].unflatten(1, (side, side))[:, middle, middle].mean(dim=(1, 2))
        return torch.cat([tokens[:, 0], centre], dim=1).float()

    def kernel(self) -> tuple[Tensor, Tensor] | None:
        """The generated patch-embedding kernel, kept where its weights are frozen; None where they are trained."""
        if any(p.requires_grad for p in self.encoder.patch_embedding.parameters()):
            return None
        if self._kernel is None or self._kernel[0].device != self.waves.device:
            with torch.no_grad(), torch.autocast(self.waves.device.type, enabled=False):
                self._kernel = tuple(t.detach() for t in self.encoder.patch_embedding.kernel(self.waves))
        return self._kernel


class CentreRidge(TaModel):
    """Ridge regression of the temperature on the context, solved exactly; a baseline that needs no training."""

    def __init__(self, norm: Normalisation):
        super().__init__(norm)
        self.direct = nn.Linear(CONTEXT, 1, dtype=torch.float64)

    def forward(self, batch: Batch) -> Tensor:
        """Return ``(B,)`` z-scores of temperature; see ``ClayRegressor.forward``."""
        return self.direct(context_of(batch).double())[:, 0].float()

    @torch.no_grad()
    def take(self, found: Ridge) -> None:
        """Set the weights to those of a ridge regression on `context_of`."""
        self.direct.weight.copy_(torch.tensor([found.weights], dtype=torch.float64))
        self.direct.bias.fill_(found.intercept)


class MapNetwork(TaModel):
    """Somebody's network for maps: all inputs as planes, its value at the window's centre."""

    def __init__(self, norm: Normalisation, network: nn.Module):
        super().__init__(norm)
        self.network = network

    def forward(self, batch: Batch) -> Tensor:
        """Return ``(B,)`` z-scores of temperature; see ``ClayRegressor.forward``."""
        x = batch["x"]
        planes = context_of(batch)[:, x.shape[1] :, None, None].expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, planes], dim=1))[:, 0, HALF, HALF].float()


def context_of(batch: Batch) -> Tensor:
    """Return ``(B, 47)``: the 19 centre values, time7, place as sines and cosines, and the land cover."""
    centre = batch["x"][:, :, HALF, HALF]
    return torch.cat([centre, batch["time7"], place_encoding(batch["loc"]), batch["landcover_onehot"]], dim=1)


def place_encoding(loc: Tensor) -> Tensor:
    """Sine and cosine of latitude, then of longitude ``(B, 4)``, of loc (B, 3): latitude, longitude in degrees, gsd."""
    lat, lon = torch.deg2rad(loc[:, 0]), torch.deg2rad(loc[:, 1])
    return torch.stack([lat.sin(), lat.cos(), lon.sin(), lon.cos()], dim=1)


def build_encoder(options: ClayModel) -> ClayEncoder | None:
    """Return the encoder with random weights, frozen and adapted as set, or None for the models without one."""
    return ClayEncoder(SIZES[options.encoder]) if options.type == "clay_transfer" else None


def build_model(
    options: ClayModel,
    norm: Normalisation,
    encoder: ClayEncoder | None,
    registry: Registry | None = None,
    fresh: bool = True,
) -> TaModel:
    """Return the model of ``options.type``; the encoder is frozen, unfrozen or adapted as set.

    ``fresh``: see ``parts.make_network``.
    """
    if options.network is not None:
        return MapNetwork(norm, make_network(options.network, CONTEXT, registry, fresh))
    if options.type == "centre_ridge":
        return CentreRidge(norm)
    if encoder is not None:
        adapt(encoder, options)
    return ClayRegressor(options, norm, encoder)


def adapt(encoder: ClayEncoder, options: ClayModel) -> None:
    """Freeze, partly unfreeze, or add low-rank updates. Raises ZooError for more blocks than there are."""
    encoder.requires_grad_(not options.freeze_encoder)
    layers = encoder.transformer.layers
    if options.trainable_blocks > len(layers):
        raise ZooError(f"model.trainable_blocks {options.trainable_blocks}: {options.encoder} has {len(layers)} blocks")
    if options.lora_rank:
        add_lora(encoder, options.lora_rank)
    if options.trainable_blocks:
        for layer in layers[-options.trainable_blocks :]:
            layer.requires_grad_(True)
        encoder.transformer.norm.requires_grad_(True)


def features_are_fixed(options: ClayModel) -> bool:
    """Whether nothing in the encoder is trained, so that its features can be computed once."""
    adapted = options.trainable_blocks or options.lora_rank
    return options.type == "clay_transfer" and options.freeze_encoder and not adapted
