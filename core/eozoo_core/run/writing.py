"""The one way to write: beside its place under a hidden name, synced to disk, then renamed. Complete or not there.

A temporary name says which process writes it, so that the next call clears away what a killed one left. On any
failure nothing is left, and a ``ZooError`` says in one line which file, what is wrong and what to do.
``written`` has a function for every kind of small file; libraries that write by name get `hidden_folder`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.owner import is_left_behind, mark
from eozoo_core.signals import undisturbed

if TYPE_CHECKING:
    import numpy as np

_FREE = "free space or choose another folder"
_REMEDIES = {
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "a folder has this name; move it or choose another name",
    errno.ENOTDIR: "a file is where a folder is needed; move it or choose another folder",
    errno.EEXIST: "a file is where a folder is needed; move it or choose another folder",
    errno.ENOTEMPTY: "a folder has this name; move it or choose another name",
    errno.EFBIG: "the system allows no file of this size (ulimit -f); raise that limit or choose another folder",
}
_LONGEST = 100  # characters of a file's name that its temporary one repeats: names end at 255 bytes
_PIECE = 2**20  # bytes written at once where a file cannot be reserved
_MARKED = re.compile(r"\.[0-9a-f]{8}-\d+-\w*\.[0-9a-f]{8}\.part$")
_RUST = re.compile(r"os error (\d+)")  # how libraries in Rust name the system's reason


class CannotWrite(ZooError):  # noqa: N818 - it says what failed
    """Nothing can be written there: a full disk, or rights. The next file would fail as well."""


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call ``write(file)`` on a temporary file beside ``path``, sync it to disk and rename it onto ``path``.

    A reader sees the old file or the new one, never a part. Raises ZooError where the disk is full or not writable;
    the old file is then still there and the temporary one is gone.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    with refused(path):
        try:
            with _open(temporary) as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            with suppress(OSError):  # the rename itself; not every system can open a folder
                sync(path.parent)
        finally:
            discard(temporary)


@contextmanager
def hidden_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a new hidden folder beside ``path`` for a library that writes by name; gone at the end. See `publish`.

    ``size``: bytes that it will need at least; ZooError where the disk has not so many, before any is written. Makes
    the folder of ``path``. Failures of the disk inside become a ZooError that names ``path``.
    """
    path = Path(path)
    make_folder_of(path)
    folder = temporary_beside(path)
    with refused(path):
        try:
            require_space(path, size)
            folder.mkdir()
            yield folder
        finally:
            discard(folder)


def publish(part: Path, path: Path) -> None:
    """Force ``part``, a file or a folder of files, onto the disk and rename it to ``path``."""
    with refused(path):
        for folder, _, names in os.walk(part):
            for name in names:
                sync(Path(folder, name))
        if part.is_file():
            sync(part)
            part.chmod(part.parent.stat().st_mode & 0o666)  # as the umask allows; some libraries give their owner all
        part.replace(path)
        with suppress(OSError):
            sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it takes the name ``path``, of none or an empty folder, when the block ends well."""
    with hidden_folder(path) as work:
        part = work / path.name
        part.mkdir()
        yield part
        publish(part, path)


@contextmanager
def mapped_array(path: Path, shape: tuple[int, ...], dtype: Any) -> Iterator[np.ndarray]:
    """A memory-mapped .npy of zeros to fill; it takes its name when the block ends well. ZooError on a full disk."""
    with hidden_folder(path) as work:
        part = work / path.name
        array = make_mapped_array(part, shape, dtype)
        yield array
        array.flush()
        publish(part, path)


def make_mapped_array(file: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make ``file``, a .npy of zeros in a hidden folder, and map it into memory, with all its blocks on the disk.

    Without them the first value for which there is no space would end the process (SIGBUS), and no handler can help.
    """
    import numpy as np

    array = np.empty(0, dtype)
    size = int(np.prod(shape, dtype=object)) * array.itemsize
    with refused(file):
        require_space(file, size)
        array = np.lib.format.open_memmap(file, "w+", array.dtype, shape)
        reserve(file)
    return array


