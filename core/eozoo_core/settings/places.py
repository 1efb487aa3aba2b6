"""Paths in ``runtime``: which of them lead nowhere, and why, for the error of a file that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eozoo_core.errors import ZooError, link_of
from eozoo_core.settings.schema import TaskSettings

_NAMES = ("_dir", "_path", "_file", "_folder", "_root")


def paths_of(settings: TaskSettings) -> dict[str, Path]:
    """Return dotted key -> path of every setting of ``runtime`` that is one by its type or name, and is given."""
    given = {name: value for name, value in settings.runtime if value}
    return {
        f"runtime.{name}": Path(value)
        for name, value in given.items()
        if isinstance(value, Path) or (isinstance(value, str) and name.endswith(_NAMES))
    }


@contextmanager
def naming_places(settings: TaskSettings, before: str = "") -> Iterator[None]:
    """Add to a ZooError about a path that leads nowhere which setting it is of, where it was looked for, what to do.

    before: the folder that relative paths were meant from, as far as that is known: where the run was trained.
    """
    try:
        yield
    except ZooError as error:
        for key, path in paths_of(settings).items():
            if not path.exists() and str(path) in str(error) and key not in str(error):
                raise ZooError(f"{error} ({_told(key, path, before)})") from error
        raise


def _told(key: str, path: Path, before: str) -> str:
    if link := link_of(path):
        return f"{key}={path}{link.replace(' (', ': ', 1).removesuffix(')')}"
    if path.is_absolute():
        return f"{key}={path} is not there; give its place: --set {key}=PATH"
    there = Path(before, path)
    known = f"--set {key}={there}" if before and there.exists() else f"give the whole path: --set {key}=/.../{path}"
    return f"{key}={path} was looked for in {Path.cwd()}; {known}"
