"""Files that appear complete under their name or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import write_atomic


def save_array(path: Path, array: np.ndarray) -> Path:
    """Write an array as .npy, atomically."""
    write_atomic(path, lambda file: np.save(file, array, allow_pickle=False))
    return path


@contextmanager
def scratch_array(path: Path, shape: tuple[int, ...], dtype: type) -> Iterator[np.ndarray]:
    """A memory-mapped .npy of zeros to fill; it gets its name when the block ends well. ZooError on a full disk."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        _check_space(path.parent, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        array = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        yield array
        array.flush()
        del array
        temporary.replace(path)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to fill; it takes the name ``path`` when the block ends well, replacing none."""
    if path.exists():
        raise ZooError(f"{path}: exists already; delete it or choose another tile name")
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ZooError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_space(folder: Path, needed: int) -> None:
    """A memory map on a full disk kills the process; so ask first."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ZooError(f"{folder}: needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f} GB free; free space first")
