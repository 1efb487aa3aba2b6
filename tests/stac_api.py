"""A STAC API for tests: what `serve` answers for a landing page and for a search, and a folder of items."""

import json
from functools import partial
from pathlib import Path

from products import SIDE, WEST, write_item

CLASSES = [f"https://api.stacspec.org/v1.0.0/{name}" for name in ("core", "item-search", "item-search#query")]


def write_items(folder, count, **more):
    """Write items S2A_00, S2A_01, ... beside each other, each with its files; return ``folder``."""
    for number in range(count):
        write_item(folder, f"S2A_{number:02d}", west=WEST + number * SIDE * 10, **more)
    return folder


def api(folder, page=2, elsewhere=""):
    """Answers of an API of the items below a folder, ``page`` at a time. ``elsewhere``: host of the second page."""
    return {"": _landing, "search": partial(_search, Path(folder), page, elsewhere)}


def _landing(url, query, body):
    links = [{"rel": rel, "href": href} for rel, href in (("self", url), ("root", url))]
    found = {"rel": "search", "href": f"{url}/search", "type": "application/geo+json", "method": "POST"}
    return {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "of tests", "conformsTo": CLASSES,
            "links": [*links, found]}  # fmt: skip


def _search(folder, page, elsewhere, url, query, body):
    files = sorted(folder.glob("S2A_*/*.json"))
    asked = body or query
    first = int(asked.get("first", 0))
    links = []
    if first + page < len(files):
        more = {"method": "POST", "body": {**asked, "first": first + page}}
        links = [{"rel": "next", "href": f"{elsewhere or url}/search", **more}]
    return {"type": "FeatureCollection", "features": [placed(f, url) for f in files[first : first + page]],
            "links": links, "asked": asked}  # fmt: skip


def placed(file, url):
    """The item of a file with the addresses that it has on a server."""
    item = json.loads(file.read_text())
    item["links"] = [{"rel": "self", "href": f"{url}/{file.parent.name}/{file.name}"}]
    return item
