"""The networks: Clay features and context to temperature, the same without Clay, and ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from eozoo_core import ZooError
from eozoo_core.score.baselines import RidgeFit
from eozoo_core.task.data import in_groups, tensors
from eozoo_core.task.system import System, Tensors
from torch import Tensor, nn

from eozoo_clay_ta.calendar import calendar
from eozoo_clay_ta.clay import PATCH, SIZES, ClayEncoder
from eozoo_clay_ta.grid import HALF, WINDOW
from eozoo_clay_ta.lora import add_lora
from eozoo_clay_ta.sample_schema import CHANNELS, SZA, Normalisation
from eozoo_clay_ta.settings import ClayModel
from eozoo_clay_ta.static import CLASSES

if TYPE_CHECKING:
    from eozoo_core.score.baselines import Ridge
    from eozoo_core.task.data import Data

SPECTRAL = 16  # the first channels of x are what Clay sees: BT10, RF6
CONTEXT = CHANNELS + 7 + 4 + CLASSES
STAGED = ("x", "time7", "loc", "landcover_onehot")


class TaSystem(System):
    """What all have in common: statistics that travel in the checkpoint, the way in, and the way out.

    metres: pixel size of the windows that ``predict`` gets. offset: added to degrees Celsius, for kelvin.
    """

    metres: float = 2000.0
    offset: float = 0.0

    def __init__(self, norm: Normalisation):
        super().__init__()
        self.encoder: ClayEncoder | None = None
        for name, value in norm.state().items():
            # float64: the model must give back the very numbers that the samples were made with
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "x" (B, 19, 9, 9) z-scores, "time7" (B, 7), "loc" (B, 3) and "landcover_onehot" (B, 17).

        Samples of chunks come so. Else x is in physical units, with "time", "lat", "lon" and "landcover", each (B,).
        """
        if "time7" in arrays:
            return {name: arrays[name] for name in STAGED}
        x, time, lat, lon, classes = (_filled(arrays[name]) for name in ("x", "time", "lat", "lon", "landcover"))
        mean, std = (self.get_buffer(name).float()[:, None, None] for name in ("mean", "std"))
        z = (x - mean) / std
        return {
            "x": z,
            "time7": calendar(time, z[:, SZA, HALF, HALF]),
            "loc": torch.stack([lat, lon, torch.full_like(lat, self.metres)], dim=1),
            "landcover_onehot": (classes.long()[:, None] == torch.arange(CLASSES, device=x.device)).float(),
        }

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Return "ta" (B,), NaN where the land cover is no class, and for scores the z-score itself."""
        ta = raw["z"].double() * self.ta_std + self.ta_mean + self.offset
        if "landcover" in arrays:
            ta = torch.where((arrays["landcover"] >= 0) & (arrays["landcover"] < CLASSES), ta, torch.nan)
        return {"ta": ta, "z": raw["z"]}


def _centre(side: int) -> list[int]:
    """Return the numbers of the class token and of the token(s) in the middle of ``side`` x ``side``: one, or four."""
    middle = range((side - 1) // 2, side // 2 + 1)
    return [0, *(1 + row * side + col for row in middle for col in middle)]


class ClayRegressor(TaSystem):
    """Temperature z-scores from Clay features, the auxiliary maps and the context. Without encoder: ``clay_free``.

    The three maps that are no spectral channels (SZA, DEM, LSMASK) go through a small convolution of their own: Clay's
    kernels attend to each other, so an invented wavelength would disturb the sixteen real ones.
    """

    def __init__(self, options: ClayModel, norm: Normalisation, encoder: ClayEncoder | None):
        super().__init__(norm)
        self.size, self._options = options.encoder_input_size, options
        self._kernel: tuple[Tensor, Tensor] | None = None
        if encoder is not None:
            self.encoder = encoder.requires_grad_(False)
            self._waves = (*options.bt_waves_um, *options.rf_waves_um)
            self.register_buffer("waves", torch.tensor(self._waves), persistent=False)
            self.register_buffer("asked", torch.tensor(_centre(self.size // PATCH)), persistent=False)

    def frozen(self) -> set[str]:
        """See `System.frozen`: the whole encoder, and after ``adapt`` what of it is not trained."""
        return set() if self.encoder is None else self.untrained("encoder")

    def adapt(self) -> None:
        """See `System.adapt`. Adapters are drawn before the head: the same seed gives the same start."""
        options, encoder, hidden = self._options, self.encoder, self._options.hidden
        if encoder is not None:
            adapt_encoder(encoder, options)
        self.auxiliary = nn.Sequential(nn.Conv2d(3, 16, 3), nn.GELU(), nn.Conv2d(16, 32, 3), nn.GELU())
        self.context = nn.Linear(CONTEXT + 32, hidden)
        if encoder is not None:
            self.clay = nn.Sequential(nn.LayerNorm(2 * encoder.size.dim), nn.Linear(2 * encoder.size.dim, hidden))
        drop = nn.Dropout(options.dropout)
        self.head = nn.Sequential(nn.GELU(), drop, nn.Linear(hidden, hidden), nn.GELU(), drop, nn.Linear(hidden, 1))
        self.direct = nn.Linear(CONTEXT, 1)  # what is linear in the centre values need not pass the head

    def raw(self, staged: Tensors) -> Tensors:
        """Return "z" ``(B,)``, z-scores of temperature."""
        context = context_of(staged)
        maps = self.auxiliary(staged["x"][:, SPECTRAL:]).mean(dim=(2, 3))
        hidden = self.context(torch.cat([context, maps], dim=1))
        if self.encoder is not None:
            hidden = hidden + self.clay((staged if "features" in staged else self.features(staged))["features"])
        return {"z": (self.head(hidden) + self.direct(context))[:, 0].float()}

    def features_key(self) -> dict[str, Any] | None:
        """What Clay's tokens depend on, where nothing in the encoder is trained."""
        fixed = features_are_fixed(self._options)
        return {"waves": torch.tensor(self._waves).tolist(), "size": self.size} if fixed else None

    def features(self, staged: Tensors) -> Tensors:
        """Return Clay's class token and the token(s) of the window's centre, "features" ``(B, 2 dim)``."""
        loc, time = staged["loc"], staged["time7"]
        gsd = loc[:, 2] * WINDOW / self.size  # the enlarged window has smaller pixels
        pixels = F.interpolate(staged["x"][:, :SPECTRAL], (self.size, self.size), mode="bilinear", align_corners=False)
        tokens = self.encoder(pixels, time[:, :4], place_encoding(loc), gsd, self.waves, self.kernel(), self.asked)
        return {"features": torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1).float()}

    def kernel(self) -> tuple[Tensor, Tensor] | None:
        """The generated patch-embedding kernel, kept where its weights are frozen; None where they are trained."""
        if any(p.requires_grad for p in self.encoder.patch_embedding.parameters()):
            return None
        if self._kernel is None or self._kernel[0].device != self.waves.device:
            with torch.no_grad(), torch.autocast(self.waves.device.type, enabled=False):
                self._kernel = tuple(t.detach() for t in self.encoder.patch_embedding.kernel(self.waves))
        return self._kernel


