"""The published sizes of the Prithvi-EO-2.0 encoder and what its six bands are. Imports nothing heavy."""

from __future__ import annotations

from typing import NamedTuple

# Bands of pre-training, in order: HLS B02 B03 B04 B05 B06 B07 (Landsat) = Sentinel-2 B02 B03 B04 B8A B11 B12.
BANDS = ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2")
# Statistics of pre-training in reflectance x 10000 (Szwarcman et al. 2024, Prithvi-EO-2.0, arXiv:2412.02732, and the
# configuration files published with the weights).
MEAN = (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0)
STD = (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0)


class Variant(NamedTuple):
    """Size of an encoder: width, blocks, attention heads, patch side (px), frames and side (px) of its own table.

    ``coordinates``: whether it takes acquisition time and location (the ``_tl`` models).
    """

    embed_dim: int
    depth: int
    heads: int
    patch: int = 16
    frames: int = 1
    image: int = 224
    coordinates: bool = False


VARIANTS = {
    "prithvi_eo_v2_600": Variant(1280, 32, 16, patch=14),
    "prithvi_eo_v2_600_tl": Variant(1280, 32, 16, patch=14, coordinates=True),
    "prithvi_eo_v2_300": Variant(1024, 24, 16),
    "prithvi_eo_v2_300_tl": Variant(1024, 24, 16, coordinates=True),
    "prithvi_eo_v2_100": Variant(768, 12, 12),
    "prithvi_eo_v2_100_tl": Variant(768, 12, 12, coordinates=True),
    "prithvi_eo_v2_tiny": Variant(192, 12, 3),
    "prithvi_eo_v2_tiny_tl": Variant(192, 12, 3, coordinates=True),
    # Not published: four small blocks, for tests, demonstrations and runs without pretrained weights.
    "prithvi_eo_nano": Variant(128, 4, 4, patch=8),
    "prithvi_eo_nano_tl": Variant(128, 4, 4, patch=8, coordinates=True),
}
