"""What ``eozoo show`` says about each name of this plugin. Imports nothing heavy.

Times and memory of the models are those of benchmarks/results/models.json; a test compares.
"""

from eozoo_core import Card

_ON = "CPU seconds of one thread of 2 x Intel(R) Xeon(R) Processor, weights included"
_IMAGE = (
    "Standardised bands (mean 0, deviation 1), any number of them (14 documented, see gedi_sparse), any image size, no "
    "NaN: the task scales and fills before."
)
_MOMENTS = (
    "Channel 0 the mean, channel 1 the log-scale of the target as standardised for training; or a logit per class. "
    "NaN never."
)
_TRAINED = "None are published: it begins at random and is trained on your shots."

TASK = Card(
    purpose="Maps of canopy height or above-ground biomass density where there are satellite images and GEDI shots.",
    inputs="Patches (C, H, W), .npy or GeoTIFF, of any bands on one grid; the documented 14: Sentinel-2 B1 ... B12 "
    "(reflectance 0..1) and Sentinel-1 VV, VH as (dB + 30) / 30, at 50 m for biomass. NaN or nodata = missing. "
    "Statistics of each band come from the training split and travel in the checkpoint.",
    outputs="Mean and standard deviation per pixel in m or Mg/ha (data.unit), and of an ensemble the two parts of the "
    "deviation; NaN where any band is missing.",
    weights=_TRAINED,
    measured=f"One member, gedi_unet, maps a window of 256 x 256 px in 0.601 s with 245 MB, {_ON}. 'train --dry-run' "
    "predicts the memory of a training step; no GPU was measured.",
    limits=(
        "Optical bands saturate in tall canopies; the predicted standard deviation grows there if the data show it.",
        "The standard deviation is that of a shot about the map, shot noise included, not of the map's error alone.",
        "A shot counts for the pixel it is given in: geolocation error is the user's to handle.",
        "With a few hundred shots the preset few_shots, a forest, is better: docs/real_data_gedi_17.md.",
    ),
    architecture="U-Net",
    kinds=("regression",),
)
MODELS = {
    "gedi_unet": Card(
        purpose="The documented network of gedi_sparse, for thousands of patches with sparse labels.",
        inputs=_IMAGE,
        outputs=_MOMENTS,
        weights=_TRAINED,
        measured=f"Forward 0.601 s, 245 MB; with backward 1.76 s, 636 MB; input 1 x 14 x 256 x 256, {_ON}.",
        limits=(
            "Batch normalisation: what it learns depends on the batch size.",
            "A pixel's result depends on a window of about 200 px around it, so windows are blended.",
        ),
        architecture="U-Net",
        kinds=("regression", "semantic-segmentation"),
    ),
    "timm_unet": Card(
        purpose="A U-Net around an encoder of timm (resnet18 unless set), pretrained on photographs where wanted.",
        inputs=_IMAGE,
        outputs=_MOMENTS,
        weights="Random, or with pretrained=true those that timm publishes for the encoder, fetched when training "
        "begins; their licence is stated there, per encoder.",
        measured=f"Forward 0.145 s, 135 MB; with backward 0.415 s, 270 MB; input 1 x 14 x 256 x 256, {_ON}.",
        limits=(
            "Encoders without feature maps or for one image size only are refused.",
            "Pretrained kernels for red, green and blue are repeated over all bands: a start, not knowledge of them.",
        ),
        architecture="U-Net with a ResNet-18 encoder",
        kinds=("regression", "semantic-segmentation"),
    ),
    "context_net": Card(
        purpose="For a few hundred shots: a pixel's bands, their means in squares around it, one hidden layer.",
        inputs=_IMAGE,
        outputs=_MOMENTS,
        weights=_TRAINED,
        measured=f"Forward 0.0754 s, 93 MB; with backward 0.18 s, 206 MB; input 1 x 14 x 256 x 256, {_ON}.",
        limits=(
            "Sees no more than the largest square (15 px) and no texture.",
            "On 312 shots in Nicaragua level with ridge regression, worse than a forest: docs/real_data_gedi.md.",
        ),
        architecture="Multilayer perceptron on neighbourhood means",
        kinds=("regression", "semantic-segmentation"),
    ),
}
DATASET = Card(
    purpose="Pairs of band and label patches as gedi_sparse trains on them, for use in other loops.",
    inputs="input_dir/SPLIT/NAME (C, H, W) and label_dir/SPLIT/NAME (1 or more bands, H, W), .npy or GeoTIFF of one "
    "size, CRS and transform. No data come with it: GEDI and Sentinel are open, see docs/gedi_from_granules.md.",
    outputs="image float32, raw band values, NaN = missing; target float32 in its unit, NaN = no label, also where a "
    "band is missing.",
    measured="Not measured.",
    limits=("Whole patches, neither scaled nor augmented: that is the task's work.",),
)
