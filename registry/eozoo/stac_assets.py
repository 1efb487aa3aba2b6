"""Files of a STAC item: weights with their hashes, and the code that uses them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eozoo.cards import Card
from eozoo.stac_arrays import band_objects

_SHA256 = "1220"  # multihash: the code of sha2-256 and its length in bytes


def assets(card: Card, out: Path | None) -> dict[str, dict[str, Any]]:
    """Weights, and the code that uses them. The code alone is the model where no weights are published."""
    found: dict[str, dict[str, Any]] = {}
    for number, file in enumerate(card.get("trained", {}).get("files", [])):
        path = Path(file["path"])
        base = path.suffix == ".safetensors"
        key = "base" if base else f"model_{number}" if number else "model"
        found[key] = {
            "href": _href(path, out),
            "title": f"{path.parent.name}/{path.name}, {'frozen weights' if base else 'what was trained'}",
            "media_type": "application/octet-stream" if base else "application/octet-stream; application=pytorch",
            "roles": ["mlm:weights", "data"] if base else ["mlm:model", "mlm:weights", "data"],
            "artifact": None if base else "torch.save",  # goes with the role mlm:model, and only with it
            "bytes": file["bytes"],
            "sha256": file["sha256"],
            "licence": None,
        }
    for number, source in enumerate(() if found else card["sources"]):
        found["model" if number == 0 else f"model_{number}"] = {
            "href": source["url"],
            "title": f"published weights, revision {source['revision'] or 'unknown'}, licence "
            f"{source['licence'] or 'unknown'}",
            "media_type": "application/octet-stream; application=pytorch",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "artifact": "torch.save",
            "bytes": source["bytes"],
            "sha256": source["sha256"],
            "licence": source["licence"] or "other",  # STAC: "other" is what has no SPDX name
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


def add_assets(item: Any, card: Card, out: Path | None) -> None:
    """Add every file to ``item``, a pystac.Item; see ``stac.make_item`` for ``out``."""
    import pystac

    for key, fields in assets(card, out).items():
        asset = pystac.Asset(fields["href"], fields["title"], media_type=fields["media_type"], roles=fields["roles"])
        item.add_asset(key, asset)
        _add_file(asset, fields)
        if "mlm:model" in fields["roles"] and (bands := band_objects(card)):
            asset.extra_fields["bands"] = bands  # STAC and MLM want them here, not in the item's properties


def _add_file(asset: Any, fields: dict[str, Any]) -> None:
    from pystac.extensions.file import FileExtension

    if fields.get("bytes") is not None or fields.get("sha256") is not None:
        checksum = None if fields["sha256"] is None else f"{_SHA256}{fields['sha256']}"
        FileExtension.ext(asset, add_if_missing=True).apply(checksum=checksum, size=fields["bytes"])
    for field, name in {"artifact": "mlm:artifact_type", "entrypoint": "mlm:entrypoint", "licence": "license"}.items():
        if fields.get(field) is not None:
            asset.extra_fields[name] = fields[field]


def _href(path: Path, out: Path | None) -> str:
    path = path.absolute()  # not resolved: a frozen base may be a link out of its run
    if out is not None and path.is_relative_to(out.absolute().parent):
        return Path(os.path.relpath(path, out.absolute().parent)).as_posix()
    return path.as_uri()
