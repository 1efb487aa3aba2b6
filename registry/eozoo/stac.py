"""A card as a STAC item with the machine-learning-model extension (MLM), through the package ``stac-model``.

Specification: github.com/stac-extensions/mlm. What is not known is left out or null; nothing is guessed.
"""

from __future__ import annotations

import math
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo.cards import Card

NEEDS = "stac-model>=0.7"
_TASKS_AND_MODELS = ("task", "model")
# Axis of a Port -> dimension, in the specification's words. "bands" may only stand where bands are named.
_DIMENSIONS = {
    "B": "batch",
    "T": "time",
    "L": "time",
    "C": "bands",
    "H": "height",
    "W": "width",
    "h": "height",
    "w": "width",
    "D": "feature",
    "N": "token",
    "K": "class",
}
_BY_POSITION = ("batch", "bands", "height", "width")  # of a number in a Port with four axes
_ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
_SHA256 = "1220"  # multihash: the code of sha2-256 and its length in bytes


def make_item(cards: list[Card], out: Path | None = None) -> dict[str, Any]:
    """Return the STAC item of the task or model among ``cards``, checked by the package's own models.

    ``out``: where it will be written; files in that folder or below are then referred to relative to it.
    Raises ZooError where the package is not installed, no card is of a task or model, or a card is not complete.
    """
    card = next((card for card in cards if card["kind"] in _TASKS_AND_MODELS), None)
    if card is None:
        raise ZooError(f"{cards[0]['kind']} {cards[0]['name']!r}: is no model; --stac describes tasks and models")
    for field in ("problem", "uncounted"):
        if field in card:
            raise ZooError(f"{card['kind']} {card['name']!r}: {card[field]}")
    if lacking := [name for name in ("architecture", "kinds", "takes", "gives") if not card[name]]:
        raise ZooError(f"{card['kind']} {card['name']!r}: its card lacks {', '.join(lacking)}, which STAC asks for")
    try:
        import pystac
        from stac_model.schema import MLModelExtension
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("stac_model", "pystac", "shapely", "jsonschema"):
            raise
        raise ZooError(f"--stac needs the package stac-model: pip install '{NEEDS}'") from None
    item = pystac.Item(_identity(card), *_place(card), *_time(card))
    MLModelExtension.ext(item, add_if_missing=True).apply(_checked(card))
    if not item.properties["mlm:pretrained"]:  # the package drops None; the specification asks for it
        item.properties["mlm:pretrained_source"] = None
    _cite(item, card["citation"])
    for key, fields in _assets(card, out).items():
        asset = pystac.Asset(**{k: v for k, v in fields.items() if k in ("href", "title", "media_type", "roles")})
        item.add_asset(key, asset)
        _add_file(asset, fields)
    return item.to_dict(include_self_link=False)


def _identity(card: Card) -> str:
    if run := card.get("trained"):
        return f"{card['name']}-{run['files'][0]['sha256'][:12]}"
    return f"{card['name']}-{card['plugin'].rpartition(' ')[2]}"


def _place(card: Card) -> tuple[dict | None, list[float] | None]:
    """Geometry and box of the training data; (None, None) where they are not known or nothing was trained."""
    box = card.get("trained", {}).get("area")
    if box is None:
        return None, None
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}, box


def _time(card: Card) -> tuple[Any, dict[str, Any]]:
    """When it was trained; an untrained model belongs to no time: then the whole range, as the specification does."""
    from datetime import datetime

    limits = " ".join(card["limits"])
    text = " ".join(
        part for part in (card["summary"] + ".", card["purpose"], f"Limits: {limits}" if limits else "") if part
    )
    properties = {"title": card["name"], "description": text, "license": card["licence"]}
    if bands := _band_objects(card):
        properties["bands"] = bands
    if when := card.get("trained", {}).get("when"):
        return datetime.fromisoformat(when), properties
    return None, {**properties, **_ANY_TIME}


