"""A run is what it says: run.json names best.pt and config.yaml by hash, and anything else in their place is refused.

Hashes are noted before the files get their names, beside those of the files that are there: whichever of the two a
killed process leaves is known. What best.pt needs beside itself it names by hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run.checkpoint import sha256
from eozoo_core.settings import yamlio
from eozoo_core.settings.config import read_yaml

KEY = "files"  # of run.json: name -> hashes, the newest first
CONFIG = "config.yaml"


def quick_sha256(file: Path) -> str:
    """Return ``checkpoint.sha256``, computed once in a process while size, time and place of the file stay."""
    try:
        found = Path(file).stat()
    except OSError as error:
        raise ZooError(f"{file}: cannot be read ({error.strerror}){link_of(file)}") from None
    return _hash_of(str(Path(file).absolute()), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash_of(file: str, inode: int, size: int, changed: int) -> str:
    return sha256(Path(file))


def settings_digest(text: str) -> str:
    """Return a hash of what settings in YAML say: comments and layout aside."""
    return _of_values(yamlio.parse(text))


def expected(info: Mapping[str, Any], file: Path, digest: str, found: Callable[[Path], str]) -> dict[str, list[str]]:
    """Return the entry of run.json that knows ``file`` as it is and as it will be, ``digest``.

    ``found`` hashes the file that is there. One that run.json did not know before stays unknown.
    """
    known, old = info.get(KEY, {}), []
    if file.exists():
        with suppress(ZooError):  # damaged: then it is not one of ours
            old = [found(file)]
    if file.name in known:
        old = [one for one in old if one in known[file.name]]
    return {**known, file.name: list(dict.fromkeys([digest, *old]))}


def require_known(info: Callable[[], Mapping[str, Any]], best: Path) -> None:
    """Raise ZooError where run.json names another best.pt; one that names none is of an earlier version.

    ``info`` reads run.json, after the file was hashed: a training that goes on may replace it meanwhile.
    """
    digest = ""
    while digest != (digest := quick_sha256(best)):
        known = info().get(KEY, {}).get(best.name)
        if not known or digest in known:
            return
    raise ZooError(
        f"{best}: is not the file that training left here (sha256 {digest[:16]}..., in run.json {known[0][:16]}...); "
        "copy the whole run again, or use the file alone, in a folder of its own"
    )


def require_settings(info: Mapping[str, Any], folder: Path) -> None:
    """Raise ZooError where config.yaml says something else than training wrote."""
    known, file = info.get(KEY, {}).get(CONFIG), folder / CONFIG
    if known and file.exists() and of_settings(file) not in known:
        alone = "; without it those in best.pt are taken" if (folder / "best.pt").exists() else ""
        raise ZooError(
            f"{file}: is not as training wrote it (edited, or cut short); give settings with --set, and copy the file "
            f"back from where the run was made{alone}"
        )


def of_settings(file: Path) -> str:
    """Return `settings_digest` of a file. Raises ZooError where it cannot be read."""
    return _of_values(read_yaml(file))


def require_beside(named: Mapping[str, str], best: Path) -> None:
    """Raise ZooError where a file that best.pt names by hash is gone, or is another one now."""
    for name, digest in named.items():
        file = best.parent / name
        if not file.exists() or quick_sha256(file) != digest:
            raise ZooError(
                f"{file}: is missing or not the one that training kept{link_of(file)}; copy the whole run directory "
                "again"
            )


def _of_values(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
