"""Files of a STAC item: weights with their hashes, and the code that uses them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eozoo.cards import Card
from eozoo.stac_arrays import band_objects

_PYTORCH = "application/octet-stream; application=pytorch"
_MODEL = ["mlm:model", "mlm:weights", "data"]
_SAVED = {"mlm:artifact_type": "torch.save"}  # goes with the role mlm:model, and only with it
_SHA256 = "1220"  # multihash: the code of sha2-256 and its length in bytes

Assets = dict[str, tuple[Any, dict[str, Any]]]  # key -> pystac.Asset, and its size and hash where they are known


def add_assets(item: Any, card: Card, out: Path | None) -> None:
    """Add weights, and the code that uses them, to ``item``, a pystac.Item; see ``stac.make_item`` for ``out``.

    The code alone is the model where no weights are published.
    """
    from pystac.extensions.file import FileExtension

    weights, bands = _trained(card, out) or _published(card), band_objects(card)
    for key, (asset, file) in {**weights, "source_code": (_code(card, out, bool(weights)), {})}.items():
        item.add_asset(key, asset)
        checksum, size = file.get("sha256"), file.get("bytes")
        if checksum is not None or size is not None:
            checksum = checksum and f"{_SHA256}{checksum}"
            FileExtension.ext(asset, add_if_missing=True).apply(checksum=checksum, size=size)
        if "mlm:model" in asset.roles and bands:
            asset.extra_fields["bands"] = bands  # STAC and MLM want them here, not in the item's properties


def _trained(card: Card, out: Path | None) -> Assets:
    import pystac

    found: Assets = {}
    for number, file in enumerate(card.get("trained", {}).get("files", [])):
        path = Path(file["path"])
        base, name = path.suffix == ".safetensors", f"{path.parent.name}/{path.name}"
        if base:
            asset = pystac.Asset(_href(path, out), f"{name}, frozen weights", media_type="application/octet-stream")
            asset.roles = ["mlm:weights", "data"]
        else:
            asset = pystac.Asset(_href(path, out), f"{name}, what was trained", None, _PYTORCH, [*_MODEL], {**_SAVED})
        found["base" if base else f"model_{number}" if number else "model"] = asset, file
    return found


def _published(card: Card) -> Assets:
    import pystac

    found: Assets = {}
    for number, source in enumerate(card["sources"]):
        licence = source["licence"]
        title = f"published weights, revision {source['revision'] or 'unknown'}, licence {licence or 'unknown'}"
        fields = {**_SAVED, "license": licence or "other"}  # STAC: "other" is what has no SPDX name
        asset = pystac.Asset(source["url"], title, None, _PYTORCH, [*_MODEL], fields)
        found[f"model_{number}" if number else "model"] = asset, source
    return found


def _code(card: Card, out: Path | None, weights: bool) -> Any:
    import pystac

    file = Path(find_spec(card["target"].partition(":")[0]).origin)
    roles, fields = ["mlm:source_code", "code"], {"mlm:entrypoint": card["target"], "license": card["licence"]}
    if not weights:
        roles, fields = ["mlm:model", *roles], {"mlm:artifact_type": "python", **fields}
    return pystac.Asset(_href(file, out), f"{card['target']} of {card['plugin']}", None, "text/x-python", roles, fields)


def _href(path: Path, out: Path | None) -> str:
    path = path.absolute()  # not resolved: a frozen base may be a link out of its run
    if out is not None and path.is_relative_to(out.absolute().parent):
        return Path(os.path.relpath(path, out.absolute().parent)).as_posix()
    return path.as_uri()
