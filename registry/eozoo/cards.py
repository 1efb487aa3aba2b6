"""Everything that is known about a name, as plain values: for ``eozoo show``, as text or JSON."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.spec import KINDS, Port

if TYPE_CHECKING:
    from eozoo.registry import Entry, Registry


def describe(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Return a card per kind that ``name`` is registered as. Raises ZooError where it is none.

    A part that cannot be imported here still has a card: what is declared, and under "problem" what is wrong.
    """
    kinds = [kind for kind in KINDS if name in registry.names(kind)]
    if not kinds:
        known = [n for kind in KINDS for n in registry.names(kind)]
        raise ZooError(f"nothing is called {name!r}.{did_you_mean(name, known)}")
    return [_card(registry, registry.find(kind, name)) for kind in kinds]


def _card(registry: Registry, entry: Entry) -> dict[str, Any]:
    spec = entry.spec
    card = {
        "kind": entry.kind,
        "name": spec.name,
        "summary": spec.summary,
        "plugin": entry.plugin,
        "licence": spec.licence,
        **asdict(spec.card),
        "takes": [_port(port) for port in spec.takes],
        "gives": [_port(port) for port in spec.gives],
        "needs": [requirement for _, requirement in spec.needs],
        "sources": [asdict(source) for source in spec.sources],
        "citation": spec.citation,
    }
    try:
        target = registry.get(entry.kind, spec.name)
    except ZooError as error:
        return {**card, "problem": str(error)}
    return {**card, **(_task(target, registry) if entry.kind == "task" else _factory(entry, target))}


def _port(port: Port) -> dict[str, str]:
    return {**asdict(port), "text": str(port)}


def _task(cls: Any, registry: Registry) -> dict[str, Any]:
    settings = cls.Settings()
    slots = {}
    for path, slot in cls.slots.items():
        named = settings
        for part in path.split("."):
            named = getattr(named, part)
        fed = ()
        if slot.after:
            before = settings
            for part in slot.after.split("."):
                before = getattr(before, part)
            fed = registry.find(cls.slots[slot.after].kind, before.name).spec.gives
        slots[path] = {
            "kind": slot.kind,
            "now": None if named is None else named.name,
            "fits": registry.fitting(slot, fed),
        }
    return {
        "outputs": cls(settings, registry).outputs(),
        "slots": slots,
        "tolerates_gaps": list(cls.tolerates_gaps),
        "prepare_steps": dict(cls.prepare_steps),
    }


def _factory(entry: Entry, target: Any) -> dict[str, Any]:
    parameters = inspect.signature(target).parameters.values()
    options = {p.name: None if p.default is p.empty else repr(p.default) for p in parameters}
    found: dict[str, Any] = {"options": options, "about": inspect.getdoc(target) or ""}
    if entry.kind == "model" and all(p.default is not p.empty for p in parameters):
        found["parameters"] = _count(target)
    return found


def _count(factory: Any) -> int | None:
    """Number of parameters at the default options, without giving them memory where the model allows it."""
    import torch

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in factory().parameters())
    except (NotImplementedError, RuntimeError):  # it looks at its values while it is built
        return sum(p.numel() for p in factory().parameters())
    except ZooError:
        return None
