"""What this plugin offers. Light: importing it imports neither torch nor numpy."""

from eozoo_core import Port, Slot, Spec, hookimpl

from eozoo_barlow_twins import cards

_SOURCE = "Lisaius et al. 2024, JSTARS 17:13162-13168; Zbontar et al. 2021, Barlow Twins, ICML"
_ZBONTAR = "Zbontar et al. 2021, Barlow Twins, arXiv:2103.03230"
_LIN = "Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002"
_SERIES = (
    Port("bands", "B L C", "standardised: mean 0, deviation 1 per band"),
    Port("doys", "B L", "day of year 1..366"),
)
_EMBEDDING = (Port("embedding", "B D", "1"),)
_FEEDS = (*_SERIES, Port("values", "B L C", "reflectance x 10000"))  # the same bands, as they are
_BACKBONE = Slot("model", feeds=_FEEDS, wants=_EMBEDDING, options=("in_channels", "sample_size", "bands"))
_VIEWS = (Port("view", "B D", "1"), Port("view", "B D", "1"))
_LABELLED = (Port("logits", "B K", "1"), Port("target", "B", "class index"))
_CODE = "class code, 0 = no label"
_PIXEL = (Port("bands", "T C", "reflectance x 10000"), Port("doys", "T", "day of year 1..366", dtype="int64"))
_TILE = (
    Port("bands", "T H W C", "reflectance x 10000"),
    Port("masks", "T H W", "1 = clear"),
    Port("doys", "T", "day of year 1..366", dtype="int64"),
)
_NAME = ("prepare.dataset.tile=NAME",)
_EMBEDDED = (Port("features", "D", "1"), Port("target", "", "class code"))
_PREPARED = {
    "prepare.dataset.series": Slot("dataset", wants=(*_PIXEL, Port("target", "", _CODE, optional=True)), also=_NAME),
    "prepare.dataset.tiles": Slot("dataset", wants=(*_TILE, Port("target", "H W", _CODE, optional=True)), also=_NAME),
}
TWINS_SLOTS = {
    "model.backbone": _BACKBONE,
    "model.loss": Slot("loss", feeds=_VIEWS),
    **_PREPARED,
}
LANDCOVER_SLOTS = {
    "model.backbone": _BACKBONE,
    "model.loss": Slot("loss", feeds=_LABELLED),
    **_PREPARED,
}


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """Pre-training without labels, and land cover on top of it."""
    home = "eozoo_barlow_twins"
    return [
        Spec(
            "barlow_twins",
            f"{home}.pretrain:BarlowTwinsTask",
            "Self-supervised encoder of Sentinel-2 pixel time series; embedding and false-colour maps",
            citation=_SOURCE,
            card=cards.TWINS,
        ),
        Spec(
            "barlow_landcover",
            f"{home}.landcover:LandCoverTask",
            "Land-cover maps from a pre-trained pixel time series encoder",
            citation=_SOURCE,
            card=cards.LANDCOVER,
        ),
    ]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Encoders of one pixel's time series."""
    lines = {
        "btfm_transformer": ("Transformer", 154_880, "Transformer over the dates of a pixel, mean over time"),
        "btfm_mlp": ("MLP", 68_800, "Fully connected network over the flattened series of a pixel"),
        "btfm_cnn": ("CNN", 871_040, "Convolutions over the (dates, bands) picture of a pixel"),
    }
    return [
        Spec(
            name,
            f"eozoo_barlow_twins.networks:{cls}",
            line,
            takes=_SERIES,
            gives=_EMBEDDING,
            citation=_SOURCE,
            card=cards.MODELS[name],
            parameters=parameters,
        )
        for name, (cls, parameters, line) in lines.items()
    ]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss between two views, and two for labelled pixels."""
    lines = {
        "barlow_twins": ("BarlowTwinsLoss", "Cross-correlation of two views to identity", _VIEWS, _ZBONTAR),
        "pixel_cross_entropy": ("PixelCrossEntropy", "Cross-entropy per pixel", _LABELLED, "none: textbook"),
        "pixel_focal": ("PixelFocal", "Focal loss per pixel", _LABELLED, _LIN),
    }
    return [
        Spec(name, f"eozoo_barlow_twins.loss:{cls}", line, takes=takes, citation=citation, card=cards.LOSSES[name])
        for name, (cls, line, takes, citation) in lines.items()
    ]


@hookimpl
def eozoo_datasets() -> list[Spec]:
    """Tiles, pixel by pixel and whole."""
    lines = {
        "pixel_series": ("PixelSeriesDataset", "Series of the usable pixels of tile folders", _PIXEL),
        "pixel_tiles": ("PixelTilesDataset", "Whole tile folders of a season, arrays mapped", _TILE),
    }
    return [
        Spec(name, f"eozoo_barlow_twins.datasets:{cls}", line, gives=gives, citation=_SOURCE, card=cards.DATASETS[name])
        for name, (cls, line, gives) in lines.items()
    ] + [
        Spec(
            "embeddings",
            "eozoo_barlow_twins.embeddings:EmbeddingsDataset",
            "Embeddings of the pixels of tile folders by a barlow_twins run, with their label codes",
            gives=_EMBEDDED,
            citation=_SOURCE,
            card=cards.DATASETS["embeddings"],
        )
    ]
