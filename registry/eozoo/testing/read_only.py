"""A disk that cannot be written, without one."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHANGES = {  # audit events, and which of their arguments are paths that change
    **dict.fromkeys(("open", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"), slice(0, 1)),
    **dict.fromkeys(("os.rename", "os.link"), slice(0, 2)),
    "os.symlink": slice(1, 2),
}


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let Python's own calls fail that would write below ``folder``, as on a read-only disk."""
    active, root = [True], str(folder.absolute())

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if not active or event not in _CHANGES:
            return
        if event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
        for path in args[_CHANGES[event]]:
            if isinstance(path, (str, os.PathLike)) and str(Path(path).absolute()).startswith(root):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    sys.addaudithook(refuse)  # it cannot be taken away again, only told to look away
    try:
        yield
    finally:
        active.clear()