def _checked(card: Card) -> Any:
    """The extension's properties as the package's model. Raises ZooError for what it refuses."""
    from pydantic import ValidationError
    from stac_model.base import ModelHyperParameters
    from stac_model.schema import MLModelProperties

    run = card.get("trained")
    values = _hyperparameters(card)
    first = _first_weights(card)
    try:
        return MLModelProperties(
            name=card["name"],
            architecture=card["architecture"],
            tasks=set(card["kinds"]),
            input=[_input(port, card["kind"]) for port in card["takes"]],
            output=[_output(port, card) for port in card["gives"]],
            framework="PyTorch",
            framework_version=(run["versions"].get("torch") if run else None) or version("torch"),
            accelerator=_accelerator(run["device"]) if run else None,
            accelerator_summary=f"trained on {run['device']}" if run and run["device"] else None,
            batch_size_suggestion=run["batch_size"] if run else None,
            hyperparameters=ModelHyperParameters(**values) if values else None,
            total_parameters=card.get("parameters"),
            pretrained=first is not None,
            pretrained_source=first,
        )
    except ValidationError as error:
        worst = error.errors()[0]
        where = ".".join(map(str, worst["loc"]))
        raise ZooError(
            f"{card['kind']} {card['name']!r}: its card gives no valid item: {where}: {worst['msg']}"
        ) from None


def _first_weights(card: Card) -> str | None:
    """Where the weights come from that a training began with, or that are published; None = random numbers."""
    if "trained" in card:
        return card["trained"]["pretrained"]
    return ", ".join(source["url"] for source in card["sources"]) or None


def _accelerator(device: str | None) -> str | None:
    kind = (device or "").partition(" ")[0].partition(":")[0]
    return {"cpu": "cpu", "cuda": "cuda", "mps": "macos-arm", "xla": "xla"}.get(kind)


def _input(port: dict[str, Any], kind: str) -> dict[str, Any]:
    who = "the network applies value_scaling itself" if kind == "task" else "apply value_scaling first"
    scaled = [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in zip(port["mean"], port["std"])]
    note = [port["unit"] or "any unit", "NaN = missing" if kind == "task" else "", who if scaled else ""]
    return {
        "name": port["role"],
        "description": "; ".join(part for part in note if part),
        "bands": list(port["bands"]),
        "input": _structure(port),
        "value_scaling": scaled or None,
    }


def _output(port: dict[str, Any], card: Card) -> dict[str, Any]:
    from stac_model.output import MLMClassification

    classes = [
        MLMClassification(
            value=int(code), name=re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-").lower(), description=name
        )
        for code, name in card.get("classes", {}).items()
    ]
    return {
        "name": port["role"],
        "description": f"unit: {port['unit'] or 'that of the target'}",
        "bands": list(port["bands"]),
        "tasks": set(card["kinds"]),
        "result": _structure(port),
        **({"classes": classes} if classes else {}),
    }


def _structure(port: dict[str, Any]) -> dict[str, Any]:
    axes, bands = port["axes"].split(), len(port["bands"])
    names = [_dimension(axis, i, len(axes)) for i, axis in enumerate(axes)] or ["batch"]
    sizes = [
        int(axis) if axis.isdigit() else bands if bands and name == "bands" else -1 for axis, name in zip(axes, names)
    ]
    names = ["channel" if name == "bands" and not bands else name for name in names]
    return {"shape": sizes or [-1], "dim_order": names, "data_type": port["dtype"]}


def _dimension(axis: str, position: int, count: int) -> str:
    if axis.isdigit():
        return _BY_POSITION[position] if count == len(_BY_POSITION) else "channel"
    return _DIMENSIONS.get(axis, axis.lower())


def _band_objects(card: Card) -> list[dict[str, Any]]:
    """The bands that inputs and outputs name, each once, with the statistics of training where they are known."""
    found: dict[str, dict[str, Any]] = {}
    for port in [*card["takes"], *card["gives"]]:
        for i, name in enumerate(port["bands"]):
            band = found.setdefault(name, {"name": name})
            if port["mean"]:
                band["statistics"] = {"mean": port["mean"][i], "stddev": port["std"][i]}
    return list(found.values())


