"""What ``train --dry-run`` prints."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core import Network, Plan, Port, ZooError
from eozoo_core.task.describe import count_parameters
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.memory import StepMemory, step_memory
from eozoo_core.train.schedule import plan_steps

from eozoo_clay_ta.encoder_weights import RANDOM
from eozoo_clay_ta.model import TaModel, build_encoder, build_model, features_are_fixed
from eozoo_clay_ta.sample_schema import CHANNELS, EMPTY, NAMES, Normalisation, read_json
from eozoo_clay_ta.splits import open_splits
from eozoo_clay_ta.static import CLASSES

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.settings import TrainSettings
    from eozoo_core.task import Registry

    from eozoo_clay_ta.settings import ClayModel, ClaySettings

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
    times = plan_steps(train, len(stores["train"]))
    notes = [f"encoder: {options.weights or RANDOM}"] if options.type == "clay_transfer" else []
    if features_are_fixed(options):
        notes.append("the frozen encoder's features are computed once and cached; epochs train the head only")
    data = {split: f"{len(store):,} samples in {len(store.files)} chunks" for split, store in stores.items()}
    batch = min(train.batch_size, len(stores["train"]))
    memory = memory_of(model, options, train, batch, resolve_device(settings.runtime.device))
    return Plan.of(data, [model], times, memory, notes)


def memory_of(model: TaModel, options: ClayModel, train: TrainSettings, batch: int, device: str) -> StepMemory | None:
    """Return the memory of a step on ``batch`` samples, with features from the cache where they are."""
    import torch

    fixed = features_are_fixed(options)

    def work(networks: list[Any]) -> None:
        network = networks[0]
        sizes = {"x": (CHANNELS, 9, 9), "time7": (7,), "loc": (3,), "landcover_onehot": (CLASSES,)}
        given = {name: torch.empty(batch, *size) for name, size in sizes.items()}
        if fixed:
            given["features"] = torch.empty(batch, 2 * network.encoder.size.dim)
        elif network.encoder is not None:
            given["features"] = network.features_at(given, given["loc"][:1, 2])  # one pixel size, as in real batches
        network(given).square().sum().backward()

    return step_memory([model], work, train, device)


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
