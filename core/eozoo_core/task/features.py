"""What a frozen part of a system says of every sample: computed once for a split, and kept on disk.

Files lie in ``runtime.cache_dir`` where a task has that setting, else in ``features`` beside the data. Their names are
hashes of frozen weights, `System.features_key`, data and precision: what changed is computed again, and runs with the
same frozen weights share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import map_array
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.written import write_array
from eozoo_core.task.data import Arrays, Data, tensors
from eozoo_core.task.splits import root_of
from eozoo_core.task.system import KEPT, System, Tensors
from eozoo_core.train.memory import shapes_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.train.loading import Draw

BATCH = 256  # samples per forward pass: large enough for full speed, small enough for any memory
PRECISIONS = {"fp32": "32-true", "bf16-mixed": "bf16-mixed", "fp16-mixed": "16-mixed"}  # Fabric's names, as in the keys
_ONLY = "features"  # a single array of this name lies in KEY.npy, others in KEY_COUNT_NAME.npy


class Enriched:
    """A split whose batches bring the kept features; all else is that of the split."""

    def __init__(self, data: Data, starts: np.ndarray, arrays: list[Arrays]):
        self.data, self._starts, self._arrays = data, starts, arrays

    def __getattr__(self, name: str) -> Any:
        if name == "data":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """See `Data.batch`."""
        return self.data.batch(draws) | self._rows([draw.index for draw in draws])

    def items(self, indices: Sequence[int]) -> Arrays:
        """See `Data.items`."""
        return self.data.items(indices) | self._rows(indices)

    def _rows(self, indices: Sequence[int]) -> Arrays:
        wanted = np.asarray(indices, np.int64)
        where = np.searchsorted(self._starts, wanted, side="right") - 1
        first = self._arrays[0]
        found = {KEPT + n: np.empty((len(wanted), *values.shape[1:]), values.dtype) for n, values in first.items()}
        for part in np.unique(where).tolist():
            mine = where == part
            for name, values in self._arrays[part].items():
                found[KEPT + name][mine] = values[wanted[mine] - self._starts[part]]
        return found


@dataclass(frozen=True)
class Cache:
    """Where features of one system lie. ``precision``: Fabric's name of what they are computed in."""

    folder: Path
    system: System
    weights: str
    precision: str

    @classmethod
    def of(cls, run: Run, system: System, data: Data, precision: str) -> Cache:
        """Return the cache that the settings of ``run`` name, for its frozen base."""
        named = getattr(run.settings.runtime, "cache_dir", "")
        folder = Path(named) if named else root_of(data) / "features"
        return cls(folder, system, run.info().get("base") or frozen_hash(system), precision)

    def name(self, files: Sequence[Path], selection: str) -> str:
        """Return the first part of the names of the files with the features of samples in ``files``.

        ``selection``: see `Data.selection`.
        """
        what = {
            **(self.system.features_key() or {}),
            "encoder": self.weights,  # so called since the first caches, which stay valid
            "data": fingerprint(files, Path(files[0]).parent),
            "precision": self.precision,
            **({"selection": selection} if selection else {}),
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]

    def read(self, key: str, rows: int) -> Arrays | None:
        """Open, mapped, what is kept under ``key``; None where that is nothing, damaged, or of another length."""
        found = {_array_name(file): _open(file) for file in sorted(self.folder.glob(f"{key}*.npy"))}
        whole = found and len(found) == max(count for _, count in found)
        good = whole and all(values is not None and len(values) == rows for values in found.values())
        return {name: values for (name, _), values in found.items()} if good else None

    def write(self, key: str, arrays: Arrays) -> None:
        """Keep arrays under ``key``."""
        for name, values in arrays.items():
            file = self.folder / (f"{key}.npy" if list(arrays) == [_ONLY] else f"{key}_{len(arrays)}_{name}.npy")
            write_array(file, values)


def can_keep(system: System, data: Data) -> bool:
    """Whether features can be kept: the system names a ``features_key``, draws repeat, and there are files to name."""
    return system.features_key() is not None and data.repeats and len(data.files) > 0


