"""The one exception that users see as a single line; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ZooError(Exception):
    """A mistake the user can repair. The message is one line: which file or field, what is wrong, what to do."""


class NoSplit(ZooError):  # noqa: N818 - an answer more than an error
    """There is no data of a split: the only mistake that `Task.has_split` takes for an answer."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"``, or ``" Known: a, b."`` where nothing in ``known`` is close to ``name``."""
    from difflib import get_close_matches

    known = sorted(set(known))
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known) or 'none'}."


def link_of(path: str | Path) -> str:
    """Return " (a link to X, which is not there)" where ``path``, or a folder above it, is a dangling link; else ""."""
    from pathlib import Path

    for place in (Path(path), *Path(path).parents):
        if place.is_symlink() and not place.exists():
            return f" ({place} is a link to {place.readlink()}, which is not there)"
    return ""


def no_split(split: str, where: object, found: Iterable[str]) -> NoSplit:
    """Return the error "WHERE: has no split 'tset'. Did you mean 'test'?", for splits that are folders or files."""
    return NoSplit(f"{where}: has no split {split!r}.{did_you_mean(split, found)}")


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """Training stopped on a signal, after saving. The message is one line that says how to go on.

    ``number``: the signal, see ``eozoo_core.signals``; 2 is Ctrl-C.
    """

    def __init__(self, message: str, number: int = 2):
        super().__init__(message)
        self.number = number
