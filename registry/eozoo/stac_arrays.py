"""The arrays of a network as inputs, outputs and bands of the machine-learning-model extension."""

from __future__ import annotations

import re
from typing import Any

from eozoo.cards import Card

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
    "D": "embedding",
    "N": "token",
    "K": "class",
}
_BY_POSITION = ("batch", "bands", "height", "width")  # of a number in a Port with four axes


def as_input(port: dict[str, Any], kind: str) -> dict[str, Any]:
    """A Port that a task or model (``kind``) takes, in the extension's words."""
    who = "the network applies value_scaling itself" if kind == "task" else "apply value_scaling first"
    scaled = [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in zip(port["mean"], port["std"])]
    nan = "NaN = missing" if kind == "task" and port["dtype"].startswith("float") else ""
    note = [port["unit"] or ", ".join(port["units"] and port["described"]) or "any unit", nan, who if scaled else ""]
    return {
        "name": port["role"],
        "description": "; ".join(part for part in note if part),
        "bands": list(port["bands"]),
        "input": _structure(port),
        "value_scaling": scaled or None,
    }


def as_output(port: dict[str, Any], card: Card) -> dict[str, Any]:
    """A Port that it gives, with the card's kinds of task and classes."""
    from stac_model.output import MLMClassification

    classes = [
        MLMClassification(
            value=int(code), name=re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-").lower(), description=name
        )
        for code, name in card.get("classes", {}).items()
    ]
    return {
        "name": port["role"],
        "description": f"unit: {port['unit'] or 'not fixed'}",
        "bands": list(port["bands"]),
        "tasks": set(card["kinds"]),
        "result": _structure(port),
        **({"classes": classes} if classes else {}),
    }


def _structure(port: dict[str, Any]) -> dict[str, Any]:
    axes, bands = port["axes"].split(), len(port["bands"])
    names = [_dimension(axis, i, len(axes), bands) for i, axis in enumerate(axes)] or ["batch"]
    sizes = [
        int(axis) if axis.isdigit() else bands if bands and name == "bands" else -1 for axis, name in zip(axes, names)
    ]
    names = ["channel" if name == "bands" and not bands else name for name in names]
    return {"shape": sizes or [-1], "dim_order": names, "data_type": port["dtype"]}


def _dimension(axis: str, position: int, count: int, bands: int) -> str:
    if not axis.isdigit():
        return _DIMENSIONS.get(axis, axis.lower())
    if count == len(_BY_POSITION):
        return _BY_POSITION[position]
    return "bands" if int(axis) == bands else "channel"


def band_objects(card: Card) -> list[dict[str, Any]]:
    """The bands that inputs and outputs name, each once, with the statistics of training where they are known."""
    found: dict[str, dict[str, Any]] = {}
    for port in [*card["takes"], *card["gives"]]:
        for i, name in enumerate(port["bands"]):
            band = found.setdefault(name, {"name": name})
            if port["mean"]:
                band["statistics"] = {"mean": port["mean"][i], "stddev": port["std"][i]}
    return list(found.values())
