"""What this plugin offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Port, Slot, Spec, hookimpl

from eozoo_gedi_sparse import cards

_IMAGE = Port("image", "B C H W")
_MEAN = Port("mean", "B 1 H W")
_LOG_SCALE = Port("log_scale", "B 1 H W")
_LOGITS = Port("logits", "B K H W", "1")
_FEEDS = (_IMAGE, Port("values", "B C H W"), Port("missing", "B C H W", "1 = missing"))
SLOTS = {
    "model": Slot("model", feeds=_FEEDS, wants=(_MEAN,), options=("in_channels", "outputs", "bands")),
    "model.loss": Slot("loss", feeds=(Port("target", "B 1 H W", "m or Mg/ha"),), after="model"),
    "prepare.dataset.source": Slot("dataset", wants=(Port("image", "C H W"), Port("target", "1 H W"))),
}
_LANG = "Lang et al. 2023, A high-resolution canopy height model of the Earth, doi:10.1038/s41559-023-02206-6"
_THAILAND = "rsongphon, Satellite-Based AGB and CHM Estimation, M2GARSS 2024, doi:10.1109/M2GARSS57310.2024.10537362"


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task; its verbs live in ``task``."""
    summary = "Canopy height or biomass maps with their uncertainty from sparse GEDI shots"
    target = "eozoo_gedi_sparse.task:GediSparse"
    return [Spec("gedi_sparse", target, summary, citation=f"{_THAILAND}; {_LANG}", card=cards.TASK)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Networks: bands in; out mean and log-scale, or a logit per class."""

    def spec(name: str, parameters: int, summary: str, citation: str, needs: tuple[tuple[str, str], ...] = ()) -> Spec:
        place, card = f"eozoo_gedi_sparse.networks:{name}", cards.MODELS[name]
        ports = ((_IMAGE,), (_MEAN, _LOG_SCALE, _LOGITS))
        return Spec(name, place, summary, needs, *ports, citation=citation, card=card, parameters=parameters)

    return [
        spec(
            "gedi_unet",
            17_250_818,
            "U-Net for mean and log-variance, 17 million parameters, any bands and size",
            f"Ronneberger et al. 2015, U-Net, arXiv:1505.04597; {_THAILAND}",
        ),
        spec(
            "timm_unet",
            14_369_282,
            "U-Net around any timm encoder, any bands and size",
            "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861",
            (("timm", "eozoo-gedi-sparse[timm]"),),
        ),
        spec(
            "context_net",
            3_842,
            "Small network for a few hundred shots: pixel, neighbourhood means, one hidden layer",
            "none: made for this plugin, see docs/real_data_gedi.md",
        ),
    ]


@hookimpl
def eozoo_datasets() -> list[Spec]:
    """Patches with labels in few pixels."""
    return [
        Spec(
            "sparse_tiles",
            "eozoo_gedi_sparse.data:sparse_tiles",
            "Pairs of band and label patches (.npy or GeoTIFF), NaN = no label",
            gives=(Port("image", "C H W"), Port("target", "1 H W")),
            citation=_THAILAND,
            card=cards.DATASET,
        )
    ]