def _hyperparameters(card: Card) -> dict[str, Any]:
    if "trained" in card:
        return _finite(card["trained"]["settings"])
    return {name: value for name, value in card.get("options", {}).items() if value is not None}


def _finite(value: Any) -> Any:
    """JSON has no infinity: such a number becomes its name."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cite(item: Any, citation: str) -> None:
    """The text, and a link for every DOI and arXiv number in it."""
    import pystac
    from pystac.extensions.scientific import ScientificExtension

    if citation:
        ScientificExtension.ext(item, add_if_missing=True).apply(citation=citation)
    links = [f"https://doi.org/{doi.rstrip('.,;')}" for doi in re.findall(r"doi:(10\.\S+)", citation)]
    links += [f"https://arxiv.org/abs/{number}" for number in re.findall(r"arXiv:(\d+\.\d+)", citation)]
    item.add_links([pystac.Link("cite-as", link) for link in links])


def _assets(card: Card, out: Path | None) -> dict[str, dict[str, Any]]:
    """Weights, and the code that uses them. The code alone is the model where no weights are published."""
    found: dict[str, dict[str, Any]] = {}
    for number, file in enumerate(card.get("trained", {}).get("files", [])):
        path = Path(file["path"])
        base = path.suffix == ".safetensors"
        key = ("base" if base else "model") + (f"_{number}" if number else "")
        found[key] = {
            "href": _href(path, out),
            "title": f"{path.parent.name}/{path.name}, {'frozen weights' if base else 'what was trained'}",
            "media_type": "application/octet-stream" if base else "application/octet-stream; application=pytorch",
            "roles": ["mlm:weights", "data"] if base else ["mlm:model", "mlm:weights", "data"],
            "artifact": "safetensors" if base else "torch.save",
            "bytes": file["bytes"],
            "sha256": file["sha256"],
            "licence": None,
        }
    for number, source in enumerate(() if found else card["sources"]):
        found["model" if number == 0 else f"model_{number}"] = {
            "href": source["url"],
            "title": f"published weights, revision {source['revision'] or 'unknown'}",
            "media_type": "application/octet-stream; application=pytorch",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "artifact": "torch.save",
            "bytes": source["bytes"],
            "sha256": source["sha256"],
            "licence": source["licence"] or "unknown",
        }
    return {**found, "source_code": _code(card, out, bool(found))}


def _code(card: Card, out: Path | None, weights: bool) -> dict[str, Any]:
    from importlib.util import find_spec

    module = card["target"].partition(":")[0]
    return {
        "href": _href(Path(find_spec(module).origin), out),
        "title": f"{card['target']} of {card['plugin']}",
        "media_type": "text/x-python",
        "roles": [*([] if weights else ["mlm:model"]), "mlm:source_code", "code"],
        "entrypoint": card["target"],
        **({} if weights else {"artifact": "python"}),
        "licence": card["licence"],
    }


def _add_file(asset: Any, fields: dict[str, Any]) -> None:
    from pystac.extensions.file import FileExtension

    if fields.get("bytes") is not None or fields.get("sha256") is not None:
        checksum = None if fields["sha256"] is None else f"{_SHA256}{fields['sha256']}"
        FileExtension.ext(asset, add_if_missing=True).apply(checksum=checksum, size=fields["bytes"])
    for field, name in {"artifact": "mlm:artifact_type", "entrypoint": "mlm:entrypoint", "licence": "license"}.items():
        if fields.get(field) is not None:
            asset.extra_fields[name] = fields[field]


def _href(path: Path, out: Path | None) -> str:
    path = path.resolve()
    if out is not None and path.is_relative_to(out.resolve().parent):
        return Path(os.path.relpath(path, out.resolve().parent)).as_posix()
    return path.as_uri()
