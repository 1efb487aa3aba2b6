"""A card as a STAC item with the machine-learning-model extension (MLM), through the package ``stac-model``.

Specification: github.com/stac-extensions/mlm. What is not known is left out or null; nothing is guessed.
"""

from __future__ import annotations

import ast
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError

from eozoo.cards import Card
from eozoo.stac_arrays import as_input, as_output
from eozoo.stac_assets import add_assets

NEEDS = "stac-model>=0.7"
_TASKS_AND_MODELS = ("task", "model")
_ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}


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
    for name in ("mlm:accelerator", "mlm:pretrained_source"):  # null says something, and the package leaves it out
        item.properties.setdefault(name, None)
    _cite(item, card["citation"])
    add_assets(item, card, out)
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

    parts = [f"{card['summary']}.", card["purpose"], f"Limits: {' '.join(card['limits'])}" if card["limits"] else ""]
    if data := card.get("trained", {}).get("data"):
        parts.append(f"Trained on data that are {data}.")
    text = " ".join(part for part in parts if part)
    properties = {"title": card["name"], "description": text, "license": card["licence"]}
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
            input=[as_input(port, card["kind"]) for port in card["takes"]],
            output=[as_output(port, card) for port in card["gives"]],
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


def _hyperparameters(card: Card) -> dict[str, Any]:
    if "trained" in card:
        return _finite(card["trained"]["settings"])
    return {name: _value(text) for name, text in card.get("options", {}).items() if text is not None}


def _value(text: str) -> Any:
    """The value that ``repr`` wrote; what is no plain one stays text."""
    try:
        return _finite(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


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

    if not citation or citation.startswith("none"):
        return
    ScientificExtension.ext(item, add_if_missing=True).apply(citation=citation)
    links = [f"https://doi.org/{doi.rstrip('.,;')}" for doi in re.findall(r"doi:(10\.\S+)", citation)]
    links += [f"https://arxiv.org/abs/{number}" for number in re.findall(r"arXiv:(\d+\.\d+)", citation)]
    item.add_links([pystac.Link("cite-as", link) for link in links])
