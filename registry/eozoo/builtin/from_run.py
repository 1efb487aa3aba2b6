"""The model ``from_run`` as a name: a part of a trained run for any slot whose Ports agree. Light: no torch."""

from __future__ import annotations

import os
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from eozoo_core import Card, Port, Spec
from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from pathlib import Path

    from eozoo_core import Slot, TaskSettings

    from eozoo.registry import Registry

NAME = "from_run"
MODELS = [
    Spec(
        NAME,
        "eozoo.builtin.part_of_run:from_run",
        "A part of a trained run: its network, or the whole of it, to be fine-tuned in any task",
        ports_of="eozoo.builtin.from_run:ports_of",
        citation="none: made for eozoo",
        card=Card(
            purpose="Fine-tune or build on what another run learned, in any slot whose Ports agree with that part.",
            inputs="What the part takes: of a network that of its registered name, of a whole run its inputs.",
            outputs="What the part gives. Both stand in the run: without options.run nothing is known of them.",
            weights="Those of RUN/best.pt, every tensor matched; what RUN began with is told in the receipt.",
            measured="Not measured: as fast as the part is.",
            limits=(
                "A network gets the bands scaled as the new task scales them, not as its run did "
                "(barlow_landcover takes the statistics of the run).",
                "A whole run fits only slots that say the unit of what they feed.",
                "Of an ensemble one member: run=RUN/member_0.",
            ),
            architecture="that of the part",
            kinds=("regression", "classification", "semantic-segmentation", "similarity-search"),
        ),
    )
]


def ports_of(registry: Registry, spec: Spec, slot: Slot, options: dict[str, Any]) -> Spec:
    """Return ``spec`` with the Ports of the part that ``options`` name; see `Spec.ports_of`.

    Raises ZooError where they name no run, and for a whole run in a slot that does not say its units.
    """
    made = options.get("made") or describe(registry, options)
    try:
        if "name" in made:
            inner = registry.find("model", made["name"]).spec
            scaled = {name: tuple(made[name]) for name in ("bands", "mean", "std")}
            takes = (replace(port, **scaled) if "C" in port.axes.split() else port for port in inner.takes)
            return replace(spec, takes=tuple(takes), gives=inner.gives)
        takes, gives = (tuple(Port(**port) for port in made[side]) for side in ("takes", "gives"))
    except (KeyError, TypeError):
        raise ZooError(f"{NAME}: options.made describes no part of a run; leave it out, training fills it in") from None
    for port in takes:
        fed = next((one for one in slot.feeds if one.role == port.role), None)
        if fed is not None and (port.unit or port.units) and not fed.unit:
            raise ZooError(
                f"{NAME}: the whole run takes {port}, and the slot does not say in which unit it gives {fed}; take the "
                "run's network alone (no options.part), or build on module() in Python"
            )
    return replace(spec, takes=takes, gives=gives)


def describe(registry: Registry, options: dict[str, Any]) -> dict[str, Any]:
    """Return what rebuilds the part without its run; see `part_of_run.describe_part`."""
    if not options.get("run"):
        raise ZooError(f"{NAME}: say which run: --set model.options.run=RUN, for example runs/twins")
    from pathlib import Path

    new, words = options.get("new", ()), [options["run"], options.get("part", "")]
    if not isinstance(new, str | list | tuple) or not all(isinstance(w, str | Path) for w in [*words, *new]):
        raise ZooError(f"{NAME}: options.run and part are words, options.new is a list of words such as [head]")
    from eozoo.builtin.part_of_run import describe_part

    return describe_part(registry, Path(options["run"]), options.get("part", ""))


def settle(registry: Registry, cls: Any, settings: TaskSettings, run_dir: Path) -> TaskSettings:
    """Return ``settings`` in which every ``from_run`` says what it is made of, so that no other run is needed later.

    Where the run at ``run_dir`` has the same part already, of a best.pt of the same content or of one that is gone, it
    goes on with that. Raises ZooError as `describe`.
    """
    from eozoo_core.run.continuity import written_settings
    from eozoo_core.settings.config import build_settings, leaf, to_dict

    paths = [path for path, slot in cls.slots.items() if slot.kind == "model"]
    parts = {path: attrgetter(path)(settings) for path in paths}
    open_ones = [path for path, part in parts.items() if part is not None and part.name == NAME and _unsettled(part)]
    if not open_ones:
        return settings
    before = to_dict(written_settings(run_dir, cls.Settings)) if (run_dir / "config.yaml").exists() else {}
    values = to_dict(settings)
    for path in open_ones:
        here, kept = leaf(values, path)["options"], (leaf(before, path) or {}).get("options", {})
        here["made"] = _made(registry, here, kept)
        if here["made"] == kept.get("made"):
            here["run"] = kept["run"]  # only what lies there counts
    return build_settings(cls.Settings, values)


def _unsettled(part: Any) -> bool:
    return not part.options.get("made")


def _made(registry: Registry, here: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    same = {name: here.get(name) for name in ("run", "part")} == {name: kept.get(name) for name in ("run", "part")}
    if same and kept.get("made") and not os.path.exists(f"{here['run']}/best.pt"):  # noqa: PTH110 - pathlib is slow to import
        return kept["made"]
    return describe(registry, here)
