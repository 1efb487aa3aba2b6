"""Reading over a network: how long GDAL waits and how often it asks again, and VRTs, which may point elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from xml.etree import ElementTree

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import gdal_name, host_of, is_url, restored, shown
from eozoo_core.raster.trust import FORMATS, named_sources

# What the environment sets itself is left as it is. GDAL asks for files beside a raster (masks, statistics) one by one
# and lists no folder: one of an object store may hold millions of names.
OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
}
# Of the formats that are read from files these may name other files, and cannot be looked through from here.
UNSEEN = {"VRT", "HDF5", "HDF5Image", "netCDF", "GPKG", "MBTiles", "SAFE", "SENTINEL2"}
REMOTE_FORMATS = [name for name in FORMATS if name not in UNSEEN]
_LARGEST = 64 * 2**20  # bytes of a VRT
_SECONDS = 60.0
_LOOK_SECONDS = 10.0


def options() -> dict[str, str]:
    """Return GDAL's options for reading over a network, without those that the environment sets."""
    return {name: value for name, value in OPTIONS.items() if name not in os.environ}


def opened_as(path: str) -> tuple[str, Sequence[str]]:
    """Return what GDAL opens for a name on a network, and the formats that it may be in.

    A VRT of a URL is read here, and what was read is what GDAL gets, its sources named in full. Raises ZooError for one
    whose sources lie on another host, and for names of HDF5 files, which may refer to other files.
    """
    ending = shown(path).rpartition(".")[2].lower()
    if ending in ("h5", "hdf5", "he5", "nc", "nc4"):
        raise ZooError(f"{shown(path)}: HDF5 and NetCDF are read from files only; fetch it first")
    url = restored(path.removeprefix("/vsicurl/"))
    if ending != "vrt":
        return gdal_name(path), REMOTE_FORMATS
    if not is_url(url) or not url.startswith("http"):
        raise ZooError(f"{shown(path)}: a VRT is read from a file or https only; give its sources, or a VRT beside you")
    return _with_own_sources(url), ["VRT"]


def _with_own_sources(url: str) -> str:
    """Return the VRT at a URL with its sources as full names, which lie on its host."""
    try:
        root = ElementTree.fromstring(fetch(url, _LARGEST))
    except ElementTree.ParseError as error:
        raise ZooError(f"{shown(url)}: is no valid VRT ({error})") from None
    if root.tag != "VRTDataset":
        raise ZooError(f"{shown(url)}: is no VRT; correct its name")
    for element, text, relative in named_sources(root):
        found = urljoin(url, text) if relative else restored(text.removeprefix("/vsicurl/"))
        if not is_url(found) or host_of(found) != host_of(url):
            raise ZooError(f"{shown(url)}: refers to {shown(found)}, which is not on its host; give that itself")
        if found.partition("?")[0].lower().endswith(".vrt"):
            raise ZooError(f"{shown(url)}: refers to another VRT, {shown(found)}; give that itself")
        element.text = gdal_name(found)
        element.set("relativeToVRT", "0")
    return ElementTree.tostring(root, encoding="unicode")


def fetch(url: str, most: int) -> bytes:
    """Return what lies at a URL, at most ``most`` bytes. Raises ZooError in one line.

    An answer that sends on to another host is refused.
    """
    try:
        with build_opener(_OwnHost()).open(Request(url), timeout=_SECONDS) as answer:
            content, length = answer.read(most + 1), answer.headers.get("Content-Length")
    except HTTPError as error:
        raise ZooError(f"{shown(url)}: cannot be read (the server answers {error.code}); check the address") from None
    except (URLError, OSError, ValueError) as error:
        raise ZooError(f"{shown(url)}: cannot be read ({getattr(error, 'reason', error)}); check the address") from None
    if len(content) > most:
        raise ZooError(f"{shown(url)}: has more than {most // 2**20} MiB; give its sources one by one")
    if length is not None and len(content) < int(length):
        raise ZooError(f"{shown(url)}: only {len(content)} of {length} bytes came; try again")
    return content


def version_of(path: str | Path) -> list[str]:
    """Return what a server says by which a file is known to have changed: its size, and its ETag or date.

    [] of a bucket (``s3://``, ``gs://``), and where the server does not answer or says nothing.
    """
    url = restored(str(path).removeprefix("/vsicurl/"))
    if not is_url(url) or not url.startswith("http"):
        return []
    try:
        with build_opener(_OwnHost()).open(Request(url, method="HEAD"), timeout=_LOOK_SECONDS) as answer:
            told = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            return [one for one in (answer.headers.get("Content-Length"), told) if one]
    except (ZooError, OSError, ValueError, HTTPException):
        return []


class _OwnHost(HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            raise ZooError(f"{shown(req.full_url)}: sends on to another host, {shown(newurl)}; give that itself")
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None:
            found.method = req.get_method()  # urllib makes a GET of a HEAD
        return found