class CentreRidge(TaSystem):
    """Ridge regression of the temperature on the context, solved exactly; a baseline that needs no training."""

    def __init__(self, norm: Normalisation, penalty: float):
        super().__init__(norm)
        self.penalty, self.direct = penalty, nn.Linear(CONTEXT, 1, dtype=torch.float64)

    def raw(self, staged: Tensors) -> Tensors:
        """See ``ClayRegressor.raw``."""
        return {"z": self.direct(context_of(staged).double())[:, 0].float()}

    def solve(self, data: Data) -> None:
        """Fit ``direct`` to z-scores in one pass over the samples."""
        fit = RidgeFit(CONTEXT)
        for group in in_groups(data, range(len(data))):
            batch = tensors(data.items(group))
            target = z_target(batch, float(self.ta_mean), float(self.ta_std))
            fit.update(context_of(self.stage(batch)).numpy().T, target.numpy())
        self.take(fit.solve(self.penalty, per_sample=True))

    @torch.no_grad()
    def take(self, found: Ridge) -> None:
        """Set the weights to those of a ridge regression on `context_of`."""
        self.direct.weight.copy_(torch.tensor([found.weights], dtype=torch.float64))
        self.direct.bias.fill_(found.intercept)


class MapNetwork(TaSystem):
    """Somebody's network for maps: all inputs as planes, its value at the window's centre."""

    def __init__(self, norm: Normalisation, network: nn.Module):
        super().__init__(norm)
        self.network, self.receipt = network, str(getattr(network, "receipt", None) or "")

    def raw(self, staged: Tensors) -> Tensors:
        """See ``ClayRegressor.raw``."""
        x = staged["x"]
        planes = context_of(staged)[:, x.shape[1] :, None, None].expand(-1, -1, *x.shape[2:])
        return {"z": self.network(torch.cat([x, planes], dim=1))[:, 0, HALF, HALF].float()}


def context_of(batch: Tensors) -> Tensor:
    """Return ``(B, 47)``: the 19 centre values, time7, place as sines and cosines, and the land cover."""
    centre = batch["x"][:, :, HALF, HALF]
    return torch.cat([centre, batch["time7"], place_encoding(batch["loc"]), batch["landcover_onehot"]], dim=1)


def place_encoding(loc: Tensor) -> Tensor:
    """Sine and cosine of latitude, then of longitude ``(B, 4)``, of loc (B, 3): latitude, longitude in degrees, gsd."""
    lat, lon = torch.deg2rad(loc[:, 0]), torch.deg2rad(loc[:, 1])
    return torch.stack([lat.sin(), lat.cos(), lon.sin(), lon.cos()], dim=1)


def build_encoder(options: ClayModel) -> ClayEncoder | None:
    """Return the encoder with random weights, or None for the models without one."""
    return ClayEncoder(SIZES[options.encoder]) if options.type == "clay_transfer" else None


def build_model(options: ClayModel, norm: Normalisation, encoder: ClayEncoder | None) -> TaSystem:
    """Return the system of ``options.type``, not yet adapted."""
    if options.type == "centre_ridge":
        return CentreRidge(norm, options.ridge)
    return ClayRegressor(options, norm, encoder)


def adapt_encoder(encoder: ClayEncoder, options: ClayModel) -> None:
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


def z_target(batch: Any, mean: float, std: float) -> Any:
    """Return the label (B,) of tensors or arrays as z-scores: chunks hold these, other data sets degC."""
    return batch["target"] if "time7" in batch else (batch["target"] - mean) / std


def _filled(values: Tensor) -> Tensor:
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
