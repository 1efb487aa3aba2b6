"""Published weights in a cache of the user's, each with a receipt of what was fetched. Nothing is fetched unasked."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.run.checkpoint import sha256
from eozoo_core.run.user_cache import user_cache
from eozoo_core.run.writing import make_folder_of, require_space, write_atomic
from eozoo_core.run.written import write_text
from eozoo_core.spec import Source

from eozoo.names import Entry
from eozoo.registry import Registry

_CHUNK = 2**20
_TIMEOUT = 30.0  # seconds without a byte


def cache() -> Path:
    """Return the user's cache; weights lie in weights/NAME/FILE."""
    return user_cache()


def listed(registry: Registry) -> list[tuple[Entry, Source]]:
    """Return every published file of every registered model, importing none of them."""
    return [(entry, source) for entry in registry.entries("model") for source in entry.spec.sources]


def sources(registry: Registry, name: str) -> list[Source]:
    """Return the published files of model ``name``. Raises ZooError where it has none."""
    found = registry.find("model", name).spec.sources
    if not found:
        others = {entry.spec.name for entry, _ in listed(registry)}
        raise ZooError(f"model {name!r} names no published weights.{did_you_mean(name, others)}")
    return list(found)


def place(name: str, source: Source) -> Path:
    """Return where a file is, or would be, in the cache."""
    return cache() / "weights" / name / source.file


def receipt(name: str, source: Source) -> dict[str, Any] | None:
    """Return what was seen when the file was fetched, None where it was not. Raises ZooError for a damaged receipt."""
    file = _receipt_file(name, source)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found["sha256"], str):
            raise ValueError("no sha256")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ZooError(f"{file}: cannot be read ({error}); delete it and fetch again") from None
    return found


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
    _keep(name, source, seen)
    return path


def verify(name: str, source: Source, file: Path | None = None) -> dict[str, Any]:
    """Hash the file in the cache, or a local ``file``, and compare it with what the plugin names or was fetched before.

    A file put into the cache by hand is pinned. Returns sha256 and bytes. Raises ZooError where it is not there or is
    another, and for a local file where there is nothing to compare it with.
    """
    path, known = file or place(name, source), receipt(name, source)
    if file is None and not path.exists():
        raise ZooError(f"{path}: is not there; 'eozoo weights fetch {name}' downloads it")
    expected = source.sha256 or (known or {}).get("sha256")
    seen = {"sha256": sha256(path), "bytes": path.stat().st_size}
    _check(source, seen, expected, str(path))
    if file is not None and expected is None:
        raise ZooError(
            f"{path}: has sha256 {seen['sha256']}; nobody names that of {source.file}, so it cannot be verified"
        )
    if file is None and known is None:
        _keep(name, source, seen)
    return seen


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
    _check(source, seen, expected, source.url)
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


def _check(source: Source, seen: dict[str, Any], expected: str | None, where: str) -> None:
    if source.bytes is not None and seen["bytes"] != source.bytes:
        raise ZooError(f"{where}: has {seen['bytes']:,} bytes, expected {source.bytes:,}; it is another file")
    if expected is not None and seen["sha256"] != expected.lower():
        short = f"{seen['sha256'][:16]}..., expected {expected.lower()[:16]}..."
        raise ZooError(f"{where}: has sha256 {short}; it is another file or damaged, and is not used")


def _receipt_file(name: str, source: Source) -> Path:
    path = place(name, source)
    return path.with_name(f"{path.name}.receipt.json")


def _keep(name: str, source: Source, seen: dict[str, Any]) -> None:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = {**seen, "url": source.url, "revision": source.revision, "licence": source.licence, "when": when}
    write_text(_receipt_file(name, source), json.dumps(content, indent=2) + "\n")
