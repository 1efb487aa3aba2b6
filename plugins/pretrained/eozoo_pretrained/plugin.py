"""What this plugin offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Card, Port, Source, Spec, hookimpl

BANDS = ("VV", "VH", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12", "temperature_2m",
         "total_precipitation", "elevation", "slope", "NDVI")  # fmt: skip
REVISION = "13173d028f035abcbcc3b13829314323a5c15d02"
PRESTO_SOURCES = (
    Source(
        f"https://github.com/nasaharvest/presto/raw/{REVISION}/data/default_model.pt",
        "presto_default_model.pt",
        REVISION,
        3_321_716,
        "559c9d76f525bdf2dd3774da8b1e7f1510769b73baacac12e9e4d8d5c67fbe65",
        "MIT",
    ),
)
GALILEO_REVISION = "0f0b5b95ac81acef4b74cf4686dc877202f4541b"
GALILEO_SOURCES = (
    Source(
        f"https://github.com/nasaharvest/galileo/raw/{GALILEO_REVISION}/data/models/nano/encoder.pt",
        "galileo_nano_encoder.pt",
        GALILEO_REVISION,
        4_189_406,
        "eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c",
        "MIT",
    ),
)
GALILEO_CARD = Card(
    purpose="Features of patches for maps with few labels, frozen or fine-tuned.",
    inputs="Bands of any of its groups, known by name: S1 in dB, Sentinel-2 reflectance, NDVI, elevation (m) and slope "
    "(degree), Dynamic World and WorldCereal shares, weather; several dates as DATE_BAND; bands lat and lon. Groups "
    "that are not there, or are missing in a patch, are masked.",
    outputs="As many channels as asked for: mean, mean and log-scale, or a logit per class; NaN never.",
    weights="Those of the paper's authors, MIT; without 'pretrained' it begins at random.",
    measured="Forward 3.86 s, 222 MB; with backward 9.99 s, 1480 MB; input 1 x 12 x 128 x 128, CPU seconds of one "
    "thread of 2 x AMD EPYC with other work beside it; larger squares (options.window) are faster.",
    limits=(
        "At most 24 dates, meant to be months.",
        "A token is one patch of 1 to 8 px; what lies around it counts within a square of options.window tokens.",
    ),
    architecture="Transformer",
    kinds=("regression", "semantic-segmentation", "similarity-search"),
)
CARD = Card(
    purpose="Features of a pixel's year, for tables of samples with few labels.",
    inputs="Columns BAND_DATE: S1 in dB, S2 reflectance, temperature (K), precipitation (m), elevation (m), slope "
    "(degree), NDVI, dynamic_world (class 0..8), month (1..12), beside lat and lon. What is missing is masked.",
    outputs="128 features of a row; no NaN.",
    weights="Those of the paper's authors, MIT; without 'pretrained' it begins at random.",
    measured="Forward 3.44 s, 920 MB; with backward 9.23 s, 2206 MB; input 1024 x 48, CPU seconds of one thread of 2 x "
    "AMD EPYC with other work beside it; the input is twelve dates of four bands.",
    limits=("At most 24 dates, meant to be months.", "Terrain is taken from the first date."),
    architecture="Transformer",
    kinds=("similarity-search",),
)
SERIES_CARD = Card(
    purpose="Features of a pixel's clear dates, for land cover with few labels.",
    inputs="Sentinel-2 bands of each date in reflectance x 10000, known by name, and the days of the year; bands that "
    "are not there are masked.",
    outputs="128 features of a series; no NaN.",
    weights="Those of the paper's authors, MIT; without 'pretrained' it begins at random.",
    measured="Forward 5.26 s, 1229 MB; with backward 14 s, 2887 MB; input 1024 x 16 x 10, CPU seconds of one thread of "
    "2 x AMD EPYC with other work beside it.",
    limits=(
        "At most 24 dates, each where its month is after that of the first.",
        "Neither weather, terrain, radar nor place are fed.",
    ),
    architecture="Transformer",
    kinds=("similarity-search",),
)


@hookimpl
def eozoo_models() -> list[Spec]:
    """Presto's encoder of series and Galileo's of patches."""
    takes = (Port("columns", "B F"), Port("missing", "B F", "1 = missing"))
    gives, cite = (Port("embedding", "B 128"),), "Tseng et al. 2023, Presto, arXiv:2304.14065"
    target, summary = "eozoo_pretrained.presto_columns:presto", "Presto: a pretrained encoder of pixel series"
    return [
        Spec(
            "presto",
            target,
            summary,
            takes=takes,
            gives=gives,
            citation=cite,
            card=CARD,
            sources=PRESTO_SOURCES,
            parameters=404_160,
        ),
        Spec(
            "presto_series",
            "eozoo_pretrained.presto_series:presto_series",
            "Presto for series of Sentinel-2, as an encoder of barlow_twins and barlow_landcover",
            takes=(Port("values", "B L C", "reflectance x 10000"), Port("doys", "B L", "day of year 1..366")),
            gives=gives,
            citation=cite,
            card=SERIES_CARD,
            sources=PRESTO_SOURCES,
            parameters=404_160,
        ),
        Spec(
            "galileo_nano",
            "eozoo_pretrained.galileo_dense:galileo_nano",
            "Galileo nano: a pretrained encoder of patches, as a network for maps",
            takes=(
                *(Port("image", "B C H W"), Port("values", "B C H W")),
                Port("missing", "B C H W", "1 = missing"),
            ),
            gives=(Port("mean", "B 1 H W"), Port("log_scale", "B 1 H W"), Port("logits", "B K H W", "1")),
            citation="Tseng et al. 2025, Galileo, arXiv:2502.09356",
            card=GALILEO_CARD,
            sources=GALILEO_SOURCES,
            parameters=1_061_409,
        ),
    ]
