"""What ``eozoo show`` says about each name of this plugin. Imports nothing heavy.

Times and memory of the models are those of benchmarks/results/models.json; a test compares.
"""

from eozoo_core import Card

_ON = "CPU seconds of one thread of 2 x Intel(R) Xeon(R) Processor, weights included"
_PAIR = (
    "Image and reference (B, 4, H, W), blue, green, red, near infrared, reflectance 0..1; valid (B, H, W) bool: other "
    "pixels are not looked at and may be NaN."
)

TASK = Card(
    purpose="Brings a rough optical image, for example one imagined from radar, nearer to a real one.",
    inputs="Blue, green, red, near infrared in this order (Sentinel-2 B02, B03, B04, B08), (4, H, W) reflectance 0..1, "
    "10 m, NaN = missing; month 1..12 and biome 0..16 (Dinerstein et al. 2017). Scaling is fixed: Prithvi's own "
    "statistics.",
    outputs="The refined four bands, reflectance 0..model.max_reflectance, and head features for a stage 3; NaN where "
    "a band of the input, month or biome is missing.",
    weights="Published Prithvi-EO-2.0 encoders (Apache-2.0), given by model.weights; without them it begins at "
    "random and reports say so.",
    measured="The weights of the 600M encoder take 608 MB in 8 bit, 2,408 MB in fp32. A training step in 8 bit and "
    "bf16 with LoRA at 120 x 120 px, batch 1: 1292 MB on a CPU above the imports, 0.51 samples/s. The tiny encoder "
    "trains 4.15 samples/s in fp32 with 224 MB, on one CPU thread. No GPU was measured.",
    limits=(
        "It cannot know what the input does not show: refined is not observed.",
        "The documented losses leave the brightness of the output free; train.target_weight adds one that does not.",
        "Encoders that end in _tl look at day and place where they are known, and leave them out where not.",
        "A small encoder trained from random weights added nothing to the head alone: docs/real_data_prithvi.md. "
        "Published weights were never at hand.",
        "Scenes unlike those of training can come out worse than they went in; a snow scene lost edges.",
    ),
    architecture="Vision Transformer with LoRA and a ConvNeXt head",
    kinds=("regression", "generative"),
)
_SPEED = {
    "prithvi_eo_v2_600": "Forward 2.18 s, 2463 MB; with backward 8.3 s, 5338 MB",
    "prithvi_eo_v2_600_tl": "Forward 2.1 s, 2463 MB; with backward 9 s, 5333 MB",
    "prithvi_eo_v2_300": "Forward 0.829 s, 1199 MB; with backward 3.01 s, 2598 MB",
    "prithvi_eo_v2_300_tl": "Forward 0.891 s, 1200 MB; with backward 2.86 s, 2587 MB",
    "prithvi_eo_v2_100": "Forward 0.248 s, 364 MB; with backward 0.812 s, 784 MB",
    "prithvi_eo_v2_100_tl": "Forward 0.243 s, 361 MB; with backward 0.815 s, 771 MB",
    "prithvi_eo_v2_tiny": "Forward 0.0221 s, 43 MB; with backward 0.0689 s, 95 MB",
    "prithvi_eo_v2_tiny_tl": "Forward 0.0235 s, 43 MB; with backward 0.0727 s, 93 MB",
}


def encoder(name: str, published: bool) -> Card:
    """Card of one encoder; ``published``: whether the place of its weights can be cited."""
    patch, coordinates = 14 if "_600" in name else 16, name.endswith("_tl")
    known = " Year and day of year, latitude and longitude may be given." if coordinates else ""
    weights = (
        "Random here. Published weights (Apache-2.0): 'eozoo weights fetch', then model.weights of prithvi_refine, "
        "every tensor matched; hashes are not cited, the first one seen is pinned."
        if published
        else "Random here. A published file can be given to prithvi_refine (model.weights); where it lies and its "
        "licence are not cited: unknown."
    )
    return Card(
        purpose="Features of multispectral images from a masked autoencoder of Landsat and Sentinel-2 scenes at 30 m.",
        inputs="Blue, green, red, narrow near infrared, SWIR 1, SWIR 2 (Sentinel-2 B02 B03 B04 B8A B11 B12) as "
        "reflectance x 10000, standardised with the means and deviations below; (B, 6, H, W) or (B, 6, T, H, W)."
        f"{known} Sides of at least {patch} px; what does not divide by {patch} is not seen. No NaN.",
        outputs=f"Tokens after the last norm, class token first, then patches of {patch} px row by row; plain numbers.",
        weights=weights,
        measured=f"{_SPEED[name]}; input 1 x 6 x 224 x 224, {_ON}.",
        limits=(
            "NaN spreads to every token: fill before.",
            "Its pixels were 30 m; at 10 m the same patch covers a ninth of the area.",
        ),
        architecture="Vision Transformer (Prithvi-EO-2.0)",
        kinds=("similarity-search",),
    )