def reserve(file: Path) -> None:
    """Give every byte of a sparse file of zeros its place on the disk. Raises OSError where there is none."""
    with file.open("rb+") as opened:
        size = os.fstat(opened.fileno()).st_size
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # macOS has none; some file systems cannot
            if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            head = opened.read(_PIECE)
            opened.seek(0)
            opened.write(head)
            for start in range(len(head), size, _PIECE):
                opened.write(bytes(min(_PIECE, size - start)))
        os.fsync(opened.fileno())


def require_space(path: Path, size: int) -> None:
    """Raise OSError where the disk of ``path`` has less than ``size`` bytes free; asked before and during long work."""
    if size and size > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, f"needs {_bytes(size)}, {_bytes(shutil.disk_usage(path.parent).free)} are free")


def append(path: Path, text: str) -> None:
    """Append text to a file and sync it, whole or not at all. Raises ZooError on a full disk."""
    with refused(path), path.open("ab") as file:
        before = os.fstat(file.fileno()).st_size
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(file.fileno(), before)
            raise


def make_folder(path: Path) -> Path:
    """Make a folder and those above it where they are not there, and return it. Raises ZooError where it cannot be."""
    with refused(path, "made"):
        Path(path).mkdir(parents=True, exist_ok=True)
    return path


def make_folder_of(path: Path) -> None:
    """Make the folder that the file ``path`` will lie in. Raises ZooError where it cannot be."""
    with refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def refused(path: Path, what: str = "written") -> Iterator[None]:
    """Turn what the system says of writing ``path`` inside into ZooError; errors about other files pass."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        cause = _cause(error)
        if cause is None or cause.errno is None or not _is_about(cause, Path(path)):
            raise
        remedy = _REMEDIES.get(cause.errno, _FREE)
        raise CannotWrite(f"{_shown(Path(path))}: cannot be {what} ({cause.strerror}); {remedy}") from error


def leftovers(folder: Path) -> list[Path]:
    """Return temporary files in ``folder`` of processes that were killed while they wrote."""
    return [file for file in Path(folder).glob(".*.part") if file.is_file() and is_left_behind(file)]


def temporary_beside(path: Path) -> Path:
    """Return a hidden name beside ``path`` that nobody has, when what dead processes left in that folder is gone."""
    _clear_once(path.parent.absolute(), os.getpid())
    short = path.name.encode()[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{short}.{mark()}.{secrets.token_hex(4)}.part")


@undisturbed
def discard(temporary: Path) -> None:
    """Remove a temporary file or folder, if it is there, whatever signal comes."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def sync(path: str | Path) -> None:
    """Force a file, or the names in a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(temporary: Path) -> IO[bytes]:
    """Open for reading too: numpy and PIL then write through it, and say why they cannot."""
    return temporary.open("xb+")


@lru_cache(maxsize=4096)
def _clear_once(folder: Path, pid: int) -> None:
    """Remove files and folders that dead processes left in ``folder``; each process looks once at it."""
    with suppress(OSError), os.scandir(folder) as found:
        names = [entry.name for entry in found if entry.name.startswith(".") and entry.name.endswith(".part")]
        for left in (folder / name for name in names if _MARKED.search(name)):
            if is_left_behind(left):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _cause(error: Exception) -> OSError | None:
    """The system's reason: torch reports a failed write as RuntimeError with it as context, Rust by its number."""
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__
    if found := _RUST.search(str(error)):
        number = int(found.group(1))
        return OSError(number, os.strerror(number))
    return None


def _is_about(cause: OSError, path: Path) -> bool:
    """Whether a failure is about ``path``, its temporary files or its folders: its own name says so, or none."""
    if cause.filename is None:
        return not isinstance(cause, BlockingIOError | ConnectionError | TimeoutError)
    named = Path(os.fsdecode(cause.filename)) if not isinstance(cause.filename, int) else path
    hidden = any(part.startswith(".") and part.endswith(".part") for part in named.parts)
    return hidden or named == path or named in path.parents


def _shown(path: Path) -> Path:
    """The place that a file in a hidden folder is meant for."""
    parts = [part for part in path.parts if not _MARKED.search(part)]
    return Path(*parts)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
