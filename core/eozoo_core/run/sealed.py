"""JSON that knows its own content and the files beside it: what was changed after it was written is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.run.manifest import quick_sha256

SEAL = "sha256"  # of everything else, but the files
FILES = "files"  # name -> sha256 of a file beside it


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content`` with its sha256 in it."""
    return {**content, SEAL: _digest(content)}


def require_sealed(file: Path, content: dict[str, Any], remedy: str) -> dict[str, Any]:
    """Return ``content`` of the JSON ``file`` as it was sealed; one without a seal, of an older version, as it is.

    Raises ZooError, with ``remedy``, where it was changed after it was written.
    """
    if content.get(SEAL, digest := _digest(content)) != digest:
        raise ZooError(
            f"{file}: was changed after it was written (its {SEAL} says so); {remedy}; if you changed it, delete its "
            f'line "{SEAL}"'
        )
    return content


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what goes under `FILES`: the sha256 of every file of ``names`` in ``folder``."""
    return {name: quick_sha256(folder / name) for name in names}


def require_file(file: Path, content: Mapping[str, Any], told_by: str, remedy: str) -> bool:
    """Return whether ``content``, of the JSON ``told_by`` beside it, knows ``file``; False in an older version.

    Raises ZooError, with ``remedy``, where it knows another one.
    """
    known = content.get(FILES)
    known = known.get(file.name) if isinstance(known, dict) else None
    if known is not None and known != quick_sha256(file):
        raise ZooError(
            f"{file}: was changed after it was written (its {SEAL} in {told_by} says so); {remedy}; if you changed it, "
            f"delete its line in {told_by}"
        )
    return known is not None


def _digest(content: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in content.items() if key not in (SEAL, FILES)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
