"""What this plugin offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Port, Slot, Source, Spec, hookimpl

from eozoo_prithvi_refine import cards
from eozoo_prithvi_refine.variants import BANDS, MEAN, STD

_BANDS = Port("bands", "B 6 H W", "standardised reflectance x 10000", BANDS, MEAN, STD)
_TOKENS = Port("tokens", "B N D")
_IMAGE = Port("image", "B 4 H W", "reflectance 0..1")
_CODES = (Port("month", "B", "1..12"), Port("biome", "B", "0..16"))
_PAIRS = (_IMAGE, Port("reference", "B 4 H W", "reflectance 0..1"), Port("valid", "B H W"))
PAIR = (
    Port("image", "4 H W", "reflectance 0..1"),
    Port("target", "4 H W", "reflectance 0..1"),
    Port("month", "", "1..12", optional=True),
    Port("biome", "", "0..16", optional=True),
    Port("time", "2", "year, day of the year", optional=True),
    Port("location", "2", "degrees north, degrees east", optional=True),
)
SLOTS = {f"train.{name}": Slot("loss", feeds=_PAIRS) for name in ("spectral_loss", "identity_loss", "target_loss")}
_MAP = (Port("image", "B 4 H W"), Port("values", "B 4 H W"), Port("missing", "B 4 H W", "1 = missing"))
SLOTS["model.context"] = Slot(
    "model",
    feeds=_MAP,
    wants=(Port("logits", "B K H W", "1"),),
    options=("in_channels", "outputs", "bands"),
)
SLOTS["data.dataset"] = Slot("dataset", wants=PAIR, options=("split",))
_HUB = "https://huggingface.co/ibm-nasa-geospatial"
_PRITHVI = "Szwarcman et al. 2024, Prithvi-EO-2.0, arXiv:2412.02732"
_PARTS = "Liu et al. 2022, ConvNeXt, arXiv:2201.03545; Hu et al. 2021, LoRA, arXiv:2106.09685"
_STAGE2 = "Axion-Sat, Stage 2: Prithvi Refinement Training Guide, 2025"
_SIZES = {
    "prithvi_eo_v2_600": (631_188_480, "631 million parameters, patches of 14 px"),
    "prithvi_eo_v2_300": (303_886_336, "304 million parameters, patches of 16 px"),
    "prithvi_eo_v2_100": (86_237_184, "86 million parameters, patches of 16 px"),
    "prithvi_eo_v2_tiny": (5_634_048, "5.6 million parameters, patches of 16 px"),
}


def sources_of(name: str) -> tuple[Source, ...]:
    """Where the two large encoders are published; no hash can be cited, so fetching pins the first one seen."""
    size, suffix = (name.removesuffix("_tl"), "_TL") if name.endswith("_tl") else (name, "")
    if size not in ("prithvi_eo_v2_600", "prithvi_eo_v2_300"):
        return ()
    millions = size.removeprefix("prithvi_eo_v2_")
    file = f"Prithvi_EO_V2_{millions}M{suffix}.pt"
    repository = f"Prithvi-EO-2.0-{millions}M{suffix.replace('_', '-')}"
    return (Source(f"{_HUB}/{repository}/resolve/main/{file}", file, "main", licence="Apache-2.0"),)


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    summary = "Optical images refined by Prithvi-EO-2.0 (8 bit, LoRA) and a ConvNeXt head, given month and biome"
    citation = f"{_STAGE2}; {_PRITHVI}"
    return [
        Spec("prithvi_refine", "eozoo_prithvi_refine.task:PrithviRefine", summary, citation=citation, card=cards.TASK)
    ]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Encoders of every published size, the refiner and its discriminator."""
    needs = (("timm", "timm>=1.0"),)
    encoders = [
        Spec(
            name + suffix,
            f"eozoo_prithvi_refine.encoder:{name}{suffix}",
            f"Prithvi-EO-2.0 encoder{text}, {size}",
            needs=needs,
            takes=(_BANDS,),
            gives=(_TOKENS,),
            citation=_PRITHVI,
            sources=sources_of(name + suffix),
            card=cards.encoder(name + suffix, bool(sources_of(name + suffix))),
            parameters=parameters + (2 if suffix else 0),
        )
        for name, (parameters, size) in _SIZES.items()
        for suffix, text in (("", ""), ("_tl", " with time and location"))
    ]
    refiner = Spec(
        "prithvi_refiner",
        "eozoo_prithvi_refine.registered:prithvi_refiner",
        "Prithvi with LoRA, metadata and a full-resolution ConvNeXt head; returns image and features",
        needs=(*needs, ("peft", "peft>=0.17"), ("bitsandbytes", "bitsandbytes>=0.48")),
        takes=(_IMAGE, *_CODES),
        gives=(Port("refined", "B 4 H W", "reflectance 0..1.5"), Port("features", "B C H W")),
        citation=f"{_STAGE2}; {_PRITHVI}; {_PARTS}",
        card=cards.REFINER,
        parameters=5_992_842,
    )
    judge = Spec(
        "patch_discriminator",
        "eozoo_prithvi_refine.discriminator:patch_discriminator",
        "Light PatchGAN discriminator that sees 34 px",
        takes=(_IMAGE,),
        gives=(Port("scores", "B 1 h w"),),
        citation="Isola et al. 2017, arXiv:1611.07004",
        card=cards.JUDGE,
        parameters=168_545,
    )
    dense = Spec(
        "prithvi_dense",
        "eozoo_prithvi_refine.dense:prithvi_dense",
        "Maps with a Prithvi encoder: any bands in, a value for every pixel out, any size",
        needs=needs,
        takes=(Port("image", "B C H W"),),
        gives=(Port("mean", "B 1 H W"), Port("log_scale", "B 1 H W"), Port("logits", "B K H W", "1")),
        citation=f"{_PRITHVI}; Liu et al. 2022, ConvNeXt, arXiv:2201.03545",
        card=cards.DENSE,
        parameters=5_666_556,
    )
    return [*encoders, refiner, judge, dense]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """Losses of refined against reference, with a mask of valid pixels."""
    takes = _PAIRS
    return [
        Spec(
            "spectral_plausibility",
            "eozoo_prithvi_refine.losses:spectral_plausibility",
            "RMSE of NDVI and EVI, and spectral angle",
            takes=takes,
            citation=_STAGE2,
            card=cards.LOSSES["spectral_plausibility"],
        ),
        Spec(
            "identity_edge",
            "eozoo_prithvi_refine.losses:identity_edge",
            "Absolute difference and that of Sobel edges",
            takes=takes,
            citation=_STAGE2,
            card=cards.LOSSES["identity_edge"],
        ),
    ]


@hookimpl
def eozoo_datasets() -> list[Spec]:
    """Tiles as pairs of input and target."""
    return [
        Spec(
            "refine_tiles",
            "eozoo_prithvi_refine.data:refine_tiles",
            "NPZ tiles with a stage-1 output or a seeded degradation as input",
            gives=PAIR,
            citation=_STAGE2,
            card=cards.DATASET,
        )
    ]
