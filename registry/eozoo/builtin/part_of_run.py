"""A part of a trained run as a module: a registered network with its weights, or a whole run that gives one output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from eozoo_core import Run, Slot, Spec, Task
from eozoo_core.errors import ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.run.continuity import run_info
from eozoo_core.run.manifest import quick_sha256
from eozoo_core.settings import Named
from eozoo_core.settings.config import build_settings, to_dict
from eozoo_core.task.build import begun, plain, shapes_alone
from eozoo_core.task.ensemble import member_count
from eozoo_core.task.load import Trained, load_trained, read_trained
from eozoo_core.task.part import PartOfRun, matched, rest
from eozoo_core.task.predict import load_survey
from eozoo_core.task.survey import Survey
from eozoo_core.train.rng import kept_generators
from torch import nn

from eozoo.registry import Registry
from eozoo.trained_with import registry_of


def from_run(
    run: str,
    part: str = "",
    freeze: bool = False,
    new: Sequence[str] | str = (),
    made: dict | None = None,
    pretrained: bool = True,
    registry: Registry | None = None,
    others: dict[str, Any] | None = None,
) -> nn.Module:
    """A part of the trained run ``run``: its registered network (part ""), or the whole run.

    part: "" or the setting that names the network (model.backbone, or backbone alone); "whole", or the name of an
    output of the run: everything from its inputs to that output ("whole": the first). freeze: what is loaded is not
    trained and stays in evaluation mode. new: names of tensors, or beginnings of them, that begin at random, such as a
    head of another shape; all others must match. others: options of the network, which is as its run built it where
    they are not given. made: what the part is made of; training fills it in, and then the run is not needed again.
    pretrained: false = build it only, its weights are loaded over it.
    """
    registry = registry or Registry.discover()
    new = (new,) if isinstance(new, str) else tuple(new)
    made = made or describe_part(registry, Path(run), part)
    if "name" not in made:
        return _whole(registry, run, made, freeze, pretrained)
    options = {**made["options"], **(others or {})}
    network = registry.create("model", made["name"], options)
    if pretrained:
        state, file = _trained_part(registry, run, made)
        loaded, receipt = matched(network, state, new, f"{file}: {made['name']}")
        network.receipt = _told(made, receipt)
    else:
        loaded = {name for name in network.state_dict() if not (new and name.startswith(new))}
    return rest(network, loaded) if freeze else network


def describe_part(registry: Registry, path: Path, part: str) -> dict[str, Any]:
    """Return what rebuilds ``part`` of the run at ``path`` without it, in plain values.

    Always "task", "part", "best" (SHA-256 of best.pt) and "weights" (what the run began with). Of a network its "name",
    "options", and "bands", "mean" and "std" of the run; of a whole run "settings", "survey", "takes", "gives".
    """
    opened = _Opened.of(registry, path)
    task, survey = opened.task, opened.survey
    recorder = task.registry
    system = shapes_alone(lambda: plain(task, survey, fresh=False))
    outputs = [port.role for port in system.outputs if port.spread != "class"]
    known = {"task": opened.run.task, "best": quick_sha256(opened.run.file("best"))}
    known["weights"] = run_info(path).get("weights", "")
    if part == "whole" or part in outputs:
        output = part if part in outputs else outputs[0]
        gives = [port for port in system.outputs if port.role == output]
        ports = {"takes": system.inputs, "gives": gives}
        held = {"settings": to_dict(opened.run.settings), "survey": survey.model_dump(mode="json")}
        return {**known, "part": output, **held, **{side: [asdict(port) for port in p] for side, p in ports.items()}}
    slots = [path for path, slot in type(task).slots.items() if slot.kind == "model"]
    slots = [path for path in slots if attrgetter(path)(task.settings) is not None]
    places = [slot for slot in slots if part in ("", slot, slot.rpartition(".")[2])]
    inside = recorder.inside(system)
    if not inside or not places:
        names = ", ".join([*(slots if inside else []), "whole", *outputs])
        what = f"has no part {part!r}" if part else "holds no registered network"
        raise ZooError(f"from_run: {path} {what}; options.part is one of {names}")
    if len(inside) > 1:
        raise ZooError(f"from_run: {path} holds {len(inside)} registered networks; take the whole run: part=whole")
    (made,) = inside
    scaled = {"bands": survey.names, "mean": survey.mean, "std": survey.std}
    lists = {key: list(values) for key, values in scaled.items()}
    return {**known, "part": places[0], "name": made.name, "options": made.options, **lists}


def _trained_part(registry: Registry, run: str, made: dict[str, Any]) -> tuple[dict[str, torch.Tensor], Path]:
    """Return the state of a registered network in best.pt, and that file."""
    opened = _Opened.of(registry, Path(run))
    opened.require(made)

    def build(trained: Trained) -> nn.Module:
        return begun(opened.task, opened.survey, trained, adapt=True)

    with kept_generators():  # what is drawn afterwards, a new head, is the same wherever the weights come from
        system, _ = load_trained(opened.run, opened.run.settings, build, None, "cpu")
    return opened.task.registry.inside(system)[0].network.state_dict(), opened.run.file("best")


def _whole(registry: Registry, run: str, made: dict[str, Any], freeze: bool, pretrained: bool) -> PartOfRun:
    if not pretrained:
        cls = registry.get("task", made["task"])
        task = cls(build_settings(cls.Settings, made["settings"], f"from_run of {run}"), registry)
        system = plain(task, cls.Survey.model_validate(made["survey"]), fresh=False)
        return PartOfRun(system, made["part"], freeze)
    opened = _Opened.of(registry, Path(run))
    opened.require(made)
    trained = read_trained(opened.run, opened.run.settings)
    system = begun(opened.task, load_survey(opened.task, trained), trained, adapt=False)

    def load() -> None:
        load_module(system, trained.state, trained.file)

    part = PartOfRun(system, made["part"], freeze, load)
    tensors = len(trained.state)
    part.receipt = _told(made, f"{trained.file}: {made['task']}, all {tensors} tensors of the run")
    return part


def _told(made: dict[str, Any], receipt: str) -> str:
    began = f"; that run began with {made['weights']}" if made["weights"] else ""
    return f"{receipt}; sha256 {made['best'][:16]}...{began}"


@dataclass(frozen=True)
class _Built:
    name: str
    options: dict[str, Any]
    network: nn.Module


@dataclass
class _Recorder:
    """A registry that remembers which models it built, and with which options."""

    registry: Registry
    built: list[_Built] = field(default_factory=list)

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build as the registry does; of a part of another run what that is made of counts."""
        found = self.registry.create(kind, name, options)
        if kind == "model":
            plain_options = {key: value for key, value in options.items() if key != "pretrained"}
            made = plain_options.get("made") or {}
            if "name" in made:
                own = ("run", "part", "freeze", "new", "made")
                sizes = {key: value for key, value in plain_options.items() if key not in own}
                name, plain_options = made["name"], {**made["options"], **sizes}
            self.built.append(_Built(name, plain_options, found))
        return found

    def chosen(self, slot: Slot, part: Named) -> Spec:
        """See `Registry.chosen`."""
        return self.registry.chosen(slot, part)

    def inside(self, system: nn.Module) -> list[_Built]:
        """Those that are a part of ``system``."""
        held = {id(module) for module in system.modules()}
        return [one for one in self.built if id(one.network) in held]


@dataclass(frozen=True)
class _Opened:
    run: Run
    task: Task
    survey: Survey

    @classmethod
    def of(cls, registry: Registry, path: Path) -> _Opened:
        """Open the run of one network at ``path``. Raises ZooError where there is none, or it holds several."""
        from eozoo_core.task.evaluate import survey_of

        registry = registry_of(registry, Run.task_of(path), path)
        target = registry.get("task", registry.own.qualified)
        run = Run.open(path, target.Settings)
        if (members := member_count(run.settings)) > 1:
            raise ZooError(f"from_run: {path} holds {members} networks; name one: options.run={path}/member_0")
        task = target(run.settings, _Recorder(registry))
        return cls(run, task, survey_of(task, run))

    def require(self, made: dict[str, Any]) -> None:
        """Raise ZooError where best.pt is not the one that ``made`` describes."""
        found = quick_sha256(self.run.file("best"))
        if found != made["best"]:
            raise ZooError(
                f"{self.run.file('best')}: is another one (sha256 {found[:16]}...) than the settings describe "
                f"({made['best'][:16]}...); leave options.made out to take it as it is now"
            )
