"""Small files of every kind: written complete or not at all, with the folder that they lie in; see ``writing``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.run.writing import make_folder_of, write_atomic

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from matplotlib.figure import Figure


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file and the folder that it lies in; return its path."""
    path = Path(path)
    make_folder_of(path)
    write_atomic(path, lambda file: file.write(content))
    return path


def write_text(path: str | Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a text file; return its path."""
    return write_bytes(path, text.encode(encoding))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file with a header; return its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def write_array(path: Path, array: np.ndarray) -> Path:
    """Write an array as .npy; return its path."""
    import numpy as np

    make_folder_of(path)
    write_atomic(path, lambda file: np.save(file, array, allow_pickle=False))
    return path


def write_arrays(path: Path, arrays: Mapping[str, Any], compress: bool = False) -> Path:
    """Write named arrays as one .npz; return its path."""
    import numpy as np

    make_folder_of(path)
    save = np.savez_compressed if compress else np.savez
    write_atomic(path, lambda file: save(file, **arrays))
    return path


def hdf5_bytes(fill: Callable[[h5py.File], Any], libver: tuple[str, str] | None = None) -> bytes:
    """Return the HDF5 file that ``fill`` makes, to be written whole: HDF5 itself crashes on a full disk."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=libver) as file:
        fill(file)
    return memory.getvalue()


def write_figure(path: str | Path, figure: Figure, tight: bool = True) -> Path:
    """Write a matplotlib figure as PNG, cut to what is drawn where it shall be ``tight``; return its path."""
    path = Path(path)
    make_folder_of(path)
    box = {"bbox_inches": "tight", "pad_inches": 0.12} if tight else {}
    write_atomic(path, lambda file: figure.savefig(file, dpi=150, format="png", **box))
    return path


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Write ``(H, W, 3)`` uint8 as PNG; return its path."""
    from matplotlib.image import imsave

    make_folder_of(path)
    write_atomic(path, lambda file: imsave(file, picture, format="png"))
    return path


def copy_file(source: Path, path: Path) -> Path:
    """Copy a file's content; return the copy."""
    import shutil

    make_folder_of(path)
    with source.open("rb") as content:
        write_atomic(path, lambda file: shutil.copyfileobj(content, file))
    return path


def is_current(file: Path, *sources: Path) -> bool:
    """Whether a file is there and no older than what it is made from."""
    try:
        return file.stat().st_mtime_ns >= max(source.stat().st_mtime_ns for source in sources)
    except FileNotFoundError:
        return False


def stamp_of(decides: Any, files: Iterable[Path]) -> str:
    """Return a hash of ``decides`` (plain JSON types) and of names, sizes and times of change of ``files``."""
    stats = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return hashlib.sha256(json.dumps([decides, stats]).encode()).hexdigest()
