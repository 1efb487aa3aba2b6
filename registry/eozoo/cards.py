"""Everything that is known about a name, as plain values: for ``eozoo show`` and ``eozoo card``."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.spec import KINDS, Port, blanks

from eozoo.names import suggestion
from eozoo.run_card import trained_facts
from eozoo.signature import read_signature

if TYPE_CHECKING:
    from eozoo_core import Network, Run

    from eozoo.names import Entry
    from eozoo.registry import Registry

Card = dict[str, Any]
Rows = list[tuple[str, str]]


def describe(registry: Registry, name: str, run: Run | None = None) -> list[Card]:
    """Return a card per kind that ``name`` is registered as, in plain values. Raises ZooError where it is none.

    A part that cannot be imported here still has a card: what is declared, and under "problem" what is wrong. With a
    ``run`` of the task ``name``, one card: the task as trained there.
    """
    kinds = [kind for kind in KINDS if registry.has(kind, name) and (run is None or kind == "task")]
    if not kinds:
        known = (
            {e.qualified for e in registry.everything()} if "/" in name else map(registry.typed, registry.everything())
        )
        raise ZooError(f"nothing is called {name!r}.{suggestion(name, known, 'eozoo list')}")
    return [_card(registry, registry.find(kind, name), run) for kind in kinds]


def _card(registry: Registry, entry: Entry, run: Run | None) -> Card:
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
        "target": spec.target,
        "blank": blanks(entry.kind, spec),
    }
    try:
        found = _counted(entry)
        if found is None:
            target = registry.get(entry.kind, entry.qualified)
            seen = registry.within(entry.qualified) if entry.kind == "task" and run is None else registry
            found = _task(target, seen, run) if entry.kind == "task" else _factory(entry, target)
    except ZooError as error:
        if run is not None:  # then it is asked for what was trained, not for what is declared
            raise
        return {**card, "problem": str(error)}
    return {**card, **found, **({} if run is None else {"trained": trained_facts(run, found["pretrained"])})}


def _port(port: Port) -> dict[str, Any]:
    return {**asdict(port), "described": port.described, "text": str(port)}


def _task(cls: Any, registry: Registry, run: Run | None) -> Card:
    from eozoo_core.settings.presets import preset_about

    settings = cls.Settings() if run is None else run.settings
    slots = {}
    for path, slot in cls.slots.items():
        named, fed = attrgetter(path)(settings), ()
        if slot.after:
            fed = registry.chosen(cls.slots[slot.after], attrgetter(slot.after)(settings)).gives
        by_options = [entry.spec.name for entry in registry.entries(slot.kind) if entry.spec.ports_of]
        slots[path] = {
            "kind": slot.kind,
            "now": None if named is None else named.name,
            "fits": registry.fitting(slot, fed),
            **({"may_fit": by_options} if by_options else {}),
            "also": list(slot.also),
        }
    task = cls(settings, registry)
    return {
        "units": task.outputs(),
        "slots": slots,
        "tolerates_gaps": list(cls.tolerates_gaps),
        "prepare_steps": dict(cls.prepare_steps),
        "presets": {name: preset_about(file) for name, file in cls.presets.items()},
        **_network(task.network, run),
    }


def _network(describe: Any, run: Run | None) -> Card:
    try:
        network: Network = describe(run)
    except ZooError as error:
        if run is not None:
            raise
        return {"parameters": None, "uncounted": str(error)}
    return {
        "architecture": network.architecture,
        "parameters": network.parameters,
        "takes": [_port(port) for port in network.inputs],
        "gives": [_port(port) for port in network.outputs],
        "classes": {str(code): name for code, name in network.classes.items()},
        "pretrained": network.pretrained,
    }


def _counted(entry: Entry) -> Card | None:
    """Return what `_factory` would of a model whose parameters are declared, importing nothing; None where it must."""
    if entry.kind != "model" or entry.spec.parameters is None:
        return None
    if lacking := entry.spec.lacking():
        raise ZooError(f"{entry.spec.name} needs {lacking}")
    read = read_signature(entry.spec.target)
    return read and {"options": read[0], "about": read[1], "parameters": entry.spec.parameters}


def _factory(entry: Entry, target: Any) -> Card:
    parameters = [p for p in inspect.signature(target).parameters.values() if p.name != "registry"]
    options = {p.name: None if p.default is p.empty else repr(p.default) for p in parameters}
    found: Card = {"options": options, "about": inspect.getdoc(target) or ""}
    if entry.kind == "model" and all(p.default is not p.empty for p in parameters):
        from eozoo_core.task.describe import count_parameters

        found["parameters"] = count_parameters(target)
    return found


# -- as text ----------------------------------------------------------------------------------------------------------


def rows(card: Card) -> Rows:
    """Return the card as (label, text), in the order in which one asks; what is not known is left out."""
    found: Rows = [("plugin", card["plugin"]), ("licence", _licence(card)), ("purpose", card["purpose"])]
    found.append(("inputs", card["inputs"]))
    for port in card["takes"]:
        found.append(("takes", port["text"]))
        found.append(("bands", ", ".join(port["described"])))
        pairs = zip(port["mean"], port["std"])
        found.append(("scaling", ", ".join(f"{mean:.6g} +- {std:.6g}" for mean, std in pairs)))
    found.append(("outputs", card["outputs"]))
    found += [("gives", port["text"]) for port in card["gives"]]
    if not card["gives"]:
        found += [("gives", f"{output} [{unit}]") for output, unit in card.get("units", {}).items()]
    found.append(("classes", ", ".join(f"{code} {name}" for code, name in card.get("classes", {}).items())))
    if card.get("tolerates_gaps"):
        found.append(("gaps", f"single values may be missing in {', '.join(card['tolerates_gaps'])}"))
    return [(label, text) for label, text in [*found, *_more(card)] if text]


def _more(card: Card) -> Rows:
    found: Rows = [("network", card["architecture"]), ("size", _size(card)), ("weights", card["weights"])]
    for source in card["sources"]:
        hashed = f"revision {source['revision'] or 'unknown'}, sha256 {source['sha256'] or 'unknown'}"
        found.append(("file", f"{source['url']} ({hashed}, licence {source['licence'] or 'unknown'})"))
    if card["sources"]:
        found.append(("fetch", f"eozoo weights fetch {card['name']}"))
    found += [("measured", card["measured"]), *(("limit", limit) for limit in card["limits"])]
    for path, slot in card.get("slots", {}).items():
        text = f"{slot['now'] or 'chosen by the task'}; any {slot['kind']} that fits: {', '.join(slot['fits'])}"
        text += "".join(f"; {name}, as its options say" for name in slot.get("may_fit", ()))
        found.append((path, text + "".join(f" (with --set {setting})" for setting in slot["also"])))
    found += [("prepare", f"{step}: {text}") for step, text in card.get("prepare_steps", {}).items()]
    found += [("preset", f"{name}: {text}") for name, text in card.get("presets", {}).items()]
    if card["kind"] != "task" and "options" in card:
        options = [name if default is None else f"{name}={default}" for name, default in card["options"].items()]
        found.append(("options", ", ".join(options) or "none"))
    found += [("needs", ", ".join(card["needs"])), ("source", card["citation"])]
    found += [("settings", f"eozoo config {card['name']}")] if card["kind"] == "task" else []
    missing = f"{', '.join(card['blank'])}: its author has not said" if card["blank"] else ""
    return [*found, ("problem", card.get("problem", "")), ("missing", missing)]


def _licence(card: Card) -> str:
    if card["kind"] != "model":
        return f"{card['licence']} (code)"
    weights = {source["licence"] or "unknown" for source in card["sources"]}
    return f"{card['licence']} (code), " + (
        f"{', '.join(sorted(weights))} (published weights)" if weights else "no published weights are cited"
    )


def _size(card: Card) -> str:
    if card.get("parameters") is not None:
        default = "with default settings" if card["kind"] == "task" else "with the default options"
        return f"{card['parameters']:,} parameters {'as trained' if 'trained' in card else default}"
    return f"not counted: {card['uncounted']}" if "uncounted" in card else ""


def markdown(cards: list[Card]) -> str:
    """Return the cards as a Markdown page, with the run where there is one."""
    lines: list[str] = []
    for card in cards:
        lines += [f"# {card['name']}", "", f"{card['kind'].capitalize()}. {card['summary']}.", ""]
        lines += [f"- **{label}**: {text}" for label, text in rows(card)]
        if run := card.get("trained"):
            lines += ["", "## As trained", "", *(f"- **{label}**: {text}" for label, text in run_rows(run))]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def run_rows(trained: dict[str, Any]) -> Rows:
    """Return what is known of a training as (label, text)."""
    found: Rows = [
        ("run", trained["path"]),
        ("data", trained["data"] or f"fingerprint {trained['data_fingerprint'] or 'unknown'}"),
        ("began", trained["when"] or "unknown"),
        ("with", ", ".join(f"{name} {version}" for name, version in trained["versions"].items()) or "unknown"),
        ("device", trained["device"] or "unknown"),
        ("first weights", trained["pretrained"] or "random"),
        ("area", "unknown" if trained["area"] is None else f"{trained['area']} degrees (west, south, east, north)"),
    ]
    found += [("checkpoint", f"{file['path']}, sha256 {file['sha256']}") for file in trained["files"]]
    for split, scores in trained["scores"].items():
        for predictor, values in scores.items():
            text = ", ".join(f"{metric} {value:.4g}" for metric, value in values.items())
            found.append((f"{split}, {predictor}", text))
    return [*found, ("model settings", json.dumps(trained["settings"]["model"]))]
