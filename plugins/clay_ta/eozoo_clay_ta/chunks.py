"""The files of samples, ``{split}_chunk_00000.pt``: writing, checking, and reading them mapped into memory.

Why mapped: reading whole chunks is what used to stall training. A mapped chunk opens in milliseconds, and a batch
touches only its own rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core import ZooError
from eozoo_core.errors import no_split
from eozoo_core.run.checkpoint import load_tensors, require_whole, save_tensors
from eozoo_core.run.mapped import load_mapped

from eozoo_clay_ta.grid import WINDOW
from eozoo_clay_ta.sample_schema import CHANNELS
from eozoo_clay_ta.static import CLASSES

if TYPE_CHECKING:
    import numpy as np
    import torch

SCHEMA = {
    "x": (CHANNELS, WINDOW, WINDOW),
    "y": (),
    "time7": (7,),
    "loc": (3,),
    "landcover_onehot": (CLASSES,),
}
META = ("timestamp_utc", "stn", "pixel_x", "pixel_y")


@dataclass(frozen=True)
class Chunk:
    """One open file: ``tensors`` by the names of SCHEMA (N first), mapped; ``meta`` a list of N tuples as META says."""

    path: Path
    tensors: dict[str, torch.Tensor]
    meta: list[tuple[str, int, int, int]]

    def __len__(self) -> int:
        return len(self.meta)


def chunk_path(folder: Path, split: str, number: int) -> Path:
    """Return the documented name of a chunk."""
    return Path(folder) / f"{split}_chunk_{number:05d}.pt"


def write_chunk(path: Path, arrays: dict[str, np.ndarray], meta: list[tuple]) -> Path:
    """Write one chunk, atomically: float32 arrays by the names of SCHEMA, and plain tuples."""
    import torch

    tensors = {name: torch.from_numpy(arrays[name]) for name in SCHEMA}
    content = {**tensors, "meta": [(str(t), int(s), int(x), int(y)) for t, s, x, y in meta]}
    check_chunk(content, path)
    save_tensors(path, content)
    return path


def open_chunk(path: Path, whole: bool = False) -> Chunk:
    """Open a chunk, mapped; ``whole``: first hold every byte against the checksums in it, as ``check`` does.

    Raises ZooError where it is damaged or has another schema.
    """
    if whole:
        require_whole(path)
    content = load_mapped(path)
    if content is None:  # written otherwise than `write_chunk` does, or damaged, which is said then
        content = load_tensors(path, mmap=True)
    check_chunk(content, path)
    return Chunk(Path(path), {name: content[name] for name in SCHEMA}, content["meta"])


def check_chunk(content: Any, path: Path) -> None:
    """Raise ZooError, naming file and entry, unless ``content`` has exactly the documented schema."""
    import torch

    expected = {*SCHEMA, "meta"}
    if not isinstance(content, dict) or set(content) != expected:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ZooError(f"{path}: a chunk holds {', '.join([*SCHEMA, 'meta'])}; this file holds {found or 'nothing'}")
    meta = content["meta"]
    if not isinstance(meta, list):
        raise ZooError(f"{path}: meta is a {type(meta).__name__}, expected a list; build the chunks anew")
    for name, shape in SCHEMA.items():
        value = content[name]
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32 or value.shape != (len(meta), *shape):
            found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise ZooError(
                f"{path}: {name} is {found}, expected torch.float32 {(len(meta), *shape)}; build the chunks anew"
            )
    if meta and not (isinstance(meta[0], tuple) and len(meta[0]) == len(META)):
        raise ZooError(f"{path}: meta holds {meta[0]!r}, expected tuples ({', '.join(META)}); build the chunks anew")


class PatchStore:
    """All chunks of one split as one long set of samples. Opening maps the files; rows are read when asked for."""

    def __init__(self, folder: Path, split: str):
        self.folder, self.split = Path(folder), split
        self.files = sorted(self.folder.glob(f"{split}_chunk_*.pt"))
        if not self.files:
            if splits := {f.name.split("_chunk_")[0] for f in self.folder.glob("*_chunk_*.pt")}:
                raise ZooError(no_split(split, folder, splits))
            raise ZooError(
                f"{folder}: holds no {split}_chunk_00000.pt; run 'eozoo prepare clay_ta build_patches' or set "
                "runtime.data_dir"
            )
        self.chunks = [open_chunk(file) for file in self.files]
        self._starts = [0]
        for chunk in self.chunks:
            self._starts.append(self._starts[-1] + len(chunk))
        if not len(self):
            raise ZooError(f"{folder}: the chunks of {split} hold no sample")

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return one sample by the names of SCHEMA. A ``Draw`` is taken by its index."""
        index = getattr(index, "index", index)
        if not 0 <= index < len(self):
            raise IndexError(index)
        chunk = bisect_right(self._starts, index) - 1
        return {n: t[index - self._starts[chunk]] for n, t in self.chunks[chunk].tensors.items()}

    def batch(self, indices: np.ndarray, names: tuple[str, ...] = tuple(SCHEMA)) -> dict[str, torch.Tensor]:
        """Return ``names`` of the samples ``indices`` (any order), stacked in that order; nothing else is read."""
        import numpy as np
        import torch

        indices = np.asarray(indices, np.int64)
        where = np.searchsorted(self._starts, indices, side="right") - 1
        out = {n: torch.empty((len(indices), *SCHEMA[n]), dtype=torch.float32) for n in names}
        for chunk in np.unique(where).tolist():
            mine = np.flatnonzero(where == chunk)
            rows = torch.from_numpy(indices[mine] - self._starts[chunk])
            for name in names:
                out[name][torch.from_numpy(mine)] = self.chunks[chunk].tensors[name][rows]
        return out

    def pick(self, others: Sequence[PatchStore], rows: np.ndarray) -> PatchStore:
        """Return samples ``rows`` of these stores, counted one after the other; the rows are read into memory."""
        import numpy as np

        found, first, chunks = copy(self), 0, []
        for chunk in (chunk for store in others for chunk in store.chunks):
            mine = np.asarray(rows)[(rows >= first) & (rows < first + len(chunk))] - first
            first += len(chunk)
            if len(mine):
                tensors = {name: values[mine] for name, values in chunk.tensors.items()}
                chunks.append(Chunk(chunk.path, tensors, [chunk.meta[i] for i in mine]))
        found.chunks, found.files = chunks, [chunk.path for chunk in chunks]
        found._starts = [0, *np.cumsum([len(chunk) for chunk in chunks]).tolist()]
        return found

    def chunk_range(self, number: int) -> range:
        """Return the indices of the samples of chunk ``number``."""
        return range(self._starts[number], self._starts[number + 1])

    def meta(self) -> list[tuple[str, int, int, int]]:
        """Return (timestamp_utc, stn, pixel_x, pixel_y) of every sample."""
        return [entry for chunk in self.chunks for entry in chunk.meta]
