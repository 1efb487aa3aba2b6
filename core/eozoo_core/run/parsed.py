"""JSON and text of any file, damaged ones in one line: which file, what is wrong, what to do."""

from __future__ import annotations

import errno
import json
import os
import tokenize
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError

_PLAIN = (errno.ENOENT, errno.EISDIR, errno.EACCES, errno.ENOTDIR, errno.EIO)  # the system says it best
_LONGEST = 120  # characters of a reason that quotes the file


def reason_of(error: BaseException) -> str:
    """Return why a library could not read something, short and on one line."""
    if isinstance(error, OSError) and error.errno in _PLAIN:
        words = os.strerror(error.errno)
    else:
        quoted = isinstance(error, KeyError | tokenize.TokenError) and error.args  # str() would show their arguments
        words = str(error.args[0] if quoted else error)
    found = " ".join(str(words).split()) or type(error).__name__
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."


def read_text(path: Path, what: str = "text", remedy: str = "") -> str:
    """Return the content of a UTF-8 file, with or without a byte-order mark. Raises ZooError where it cannot."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, what, error, remedy) from None


def read_json(path: Path, what: str = "JSON", remedy: str = "") -> Any:
    """Return what a JSON file holds. ``remedy``: what to do. Raises ZooError where it cannot be read or is none."""
    text = read_text(path, what, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise unreadable(path, what, error, remedy) from None


def read_object(path: Path, remedy: str = "") -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises ZooError as `read_json`, and where it holds anything else."""
    found = read_json(path, remedy=remedy)
    if not isinstance(found, dict):
        raise ZooError(
            f"{path}: holds a {type(found).__name__}, expected an object" + (f"; {remedy}" if remedy else "")
        )
    return found


def unreadable(path: Path | str, what: str, error: BaseException, remedy: str = "") -> ZooError:
    """Return the error "PATH: cannot be read as WHAT (why); REMEDY"."""
    return ZooError(f"{path}: cannot be read as {what} ({reason_of(error)})" + (f"; {remedy}" if remedy else ""))
