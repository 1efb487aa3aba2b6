"""Published weights: where they lie, whether a file is the one that a plugin names, and loading every tensor of it.

The files lie in the user's cache, weights/NAME/FILE, each with a receipt of what was fetched. ``eozoo weights fetch``
puts them there; nothing here goes to the network.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run.checkpoint import Receipt, load_module, load_tensors, load_weights, require_whole, sha256
from eozoo_core.run.user_cache import user_cache
from eozoo_core.run.written import write_text
from eozoo_core.spec import Source

PUBLISHED = "published"  # in place of a path: the file that 'eozoo weights fetch' keeps
_WRAPPED = ("state_dict", "model_state_dict", "model")  # keys under which files keep the state dict

Pick = Callable[[dict[str, Any], Path], dict[str, Any]]


def find_weights(
    given: Path | str | bool, name: str, sources: Sequence[Source], setting: str = "model.weights"
) -> Path:
    """Return the file that a setting means: a path, or with "published" (or true) the first source in the cache.

    name:    the model that the weights are of, by which they are fetched.
    sources: where its weights are published (``Spec.sources``).

    Raises ZooError, which begins with ``setting``, where there is no such file, or where one that is called as a
    published file has other content than the plugin names.
    """
    if given is True or str(given) == PUBLISHED:
        if not sources:
            raise ZooError(f"{setting}: no published weights of {name} are known; give a file")
        file = place(name, sources[0])
        if not file.exists():
            raise ZooError(f"{setting}: {file} is not there; 'eozoo weights fetch {name}' downloads it")
        verify(name, sources[0])
        return file
    file = Path(given)
    if not file.exists():
        help_ = f"; {PUBLISHED!r} means the file that 'eozoo weights fetch {name}' downloads" if sources else ""
        raise ZooError(f"{setting} {given}: no such file{link_of(file)}{help_}")
    for source in sources:
        if source.file == file.name and source.sha256 is not None:
            verify(name, source, file)
    return file


def load_published(
    module: Any,
    given: Path | str | bool,
    name: str,
    sources: Sequence[Source],
    pick: Pick,
    setting: str = "model.weights",
) -> Receipt:
    """Load weights into ``module``, every tensor matched in name and shape, and return the receipt for the run.

    Call it where training begins: a checkpoint holds these tensors, and its run needs the file no more. ``pick`` gets
    the file's state dict and its path, and returns the tensors under the module's own names. The others as for
    `find_weights`. Raises ZooError as that, where the file is damaged, and where a tensor does not match.
    """
    file = find_weights(given, name, sources, setting)
    receipt = load_module(module, pick(_state(file), file), file)
    return replace(receipt, origin=_origin(receipt.sha256, name, sources))


def _state(file: Path) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        return load_weights(file)
    content = load_tensors(file, mmap=True)  # of an optimiser's state and a decoder nothing is copied
    if zipfile.is_zipfile(file):
        require_whole(file)
    for key in _WRAPPED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ZooError(f"{file}: holds no state dict of tensors")
    return content


def _origin(digest: str, name: str, sources: Sequence[Source]) -> str:
    """Return what is known of a file with this hash: its source, or that it is none of them; "" where none is known."""
    known = {(source.sha256 or (receipt(name, source) or {}).get("sha256", "")).lower(): source for source in sources}
    if source := known.get(digest):
        return f"as published, revision {source.revision or 'unknown'}, licence {source.licence or 'unknown'}"
    return f"not a file that {name} names" if any(known) else ""


# -- the cache --------------------------------------------------------------------------------------------------------


def place(name: str, source: Source) -> Path:
    """Return where a file is, or would be, in the cache."""
    return user_cache() / "weights" / name / source.file


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


def keep_receipt(name: str, source: Source, seen: dict[str, Any]) -> None:
    """Write down sha256 and bytes, ``seen`` in a file of the cache, with where it is from and when."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = {**seen, "url": source.url, "revision": source.revision, "licence": source.licence, "when": when}
    write_text(_receipt_file(name, source), json.dumps(content, indent=2) + "\n")


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
    require_same(source, seen, expected, str(path))
    if file is not None and expected is None:
        raise ZooError(
            f"{path}: has sha256 {seen['sha256']}; nobody names that of {source.file}, so it cannot be verified"
        )
    if file is None and known is None:
        keep_receipt(name, source, seen)
    return seen


def require_same(source: Source, seen: dict[str, Any], expected: str | None, where: str) -> None:
    """Raise ZooError where what was ``seen`` (sha256, bytes) at ``where`` is not what was ``expected`` (a hash)."""
    if source.bytes is not None and seen["bytes"] != source.bytes:
        raise ZooError(f"{where}: has {seen['bytes']:,} bytes, expected {source.bytes:,}; it is another file")
    if expected is not None and seen["sha256"] != expected.lower():
        short = f"{seen['sha256'][:16]}..., expected {expected.lower()[:16]}..."
        raise ZooError(f"{where}: has sha256 {short}; it is another file or damaged, and is not used")


def _receipt_file(name: str, source: Source) -> Path:
    path = place(name, source)
    return path.with_name(f"{path.name}.receipt.json")
