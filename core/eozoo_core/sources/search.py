"""Scenes of a STAC API: of collections, a box and dates."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_url
from eozoo_core.raster.assembly import Assembly
from eozoo_core.run.parsed import reason_of
from eozoo_core.sources.catalogue import item_of
from eozoo_core.sources.reach import Reach
from eozoo_core.sources.stac import open_item, unique

_DAY = r"\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?"
_DATES = re.compile(rf"(?:{_DAY}|\.\.)/(?:{_DAY}|\.\.)|\d{{4}}(?:-\d\d){{0,2}}")
_SECONDS = 60


@dataclass(frozen=True)
class Search:
    """What is asked of a STAC API. box: west, south, east, north in degrees; dates: "2024-05-01/2024-09-30" or a day.

    where: conditions on properties, as "eo:cloud_cover<20".
    """

    api: str
    collections: tuple[str, ...]
    box: tuple[float, float, float, float] | None = None
    dates: str = ""
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_url(self.api):
            raise ZooError(f"--stac {self.api}: give the https address of a STAC API")
        if self.box is not None:
            west, south, east, north = self.box
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                text = ",".join(f"{v:g}" for v in self.box)
                raise ZooError(
                    f"--bbox {text}: expected west,south,east,north in degrees; across 180 degrees search twice"
                )
        if self.dates and not _DATES.fullmatch(self.dates):
            raise ZooError(f"--dates {self.dates}: expected 2024-05-01/2024-09-30 (.. = open), a day, month or year")

    def __str__(self) -> str:
        return f"{self.api} {','.join(self.collections)}"

    @property
    def name(self) -> str:
        """What it is called where a file's name would stand."""
        return str(self)

    def find(self, trusted: tuple[str, ...] = ()) -> list[Assembly]:
        """Return the scenes that it finds, unopened, by date and name; of each what lies in the box.

        ``trusted``: hosts and buckets that their files may lie on, beside the API's own. Raises ZooError for none, and
        where the API does not answer.
        """
        reach = Reach(self.api, trusted)
        items = [item_of(feature, self.api) for feature in self._features(reach) if self._touches(feature)]
        if not items:
            raise ZooError(f"{self}: finds no scene; widen --bbox or --dates")
        scenes = [open_item(item, self._address(item), reach) for item in items]
        ordered = sorted(scenes, key=lambda scene: (scene.date, scene.name))
        return [replace(scene, box=self.box) for scene in unique(ordered)]

    def _touches(self, feature: dict[str, Any]) -> bool:
        """Whether a scene may lie in the box by more than an edge."""
        if self.box is None or len(feature.get("bbox") or ()) != 4:
            return True
        west, south, east, north = feature["bbox"]
        crosses = west > east  # 180 degrees
        return south < self.box[3] and north > self.box[1] and (crosses or (west < self.box[2] and east > self.box[0]))

    def _address(self, item: Any) -> str:
        return f"{self.api.rstrip('/')}/collections/{item.collection_id}/items/{item.id}"

    def _features(self, reach: Reach) -> list[dict[str, Any]]:
        _require_client(self.api)
        import pystac
        import requests
        from pystac_client import Client
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO

        class Io(StacApiIO):
            def request(self, href: str, *args: Any, **kwargs: Any) -> str:
                reach.require(href, api)
                return super().request(href, *args, **kwargs)

        def within(answer: requests.Response, *_: Any, **__: Any) -> None:
            if answer.is_redirect:
                reach.require(requests.compat.urljoin(answer.url, answer.headers["location"]), api)

        api, io = self.api, Io(timeout=_SECONDS)
        io.session.hooks["response"].append(within)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what an API says of itself
                found = Client.open(self.api, stac_io=io).search(
                    collections=list(self.collections),
                    bbox=list(self.box) if self.box else None,
                    datetime=self.dates or None,
                    query=list(self.where) or None,
                )
                return list(found.items_as_dicts())
        except (APIError, pystac.STACError, requests.RequestException, NotImplementedError, KeyError, TypeError,
                ValueError, AttributeError) as error:  # fmt: skip
            raise ZooError(f"{self}: the search failed ({reason_of(error)}); check the address and names") from None


def _require_client(api: str) -> None:
    try:
        import pystac_client  # noqa: F401
    except ImportError:
        raise ZooError(f"--stac {api}: a search needs pystac-client; install eozoo[cloud]") from None
