"""What ``train --dry-run`` prints."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core import Network, Plan, Port, ZooError
from eozoo_core.task.describe import count_parameters
from eozoo_core.train.schedule import plan_steps

from eozoo_clay_ta.encoder_weights import RANDOM
from eozoo_clay_ta.model import build_encoder, build_model, features_are_fixed
from eozoo_clay_ta.sample_schema import CHANNELS, EMPTY, NAMES, Normalisation, read_json
from eozoo_clay_ta.splits import open_splits

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_clay_ta.settings import ClaySettings

_UNITS = "10 brightness temperatures K, 6 albedos, solar zenith angle degrees, elevation m, land 1 and sea 0"
_NAMES = {"clay_free": "convolution and head, without Clay", "centre_ridge": "ridge regression"}


def make_plan(settings: ClaySettings, registry: Registry | None = None) -> Plan:
    """Open the chunks and build the network without weights (on the meta device); raises what training would."""
    import torch

    folder, options, train = Path(settings.runtime.data_dir), settings.model, settings.train
    stores = open_splits(settings)
    norm = Normalisation.from_state(read_json(folder / "normalisation.json"))
    with nullcontext() if options.network else torch.device("meta"):  # others may look at their values
        model = build_model(options, norm, build_encoder(options), registry)
    if options.weights and not Path(options.weights).exists():
        raise ZooError(f"model.weights {options.weights}: no such file")
    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    times = plan_steps(train, len(stores["train"]))
    fixed = features_are_fixed(options)
    notes = [f"encoder: {options.weights or RANDOM}"] if options.type == "clay_transfer" else []
    if fixed:
        notes.append("the frozen encoder's features are computed once and cached; epochs train the head only")
    data = {split: f"{len(store):,} samples in {len(store.files)} chunks" for split, store in stores.items()}
    # Weights once; of what is trained also gradient and two moments. Activations of a trained encoder are not counted.
    memory = 4 * (parameters + 3 * trainable) if fixed or options.type != "clay_transfer" else None
    return Plan(data, parameters, trainable, times.per_epoch, times.total, memory, tuple(notes))


def describe(settings: ClaySettings, registry: Registry | None, units: dict[str, str], run: Run | None) -> Network:
    """Return what the network takes and gives, ``units`` of every output; see ``Task.network``."""
    from eozoo_core.task.load import read_trained

    options, mean, std, pretrained = settings.model, (), (), None
    name = options.network.name if options.network else _NAMES.get(options.type)
    if run is not None:
        state = read_trained(run, settings).state
        mean, std = (tuple(state[name].tolist()) for name in ("mean", "std"))
        known = run.info().get("encoder", {})
        if known.get("weights", RANDOM) not in (RANDOM, "none"):
            pretrained = known["weights"]
    return Network(
        architecture=name or f"{options.encoder} with a regression head",
        parameters=count_parameters(lambda: build_model(options, EMPTY, build_encoder(options), registry, False)),
        inputs=(
            Port("x", f"B {CHANNELS} 9 9", _UNITS, NAMES, mean, std),
            Port("time", "B", "seconds since 1970-01-01 UTC", dtype="float64"),
            Port("lat", "B", "degrees north"),
            Port("lon", "B", "degrees east"),
            Port("landcover", "B", "class 0..16", dtype="int64"),
        ),
        outputs=tuple(Port(name, "B", unit) for name, unit in units.items()),
        pretrained=pretrained,
    )
