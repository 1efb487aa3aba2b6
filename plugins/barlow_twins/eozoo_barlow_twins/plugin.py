"""What this plugin offers. Light: importing it imports neither torch nor numpy."""

from eozoo_core import Card, Port, Slot, Spec, hookimpl

_SOURCE = "Lisaius et al. 2024, JSTARS 17:13162-13168; Zbontar et al. 2021, Barlow Twins, ICML"
_SERIES = (
    Port("bands", "B L C", "standardised: mean 0, deviation 1 per band"),
    Port("doys", "B L", "day of year 1..366"),
)
_EMBEDDING = (Port("embedding", "B D", "1"),)
_VIEWS = (Port("view", "B D", "1"), Port("view", "B D", "1"))
_LABELLED = (Port("logits", "B K", "1"), Port("target", "B", "class index"))
TWINS_SLOTS = {
    "model.backbone": Slot("model", feeds=_SERIES, wants=_EMBEDDING),
    "model.loss": Slot("loss", feeds=_VIEWS),
}
LANDCOVER_SLOTS = {
    "model.backbone": Slot("model", feeds=_SERIES, wants=_EMBEDDING),
    "model.loss": Slot("loss", feeds=_LABELLED),
}
_INPUTS = (
    "Tile folders: bands.npy (T, H, W, C) reflectance x 10000, masks.npy (1 = clear), doys.npy; 'eozoo prepare' makes "
    "them from scenes. Cloudy dates may be missing; a pixel needs more than data.min_valid clear ones. Statistics per "
    "band over clear pixels, pooled over tiles, travel in the run."
)
_LIMITS = (
    "Maps need a tile folder: raw scenes go through 'eozoo prepare' first.",
    "Square blocks know nothing of fields; write blocks.npy where fields are larger than a block.",
    "Labels of one year are best met by the dates of that year.",
)
_WEIGHTS = "None are published for it: it is pre-trained on your tiles."


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
            card=Card("Features of each pixel's season where labels are few or none.", _INPUTS, _WEIGHTS, "", _LIMITS),
        ),
        Spec(
            "barlow_landcover",
            f"{home}.landcover:LandCoverTask",
            "Land-cover maps from a pre-trained pixel time series encoder",
            citation=_SOURCE,
            card=Card(
                "Land-cover or crop maps from few labels, on an encoder pre-trained by barlow_twins.",
                f"{_INPUTS} labels.npy (H, W) class codes, 0 = none.",
                "Those of a barlow_twins run of yours (model.pretrained), or none.",
                "",
                _LIMITS,
            ),
        ),
    ]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Encoders of one pixel's time series."""
    lines = {
        "btfm_transformer": ("Transformer", "Transformer over the dates of a pixel, mean over time"),
        "btfm_mlp": ("MLP", "Fully connected network over the flattened series of a pixel"),
        "btfm_cnn": ("CNN", "Convolutions over the (dates, bands) picture of a pixel"),
    }
    return [
        Spec(name, f"eozoo_barlow_twins.nets:{cls}", line, takes=_SERIES, gives=_EMBEDDING, citation=_SOURCE)
        for name, (cls, line) in lines.items()
    ]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss between two views, and two for labelled pixels."""
    views, labelled = _VIEWS, _LABELLED
    home = "eozoo_barlow_twins"
    return [
        Spec("barlow_twins", f"{home}.loss:BarlowTwinsLoss", "Cross-correlation of two views to identity", takes=views),
        Spec("pixel_cross_entropy", f"{home}.loss:PixelCrossEntropy", "Cross-entropy per pixel", takes=labelled),
        Spec("pixel_focal", f"{home}.loss:PixelFocal", "Focal loss per pixel (Lin et al. 2017)", takes=labelled),
    ]
