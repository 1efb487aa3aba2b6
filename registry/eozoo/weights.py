"""What models and tasks name of published weights, and fetching it into the user's cache. Nothing is fetched unasked.

The cache itself, with its receipts, is ``eozoo_core.run.published``.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.run.published import keep_receipt, place, receipt, require_same, verify
from eozoo_core.run.writing import make_folder_of, require_space, write_atomic
from eozoo_core.spec import Source

from eozoo.registry import Registry

_CHUNK = 2**20
_TIMEOUT = 30.0  # seconds without a byte
_KINDS = ("model", "task")


def listed(registry: Registry) -> list[tuple[str, Source]]:
    """Return (name, published file) of every registered model and task, importing none of them."""
    specs = [entry.spec for kind in _KINDS for entry in registry.entries(kind)]
    return list(dict.fromkeys((spec.name, source) for spec in specs for source in spec.sources))


def sources(registry: Registry, name: str) -> tuple[str, list[Source]]:
    """Return the plain name of a model or task and its published files. Raises ZooError where it has none."""
    kinds = [kind for kind in _KINDS if registry.has(kind, name)] or ["model"]
    specs = [registry.find(kind, name).spec for kind in kinds]
    found = list(dict.fromkeys(source for spec in specs for source in spec.sources))
    if not found:
        suggestion = did_you_mean(name, {other for other, _ in listed(registry)})
        raise ZooError(f"{kinds[0]} {name!r} names no published weights.{suggestion}")
    return specs[0].name, found


def fetch(name: str, source: Source, progress: Callable[[int, int | None], None] | None = None) -> Path:
    """Return the file, downloaded where it is not there, with a receipt beside it.

    The hash must be the one that the plugin names or, where it names none, that of the first time: that is pinned.
    Raises ZooError offline (EOZOO_OFFLINE=1), for another hash or size, and where the download fails; nothing is left.
    """
    path = place(name, source)
    if path.exists():
        verify(name, source)
        return path
    if os.environ.get("EOZOO_OFFLINE", "") not in ("", "0"):
        raise ZooError(f"{path}: is not in the cache and EOZOO_OFFLINE is set; copy {source.file} there, or go online")
    pinned = (receipt(name, source) or {}).get("sha256")
    make_folder_of(path)
    seen: dict[str, Any] = {}
    write_atomic(path, lambda file: seen.update(_download(source, file, source.sha256 or pinned, progress)))
    keep_receipt(name, source, seen)
    return path


def _download(source: Source, file: Any, expected: str | None, progress: Callable | None) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    for chunk, length in _chunks(source):
        total = length or source.bytes
        if not size and total is not None:
            require_space(Path(file.name), total)
        file.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if progress is not None:
            progress(size, total)
    seen = {"sha256": digest.hexdigest(), "bytes": size}
    require_same(source, seen, expected, source.url)
    return seen


def _chunks(source: Source) -> Iterator[tuple[bytes, int | None]]:
    """Yield what comes from the network, and how many bytes it says that it will be."""
    try:
        with urllib.request.urlopen(source.url, timeout=_TIMEOUT) as answer:
            length, size = int(answer.headers.get("Content-Length") or 0) or None, 0
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                yield chunk, length
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ZooError(
            f"{source.url}: cannot be fetched ({getattr(error, 'reason', error)}); try again later"
        ) from None
    if length and size != length:
        raise ZooError(f"{source.url}: ended after {size:,} of {length:,} bytes; try again")
