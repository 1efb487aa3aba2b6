"""What ``eozoo show`` says about each name of this plugin. Imports nothing heavy.

Times and memory of the models are those of benchmarks/results/models.json; a test compares.
"""

from eozoo_core import Card

_ON = "CPU seconds of one thread of 2 x Intel(R) Xeon(R) Processor, weights included"
_TILES = (
    "Tile folders: bands.npy (T, H, W, C) reflectance x 10000 of any bands (11 documented, their order not), masks.npy "
    "(1 = clear), doys.npy; 'eozoo prepare' makes them from scenes at the finest pixel size given. Cloudy dates may be "
    "missing; a pixel needs more than data.min_valid clear ones. Statistics per band over clear dates "
    "of training pixels travel in the run."
)
_LIMITS = (
    "Maps need a tile folder: raw scenes go through 'eozoo prepare' first.",
    "Square blocks know nothing of fields; write blocks.npy where fields are larger than a block.",
    "Labels of one year are best met by the dates of that year.",
)
_SERIES = (
    "bands (B, L, C) standardised to mean 0 and deviation 1 per band, any bands, L = sample_size (16) clear dates in "
    "order of time; doys (B, L) day of year 1..366. No NaN."
)
_EMBEDDING = "An embedding (B, latent_dim) of plain numbers, 64 unless set."
_TRAINED = "None are published: it begins at random and is pre-trained on your tiles."

TWINS = Card(
    purpose="Features of each pixel's season where labels are few or none.",
    inputs=_TILES,
    outputs="An embedding per pixel (64 plain numbers), as float32 and int8 maps, and false colours; NaN (nodata) "
    "where too few dates are clear.",
    weights=_TRAINED,
    measured="Training btfm_transformer 775 pixels/s in fp32; maps 5,600 pixels/s; memory of a map 55 MB above the "
    "start, whatever its size. CPU seconds of one thread of a shared two-core server (python -m benchmarks pixels).",
    limits=(
        *_LIMITS,
        "Ahead of raw bands for land cover, level with them for crop type, on two squares of 640 m: "
        "docs/real_data_barlow.md.",
    ),
    architecture="Transformer",
    kinds=("similarity-search",),
)
LANDCOVER = Card(
    purpose="Land-cover or crop maps from few labels, on an encoder pre-trained by barlow_twins.",
    inputs=f"{_TILES} labels.npy (H, W) class codes, 0 = none.",
    outputs="Probabilities per class in the order of the legend (ESA WorldCover unless set) and the code of the most "
    "probable one; NaN (nodata) where too few dates are clear.",
    weights="Those of a barlow_twins run of yours (model.pretrained), or random.",
    measured="Not measured by itself; embeddings of its encoder btfm_transformer are mapped at 5,600 pixels/s, CPU "
    "seconds of one thread of a shared two-core server.",
    limits=(*_LIMITS, "Codes that the legend does not name are an error, not a class."),
    architecture="Transformer with a classifier",
    kinds=("classification", "semantic-segmentation"),
)
_MODELS = {
    "btfm_transformer": (
        "The encoder to begin with: attention between the dates of a pixel.",
        "Forward 0.0209 s, 28 MB; with backward 0.126 s, 150 MB",
        "The slowest of the three to train.",
        "Transformer",
    ),
    "btfm_mlp": (
        "The fastest encoder, for very many pixels or as a yardstick.",
        "Forward 0.0005 s, 9 MB; with backward 0.0016 s, 15 MB",
        "On the real data tried it did not beat the raw bands: docs/real_data_barlow.md.",
        "Multilayer perceptron",
    ),
    "btfm_cnn": (
        "An encoder that looks at neighbouring dates and bands of a pixel.",
        "Forward 0.0348 s, 69 MB; with backward 0.0881 s, 167 MB",
        "Neighbouring columns are neighbours in the order of bands, which means nothing by itself.",
        "Convolutional network",
    ),
}
MODELS = {
    name: Card(
        purpose=purpose,
        inputs=_SERIES,
        outputs=_EMBEDDING,
        weights=_TRAINED,
        measured=f"{speed}; input 256 x 16 x 11, {_ON}.",
        limits=("One pixel at a time: nothing is seen of its neighbours.", limit),
        architecture=architecture,
        kinds=("similarity-search",),
    )
    for name, (purpose, speed, limit, architecture) in _MODELS.items()
}
_LABELLED = "logits (B, K) and target (B,) class index 0..K - 1; -1 = no label, adds nothing."
LOSSES = {
    "barlow_twins": Card(
        purpose="Learns features without labels: two views of a pixel agree, dimensions do not repeat each other.",
        inputs="Two views (B, P) of the same B pixels, plain numbers, at least 2 pixels; gathered over all processes.",
        outputs="(loss, 1): squared distance of the diagonal of the cross-correlation from 1 plus lambda_offdiag "
        "(0.0005) times the rest squared; no unit; a constant dimension costs 1, no NaN.",
        measured="Not measured.",
        limits=(
            "Its value depends on the batch size: compare runs at the same one.",
            "With train.accumulate above 1 it is that of each forward pass.",
        ),
    ),
    "pixel_cross_entropy": Card(
        purpose="Classes of pixels from few labels.",
        inputs=_LABELLED,
        outputs="(sum, count) over labelled pixels, nats.",
        measured="Not measured.",
        limits=("Rare classes count by their number unless weights are given (model.class_weights: balanced).",),
    ),
    "pixel_focal": Card(
        purpose="Cross-entropy that looks away from easy pixels, for classes of very unequal size.",
        inputs=_LABELLED,
        outputs="(sum, count) over labelled pixels; gamma 0 gives the cross-entropy in nats.",
        measured="Not measured.",
        limits=("It is no proper score: probabilities trained with it are not frequencies.",),
    ),
}
_FOLDERS = (
    "Tile folders (bands.npy, masks.npy, doys.npy, tile.json), as 'eozoo prepare barlow_twins' makes them. No data "
    "come with it: Sentinel-2 is open, see docs/real_data_barlow.md."
)
DATASETS = {
    "pixel_series": Card(
        purpose="Pixel time series as barlow_twins trains on them, for use in other loops and plugins.",
        inputs=_FOLDERS,
        outputs="bands (T, C) float32, reflectance x 10000, NaN = not clear; doys (T,) int64, day of year 1..366.",
        measured="Not measured.",
        limits=("One pixel at a time: the task itself gathers whole batches.", "Tiles may have other dates each."),
    ),
    "pixel_tiles": Card(
        purpose="Whole tiles of a season, for use in other loops and plugins.",
        inputs=_FOLDERS,
        outputs="bands (T, H, W, C) uint16, reflectance x 10000; masks (T, H, W), 1 = clear; doys (T,) int64, 1..366.",
        measured="Not measured.",
        limits=("Arrays are mapped: a sample is as large as its files.",),
    ),
    "embeddings": Card(
        purpose="What a trained encoder says of each pixel, as samples of other tasks; a table: step embeddings.",
        inputs=_FOLDERS,
        outputs="features (D,) float32; target (), the code of labels.npy, NaN = no label.",
        measured="Not measured: as fast as maps of the run.",
        limits=("Embeddings of two runs cannot be compared.",),
    ),
}
