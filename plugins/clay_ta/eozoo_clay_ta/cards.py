"""What ``eozoo show`` says about each name of this plugin. Imports nothing heavy.

Times and memory of the models are those of benchmarks/results/models.json; a test compares.
"""

from eozoo_core import Card

_ON = "CPU seconds of one thread of 2 x Intel(R) Xeon(R) Processor, weights included"

TASK = Card(
    purpose="Near-surface air temperature between stations, from the images of a geostationary satellite.",
    inputs="GK-2A AMI level 1B of the KO area at 2 km: 10 infrared channels as brightness temperature K, 6 solar ones "
    "as albedo, pixels of quality flag 0 only; solar zenith angle, elevation, land/sea mask, land cover (MCD12Q1); "
    "station temperatures (ASOS) to train on. NaN = missing. Statistics come from the training split, one for all "
    "infrared and one for all solar channels, and travel in the checkpoint.",
    outputs="Near-surface air temperature at the centre of each 9 x 9 window, degC or K (infer.unit); NaN where the "
    "window misses a value or the land cover has no class.",
    weights="A published Clay encoder (v1.5 Apache-2.0; of v1.0 the licence is stated differently in different places: "
    "unknown), given as a local file; without one every result says 'random encoder'.",
    measured="A map of 900 x 900 pixels on one CPU thread: 0.13 h with clay_tiny, 9.4 h in fp32 or 4.4 h in bf16 with "
    "clay_v1_5_large; cutting a scene 0.47 s. CPU seconds of a two-core machine (plugins/clay_ta/benchmarks). No GPU "
    "was measured.",
    limits=(
        "It was shown the KO area of GK-2A only: 900 x 900 pixels of 2 km.",
        "Never run on real GK-2A files: no open sample was at hand. What the demo writes is simulated.",
        "Clay has seen no thermal infrared: compare with clay_free and centre_ridge.",
    ),
    architecture="Vision Transformer with a regression head",
    kinds=("regression",),
)
_MODELS = {
    "clay_v1_5_large": (
        "Features of any sensor whose wavelengths are known, with the weights published as Clay v1.5.",
        "Random here. Published weights v1.5 (Apache-2.0): 'eozoo weights fetch', then model.weights=published of "
        "clay_ta, every tensor matched; no hash is cited, the first one seen is pinned.",
        "Forward 1.25 s, 1241 MB; with backward 4.46 s, 2834 MB",
    ),
    "clay_v1_base": (
        "The smaller published Clay, v1.0: a third of the cost of v1.5.",
        "Random here. Published weights v1.0, whose licence is stated differently in different places (unknown): "
        "'eozoo weights fetch', then model.weights=published of clay_ta, every tensor matched.",
        "Forward 0.363 s, 396 MB; with backward 1.22 s, 892 MB",
    ),
    "clay_small": (
        "A Clay to train from scratch.",
        "Random: none are published.",
        "Forward 0.043 s, 70 MB; with backward 0.158 s, 145 MB",
    ),
    "clay_tiny": (
        "A small Clay to train from scratch on a CPU.",
        "Random: none are published.",
        "Forward 0.0176 s, 39 MB; with backward 0.0501 s, 74 MB",
    ),
    "clay_micro": (
        "For tests.",
        "Random: none are published.",
        "Forward 0.0048 s, 26 MB; with backward 0.0145 s, 40 MB",
    ),
}
MODELS = {
    name: Card(
        purpose=purpose,
        inputs="Any bands, (B, C, H, W) z-scores per band, H = W a multiple of 8 px, no NaN; their central wavelengths "
        "in micrometres, pixel size in m, time (week, hour) and place as sines and cosines, zeros = not known.",
        outputs="Tokens: the class token, then patches of 8 px row by row; plain numbers.",
        weights=weights,
        measured=f"{speed}; input 32 x 16 x 24 x 24, {_ON}.",
        limits=(
            "Trained on 0.4 to 2.2 micrometres and radar; kernels for thermal infrared are extrapolations.",
            "Kernels of all bands depend on the whole set of wavelengths: leaving one out changes the others.",
        ),
        architecture="Vision Transformer (Clay)",
        kinds=("similarity-search",),
    )
    for name, (purpose, weights, speed) in _MODELS.items()
}
LOSS = Card(
    purpose="The documented loss: z-scores of temperature at stations.",
    inputs="Mean and target of one shape, (B, 1, H, W) z-scores; a target of NaN = no label, adds nothing.",
    outputs="(sum, count) over labelled values, squared z-scores; never NaN.",
    measured="Not measured.",
    limits=("Outlying stations pull strongly.", "It trains no uncertainty."),
)
DATASET = Card(
    purpose="The samples that clay_ta trains on, mapped from disk, for use in other loops.",
    inputs="SPLIT_chunk_00000.pt ... in data_dir, made by 'eozoo prepare clay_ta build_patches'. No data come with "
    "it: GK-2A and ASOS are open at KMA, with a key.",
    outputs="image (19, 9, 9): 10 infrared K, 6 solar albedos, zenith angle degrees, elevation m, land 1 and sea 0; "
    "target degC; time, place, land cover; no NaN: samples with a gap were left out.",
    measured="A shuffled batch of 256 from mapped chunks of 20,000: 1.0 ms of CPU, one thread "
    "(plugins/clay_ta/benchmarks/chunks.py).",
    limits=("Statistics are inside already: samples of two builds may not be mixed.",),
)