def with_features(run: Run, system: System, data: Data, fabric: Fabric) -> Data:
    """Return ``data`` with the features of ``system``: kept ones, or computed now and kept. Processes share the parts.

    ``data`` itself where nothing can be kept, see `can_keep`.
    ``fabric`` decides device and precision.
    """
    if not can_keep(system, data):
        return data
    cache, parts = Cache.of(run, system, data, str(fabric.strategy.precision.precision)), data.parts()
    keys = [cache.name(files, data.selection) for files, _ in parts]
    todo = [i for i, (_, rows) in enumerate(parts) if cache.read(keys[i], len(rows)) is None]
    fabric.barrier()  # all have looked before any writes: they share one list
    mine, done = todo[fabric.global_rank :: fabric.world_size], 0
    total = sum(len(parts[i][1]) for i in mine)
    with progress_bar("features", total, data.what, run.settings.runtime.quiet) as bar:
        for number in mine:
            found: list[Arrays] = []
            for start in range(0, len(parts[number][1]), BATCH):
                found.append(_compute(system, data, parts[number][1][start : start + BATCH], fabric))
                bar.update(done := done + len(next(iter(found[-1].values()))))
            cache.write(keys[number], {name: np.concatenate([one[name] for one in found]) for name in found[0]})
    fabric.barrier()
    return _enriched(cache, data, keys)


def read_features(run: Run, system: System, data: Data, precision: str) -> Data:
    """Return ``data`` with the features that training kept, or as it is where any is not there: nothing is written.

    ``precision``: what the system computes in, see ``precision_in_use``.
    """
    if not can_keep(system, data):
        return data
    cache = Cache.of(run, system, data, PRECISIONS[precision])
    keys = [cache.name(files, data.selection) for files, _ in data.parts()]
    there = all(cache.read(key, len(rows)) is not None for key, (_, rows) in zip(keys, data.parts(), strict=True))
    return _enriched(cache, data, keys) if there else data


def feature_shapes(system: System, data: Data, sample: Tensors) -> dict[str, tuple]:
    """Return name in a batch -> (shape, dtype) of what would be kept for ``sample``; {} where nothing would."""
    if not can_keep(system, data):
        return {}
    found = shapes_of(system, lambda network: network.features(network.stage(sample)))
    return {KEPT + name: shape for name, shape in found.items()}


def frozen_hash(system: System) -> str:
    """Return a SHA-256 of what is not trained, where the run has no base file that names it.

    That is every parameter without gradient, and the buffers of modules that have such parameters and no others (the
    running statistics of a frozen batch norm).
    """
    found: dict[str, torch.Tensor] = {}
    for place, module in system.named_modules():
        own = dict(module.named_parameters(recurse=False))
        found |= {f"{place}.{name}": values for name, values in own.items() if not values.requires_grad}
        if own and not any(values.requires_grad for values in own.values()):
            found |= {f"{place}.{name}": values for name, values in module.named_buffers(recurse=False)}
    total = hashlib.sha256()
    for name, values in sorted(found.items()):
        total.update(name.encode() + values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _compute(system: System, data: Data, indices: range, fabric: Fabric) -> Arrays:
    system.eval()
    with torch.no_grad(), fabric.autocast():
        found = system.features(system.stage(tensors(data.items(indices), fabric.device)))
    return {name: values.float().cpu().numpy() for name, values in found.items()}  # autocast gives half precision


def _enriched(cache: Cache, data: Data, keys: Sequence[str]) -> Data:
    parts = data.parts()
    arrays = [cache.read(key, len(rows)) for key, (_, rows) in zip(keys, parts, strict=True)]
    return Enriched(data, np.array([rows.start for _, rows in parts]), arrays)


def _array_name(file: Path) -> tuple[str, int]:
    """Name of the array in a file, and how many there are under its key."""
    _, *rest = file.stem.split("_", 2)
    return (rest[1], int(rest[0])) if rest else (_ONLY, 1)


def _open(file: Path) -> np.ndarray | None:
    try:
        return map_array(file)
    except ZooError:
        return None
