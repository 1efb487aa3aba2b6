"""HDF5 and NetCDF-4 files as h5py opens them: what the library cannot read is one line, a bug keeps its traceback."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import unreadable

REMEDY = "fetch it again"
_HEAP = b"GCOL\1\0\0\0"  # signature, version and three zeros
_END = 2**26  # bytes that are looked through for heaps, at both ends of a file


def require_h5py(path: Path | str, extra: str = "eozoo[hdf5]") -> None:
    """Raise ZooError where h5py, which reads ``path``, is not installed. ``extra``: what installs it."""
    if find_spec("h5py") is None:
        raise ZooError(f"{path}: HDF5 and NetCDF files are read with h5py; pip install '{extra}'")


@contextmanager
def hdf5(path: Path | str, what: str = "HDF5", remedy: str = REMEDY) -> Iterator[None]:
    """Turn what h5py itself raises into ``ZooError("<path>: cannot be read as <what> (<reason>); <remedy>")``.

    h5py raises almost anything for a damaged file. An error from outside of it is a bug of ours and goes through.
    """
    try:
        yield
    except Exception as error:
        if not _raised_in("h5py", error.__traceback__):
            raise
        raise unreadable(path, what, error, remedy) from error


def require_heaps(name: Path | str, content: mmap.mmap | bytes) -> None:
    """Raise ZooError where a heap of texts says that an object in it has no size: the library would read it for ever.

    Format: HDF5 File Format Specification 3.0, III.E, global heap. Of a very large file its two ends are looked at.
    """
    for begin, stop in {(0, min(len(content), _END)), (max(0, len(content) - _END), len(content))}:
        at = content.find(_HEAP, begin, stop)
        while at >= 0:
            if not _ends(content, at):
                raise ZooError(
                    f"{name}: cannot be read as HDF5 (its heap of texts at byte {at:,} is damaged); {REMEDY}"
                )
            at = content.find(_HEAP, at + 1, stop)


def require_heaps_in(path: Path) -> None:
    """Do what `require_heaps` does for a file on disk. Raises ZooError where it cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            require_heaps(path, content)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise unreadable(path, "HDF5", error, REMEDY) from None


def _ends(content: mmap.mmap | bytes, at: int) -> bool:
    """Whether going from object to object leads out of the heap at ``at``: 2 bytes of index, 6 of others, 8 of size."""
    place, stop = at + 16, at + int.from_bytes(content[at + 8 : at + 16], "little")
    if stop > len(content):  # no heap, or the library says so
        return True
    while stop - place >= 16:
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        free = content[place : place + 2] == b"\0\0"  # the rest of the heap, its 16 bytes in ``size``
        if free and size < 16:
            return False
        place += size if free else 16 + (size + 7) // 8 * 8
    return True


def _raised_in(package: str, trace: TracebackType | None) -> bool:
    """Whether an error came out of a package, by the last frame of its traceback."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == package
