"""STAC items, item collections, collections and catalogues, of files and URLs, as scenes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_url
from eozoo_core.raster.assembly import Assembly
from eozoo_core.run.parsed import reason_of
from eozoo_core.sources.reach import Reach
from eozoo_core.sources.stac import open_item, unique

if TYPE_CHECKING:
    import pystac

_ENDS = (".json", ".geojson")
_TYPES = ("Feature", "FeatureCollection", "Catalog", "Collection")
_HEAD = 2**16  # bytes of a file in which it says that it is STAC


def is_catalogue(source: str) -> bool:
    """Whether a file or URL may be STAC: of a file its beginning is looked at, of a URL its ending."""
    if is_url(source):
        last = source.partition("?")[0].rstrip("/").rpartition("/")[2]
        return last.lower().endswith(_ENDS) or (source.startswith("http") and "." not in last)
    path = Path(source)
    if path.suffix.lower() not in _ENDS or not path.is_file():
        return False
    with path.open("rb") as opened:
        head = opened.read(_HEAD)
    return b"stac_version" in head or b'"assets"' in head or b'"FeatureCollection"' in head


def open_catalogue(source: str, trusted: tuple[str, ...] = ()) -> list[Assembly]:
    """Return the scenes of all items, unopened. Raises ZooError for none, and where a link or an asset is out of reach.

    ``trusted``: hosts, buckets and folders that it may refer to, beside its own.
    """
    require_pystac(source)
    source = source if is_url(source) else str(Path(source).absolute())
    reach = Reach(source, trusted)
    content = reach.read_json(source, source)
    if content.get("type") not in _TYPES:
        raise ZooError(f"{source}: is no STAC item, collection or catalogue (its type is {content.get('type')!r})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a catalogue lacks and its scenes do not need, as an extent
        found = [open_item(item, _called(item, source), reach) for item in read_items(content, source, reach)]
    if not found:
        hint = "; search it: --stac API --collection NAME" if content["type"] in ("Catalog", "Collection") else ""
        raise ZooError(f"{source}: holds no item{hint}")
    return unique(found)


def read_items(content: dict[str, Any], source: str, reach: Reach) -> Iterator[pystac.Item]:
    """Yield the items of an object of STAC; links are followed within reach, each document once."""
    import pystac

    try:
        if content["type"] == "Feature":
            yield pystac.Item.from_dict(content, href=source)
        elif content["type"] == "FeatureCollection":
            for feature in content["features"]:
                yield item_of(feature, source)
        else:
            yield from _walked(_kind(content).from_dict(content, href=source), source, reach)
    except (pystac.STACError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ZooError(f"{source}: is no valid STAC ({reason_of(error)}); correct it") from None


def item_of(feature: dict[str, Any], source: str) -> pystac.Item:
    """An item of a collection; what it refers to without host or folder lies where it says it lies itself."""
    import pystac

    own = next((link.get("href") for link in feature.get("links", ()) if link.get("rel") == "self"), None)
    return pystac.Item.from_dict(feature, href=own or source, preserve_dict=False)


def _walked(top: pystac.Catalog, source: str, reach: Reach) -> Iterator[pystac.Item]:
    """Items of a catalogue and of all below it."""
    import pystac

    waiting, seen = [top], {source}
    while waiting:
        for link in (one := waiting.pop(0)).links:
            place = link.get_absolute_href() if link.rel in ("item", "child") else None
            if place is None or place in seen:
                continue
            seen.add(place)
            content = reach.read_json(place, one.self_href)
            if content.get("type") == "Feature":
                yield pystac.Item.from_dict(content, href=place)
            elif content.get("type") in ("Catalog", "Collection"):
                waiting.append(_kind(content).from_dict(content, href=place))
            else:
                raise ZooError(f"{place}: is no STAC item, collection or catalogue; correct {one.self_href}")


def _kind(content: dict[str, Any]) -> Any:
    import pystac

    return pystac.Catalog if content["type"] == "Catalog" else pystac.Collection


def _called(item: pystac.Item, source: str) -> str:
    """What messages call an item: its file, and where there are several in it its name too."""
    own = item.get_self_href() or source
    return own if own != source or Path(source).stem == item.id else f"{source} {item.id}"


def require_pystac(source: str) -> None:
    """Raise ZooError where pystac is not installed."""
    try:
        import pystac  # noqa: F401
    except ImportError:
        raise ZooError(f"{source}: STAC needs pystac; install eozoo[cloud]") from None
