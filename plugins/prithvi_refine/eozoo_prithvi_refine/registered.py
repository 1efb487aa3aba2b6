"""The refiner by name, for use outside the task."""

from __future__ import annotations

from eozoo_core.settings.config import build_settings

from eozoo_prithvi_refine.adapters import adapt
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import ModelSettings


def prithvi_refiner(
    encoder: str = "prithvi_eo_v2_tiny",
    quantization: str = "none",
    use_lora: bool = True,
    lora_r: int = 8,
    freeze_base: bool = True,
    unfreeze_last_n_blocks: int = 0,
    num_convnext_blocks: int = 4,
    head_width: int = 32,
) -> PrithviRefiner:
    """Build the refiner with randomly initialised weights; options mean what ``ModelSettings`` says.

    Called with image ``(B, 4, H, W)`` reflectance, month ``(B,)`` and biome ``(B,)``, it returns the refined image and
    its features. Raises ZooError for an impossible option.
    """
    settings = build_settings(ModelSettings, dict(locals()), "prithvi_refiner")
    if settings.encoder == "none":
        return PrithviRefiner(settings, None)
    network = build_encoder(settings.encoder)
    adapt(network, settings)
    return PrithviRefiner(settings, network)
