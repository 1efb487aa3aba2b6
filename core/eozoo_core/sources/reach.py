"""How far a catalogue is followed: within the folder or host that was given, and where ``infer.source.trust`` says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import host_of, is_url, shown
from eozoo_core.raster.trust import lies_below
from eozoo_core.run.parsed import unreadable

SETTING = "infer.source.trust"
_LARGEST = 2**28  # bytes of a JSON file; one of 20,000 items has a tenth
_SECONDS = 60.0
_SCHEME = re.compile(r"\w[\w+.\-]+:")


class Reach:
    """What lies where the user pointed: the folder of a file with all below it, the host of a URL, and ``trusted``.

    given:   the file or URL that was typed. trusted: hosts, buckets (``s3://BUCKET``) and folders.
    """

    def __init__(self, given: str, trusted: Iterable[str] = ()):
        self._given, self._trusted = given, tuple(trusted)

    def require(self, address: str, source: str) -> None:
        """Raise ZooError where ``address``, which ``source`` refers to, is out of reach."""
        if is_url(address):
            known = {host_of(self._given), *(host_of(one) if is_url(one) else one for one in self._trusted)} - {""}
            if host_of(address) not in known:
                raise ZooError(
                    f"{source}: refers to {shown(address)}, on another host than it is on itself; if you trust it, add "
                    f"--set {SETTING}=[{host_of(address)}]"
                )
            return
        folders = [Path(one) for one in self._trusted if not is_url(one)]
        if not is_url(self._given):
            folders.append(Path(self._given).absolute().parent)
        if address.startswith("/vsi") or _SCHEME.match(address):  # GDAL would follow vrt://FILE and the like
            raise ZooError(f"{source}: refers to {address}; a catalogue may name files and URLs only")
        if not any(lies_below(address, folder) for folder in folders):
            raise ZooError(
                f"{source}: refers to {address}, which is outside its folder; if you trust it, add "
                f"--set {SETTING}=[{Path(address).parent}]"
            )

    def read(self, address: str, source: str) -> str:
        """Return the text of a file or URL within reach. Raises ZooError in one line."""
        self.require(address, source)
        try:
            if not is_url(address):
                path = Path(address)
                if path.stat().st_size > _LARGEST:
                    raise ZooError(f"{address}: has more than {_LARGEST // 2**20} MiB; give a smaller catalogue")
                return path.read_text(encoding="utf-8-sig")
            if not address.lower().startswith(("http://", "https://")):
                raise ZooError(f"{address}: catalogues are read from files and https only; fetch it first")
            with build_opener(_Redirects(self, source)).open(Request(address), timeout=_SECONDS) as answer:
                content = answer.read(_LARGEST + 1)
                length = answer.headers.get("Content-Length")
        except (URLError, OSError, ValueError) as error:
            raise unreadable(address, "a catalogue", error, "check the address") from None
        if len(content) > _LARGEST:
            raise ZooError(f"{address}: has more than {_LARGEST // 2**20} MiB; give a smaller catalogue")
        if length is not None and len(content) < int(length):
            raise ZooError(f"{address}: only {len(content)} of {length} bytes came; try again")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise unreadable(address, "JSON", error) from None

    def read_json(self, address: str, source: str) -> dict[str, Any]:
        """Return the object that a JSON file within reach holds. Raises ZooError in one line."""
        text = self.read(address, source)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise unreadable(address, "JSON", error) from None
        if not isinstance(found, dict):
            raise ZooError(f"{address}: holds a {type(found).__name__}, expected a STAC object")
        return found


class _Redirects(HTTPRedirectHandler):
    """Follows a host's answer "look there" as far as its catalogue is followed."""

    def __init__(self, reach: Reach, source: str):
        self._reach, self._source = reach, source

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the next request. Raises ZooError where it is out of reach."""
        self._reach.require(newurl, self._source)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
