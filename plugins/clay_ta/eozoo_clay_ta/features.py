"""Features of a frozen encoder, computed once per chunk and kept on disk, keyed by weights, settings and data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core.run.checkpoint import write_atomic
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.progress import progress_bar

from eozoo_clay_ta.chunks import PatchStore

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_clay_ta.model import ClayRegressor

BATCH = 256  # windows per forward pass: large enough for full speed, small enough for any memory
_INPUTS = ("x", "time7", "loc")


class Features:
    """The features of all samples of a store, chunk by chunk in mapped ``.npy`` files."""

    def __init__(self, store: PatchStore, arrays: list[np.ndarray]):
        self._starts = np.array([store.chunk_range(i).start for i in range(len(arrays))])
        self._arrays = arrays

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """Return ``(len(indices), F)`` float32 in the order of ``indices``."""
        indices = np.asarray(indices, np.int64)
        where = np.searchsorted(self._starts, indices, side="right") - 1
        out = np.empty((len(indices), self._arrays[0].shape[1]), np.float32)
        for chunk in np.unique(where).tolist():
            mine = where == chunk
            out[mine] = self._arrays[chunk][indices[mine] - self._starts[chunk]]
        return torch.from_numpy(out)


def cached_features(
    model: ClayRegressor, store: PatchStore, folder: Path, fabric: Fabric, encoder_key: str, quiet: bool = False
) -> Features:
    """Return the features of ``store``, from ``folder`` where they are there, computed and written where not.

    ``encoder_key`` names the weights (their sha256). Processes share the chunks. A cache that is damaged or of another
    shape is computed again. ``fabric`` decides device and precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{_key(model, file, encoder_key, fabric)}.npy" for file in store.files]
    width = 2 * model.encoder.size.dim
    missing = [i for i, f in enumerate(files) if _open(f, len(store.chunk_range(i)), width) is None]
    mine = missing[fabric.global_rank :: fabric.world_size]
    total = sum(len(store.chunk_range(i)) for i in mine)
    done = 0
    with progress_bar(f"Clay features of {store.split}", total, "windows", quiet) as bar:
        for number in mine:
            values = np.empty((len(store.chunk_range(number)), width), np.float32)
            for start, part in compute(model, store, store.chunk_range(number), fabric):
                values[start : start + len(part)] = part
                done += len(part)
                bar.update(done)
            write_atomic(files[number], lambda file, values=values: np.save(file, values))
    fabric.barrier()
    return Features(store, [_open(f, len(store.chunk_range(i)), width) for i, f in enumerate(files)])


def compute(model: ClayRegressor, store: PatchStore, indices: range, fabric: Fabric) -> Any:
    """Yield (start within ``indices``, features) batch by batch."""
    model.eval()
    with torch.no_grad(), fabric.autocast():
        for start in range(0, len(indices), BATCH):
            batch = fabric.to_device(store.batch(indices[start : start + BATCH], _INPUTS))
            yield start, model.features(batch).cpu().numpy()


def _key(model: ClayRegressor, file: Path, encoder_key: str, fabric: Fabric) -> str:
    what = {
        "encoder": encoder_key,
        "waves": model.waves.tolist(),
        "size": model.size,
        "data": fingerprint([file], file.parent),
        "precision": str(fabric.strategy.precision.precision),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


def _open(file: Path, rows: int, width: int) -> np.ndarray | None:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == (rows, width) and array.dtype == np.float32 else None
