"""Arrays of numpy's files, and members of zip archives: damaged ones in one line, bounded before they are unpacked."""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import unreadable

SMALL, MOST = 2**28, 200  # bytes that any file may become; beyond, how many times its own size
FETCH = "fetch it again, or make it again"
# What numpy, zipfile and the decompressors raise for damaged files; a block that catches them is one call of theirs.
_FAULTS = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


def allowed(size: int) -> int:
    """Return how many bytes a file of ``size`` bytes may become when it is unpacked."""
    return max(SMALL, MOST * size)


def map_array(path: Path, remedy: str = FETCH) -> np.ndarray:
    """Map a ``.npy`` file into memory, read only.

    Raises ZooError where it is missing, holds Python objects, or is longer or shorter than its header says.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        size = Path(path).stat().st_size
    except _FAULTS as error:
        raise _no_array(path, error, remedy) from error
    if not isinstance(array, np.memmap):
        raise ZooError(f"{path}: is an archive of arrays; save the one array with numpy.save")
    if size != array.offset + array.nbytes:
        said = f"its header says {array.dtype} {array.shape}, {array.nbytes:,} bytes; {size - array.offset:,} follow"
        raise ZooError(f"{path}: cannot be read as a .npy array ({said}); {remedy}")
    return array


def read_arrays(
    path: Path, what: str = "an NPZ archive of arrays", remedy: str = FETCH, only: str | None = None
) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` file, or the one called ``only``, every byte held against its checksum.

    Raises ZooError where it is missing or damaged, holds Python objects, or would grow beyond what `allowed` says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            require_small(path, archive)
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _member(archive, info) for name, info in names.items() if only in (None, name)}
    except FileNotFoundError:
        raise ZooError(f"{path}: no such file") from None
    except _FAULTS as error:
        raise unreadable(path, what, _unpickled(error), remedy) from error


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive. Raises ZooError where it is none, is damaged, or would become far larger than itself."""
    try:
        archive = zipfile.ZipFile(path)
    except _FAULTS as error:
        raise unreadable(path, "a zip archive", error, FETCH) from error
    require_small(path, archive)
    return archive


def read_member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member of the archive that `open_zip` opened. Raises ZooError where it is damaged."""
    try:
        return archive.read(name)
    except _FAULTS as error:
        raise unreadable(path, "a zip archive", error, FETCH) from error


def require_small(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ZooError where a zip archive would become far larger than itself. zipfile unpacks no more than it says."""
    total, most = sum(info.file_size for info in archive.infolist()), allowed(Path(path).stat().st_size)
    if total > most:
        raise ZooError(
            f"{path}: would become {total / 2**20:,.0f} MiB, of {Path(path).stat().st_size / 2**20:,.1f} MiB; no data "
            "shrink like that, it is not unpacked"
        )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # reading to the end also compares the checksum
            raise ValueError(f"{info.filename} is longer than its header says")
    return array


def _no_array(path: Path, error: BaseException, remedy: str) -> ZooError:
    return unreadable(path, "a .npy array", _unpickled(error), remedy)


def _unpickled(error: BaseException) -> BaseException:
    """Numpy's own words would advise to load the pickle anyway."""
    python = "pickle" in str(error) or "Python objects" in str(error)
    return ValueError("it holds Python objects") if python else error
