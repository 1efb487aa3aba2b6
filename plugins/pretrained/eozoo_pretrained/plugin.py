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


@hookimpl
def eozoo_models() -> list[Spec]:
    """Presto's encoder."""
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
        )
    ]
