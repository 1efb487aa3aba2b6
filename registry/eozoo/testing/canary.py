"""Files that run code where they are unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path


class Canary:
    """An object whose unpickling leaves the file ``path`` behind."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self._path,)


def spoil(file: Path, canary: Path) -> None:
    """Put into ``file`` what runs code for a careless reader of its format: arrays of objects, or a pickle."""
    import numpy as np

    objects = np.empty(2, object)
    objects[:] = [Canary(canary), None]
    if file.suffix == ".npy":
        np.save(file, objects)
    elif file.suffix == ".npz":
        np.savez(file, **dict.fromkeys(np.load(file).files, objects))
    else:
        file.write_bytes(pickle.dumps(Canary(canary), protocol=2))  # that of torch.save