REFINER = Card(
    purpose="The network of prithvi_refine by itself, for other loops.",
    inputs="Blue, green, red, near infrared, (B, 4, H, W) reflectance 0..1, any size, NaN = missing (seen as the "
    "average of pre-training); month (B,) 1..12 and biome (B,) 0..16, whole numbers.",
    outputs="The refined image, reflectance 0..1.5, and features (B, 32, H, W); finite everywhere: the caller marks "
    "what was missing. Untrained it returns its input.",
    weights="Random, with the tiny encoder unless set; the task loads published ones.",
    measured=f"Forward 0.0696 s, 79 MB; with backward 0.222 s, 202 MB; input 1 x 4 x 120 x 120, {_ON}.",
    limits=("Patch tokens are context only: detail comes from the input.", "It bounds the change to 0.5 reflectance."),
    architecture="Vision Transformer with LoRA and a ConvNeXt head",
    kinds=("regression", "generative"),
)
JUDGE = Card(
    purpose="Tells real patches from made ones while prithvi_refine trains; maps do not need it.",
    inputs="Blue, green, red, near infrared, (B, 4, H, W) reflectance, 0 where missing, at least 34 px to be useful.",
    outputs="A score per patch: near 1 = real, near 0 = made, after training with least squares.",
    weights="None are published: it learns with the refiner.",
    measured=f"Forward 0.0029 s, 14 MB; with backward 0.0095 s, 27 MB; input 1 x 4 x 120 x 120, {_ON}.",
    limits=("A pixel wrong for its place but real for another is not seen: it looks at 34 px alone.",),
    architecture="PatchGAN discriminator",
    kinds=("classification",),
)
DENSE = Card(
    purpose="Maps of values or classes in other tasks, for example gedi_sparse with model.name=prithvi_dense.",
    inputs="Any number of bands, (B, C, H, W), standardised (mean 0, deviation 1), any image size, no NaN: the task "
    "scales and fills before. Option bands says which of them are Prithvi's six.",
    outputs="Channel 0 the mean, channel 1 the log-scale of the target as standardised for training; or a logit per "
    "class. NaN never.",
    weights="The published encoders (options encoder and pretrained, Apache-2.0, 'eozoo weights fetch'), every tensor "
    "matched; random without them.",
    measured=f"Forward 0.186 s, 204 MB; with backward 0.62 s, 429 MB; input 1 x 14 x 256 x 256, {_ON}.",
    limits=(
        "The task's standardisation stands in for that of pre-training: each band has mean 0 and deviation 1.",
        "Checkpoints hold the whole encoder, also where it is frozen: 2.5 GB each with 600 million parameters.",
    ),
    architecture="Vision Transformer (Prithvi-EO-2.0) with a ConvNeXt head",
    kinds=("regression", "semantic-segmentation"),
)
LOSSES = {
    "spectral_plausibility": Card(
        purpose="Right spectra: vegetation indices and the shape of each pixel's spectrum.",
        inputs=_PAIR,
        outputs="(sum over tiles, tiles): 1.0 NDVI RMSE + 0.5 EVI RMSE + 0.3 spectral angle (radians) unless set; 0 "
        "for a tile without valid pixel.",
        measured="Not measured.",
        limits=(
            "Nearly blind to brightness: an image twice as bright keeps NDVI and angle.",
            "Over nearly black or very bright blue pixels the indices are held within bounds.",
        ),
    ),
    "identity_edge": Card(
        purpose="Keeps an image near a reference: the input (so that structure stays) or the target.",
        inputs=_PAIR,
        outputs="(sum over tiles, tiles): mean absolute difference + 0.5 times that of Sobel edges, reflectance; 0 for "
        "a tile without valid pixel.",
        measured="Not measured.",
        limits=("Against the input it holds the refiner back from any change, wanted ones too.",),
    ),
}
DATASET = Card(
    purpose="Tiles as pairs of input and target, as prithvi_refine trains on them, for use in other loops.",
    inputs="A folder of NPZ tiles with s2_b2, s2_b3, s2_b4, s2_b8 (H, W) reflectance 0..1, month, biome_code, and "
    "where given opt_v1 (4, H, W) of a stage 1. No data come with it; 'eozoo prepare prithvi_refine tiles' makes them.",
    outputs="image and target float32, B02 B03 B04 B08, NaN in both where either misses a band; month, biome, "
    "time, location.",
    measured="Not measured.",
    limits=("Without stage-1 outputs the input is the target degraded by a fixed recipe, no real stage 1.",),
)
