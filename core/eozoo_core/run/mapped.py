"""Files that ``torch.save`` wrote, their tensors mapped into memory, opened in milliseconds whatever lies beside them.

torch's own reader of such files that runs no code is written in Python: ten thousand tuples beside five tensors take it
a tenth of a second. This one is Python's C reader, told that there is nothing in the world but tensors.
"""

from __future__ import annotations

import collections
import io
import marshal
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

_DTYPES = {"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "LongStorage": torch.int64}


def load_mapped(path: Path) -> Any:
    """Return a dict of tensors and plain types; no byte of a tensor is read, and nothing in the file is run.

    None where it is anything else (a tensor inside a list, say), of another type of number, or damaged:
    `checkpoint.load_tensors` then reads it or says what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as records:
            if any(info.compress_type != zipfile.ZIP_STORED for info in records.infolist()):
                return None  # a small file could be read as one beyond any memory
            (described,) = (name for name in records.namelist() if name.endswith("/data.pkl"))
            root = described.removesuffix("data.pkl")
            if records.read(f"{root}byteorder") != sys.byteorder.encode():
                return None
            content = _Described(io.BytesIO(records.read(described))).load()  # against its checksum
            tensors = {name: value for name, value in content.items() if isinstance(value, _Tensor)}
            marshal.dumps({**content, **dict.fromkeys(tensors)})  # refuses all but plain types, tensors further in too
            places = {t.storage.key: _place(path, records, f"{root}data/{t.storage.key}") for t in tensors.values()}
        whole = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
        return content | {name: t.mapped(whole, *places[t.storage.key]) for name, t in tensors.items()}
    except Exception:  # as many ways as there are to damage a file; the caller's other way names it
        return None


class _Storage(NamedTuple):
    dtype: torch.dtype
    key: str
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def mapped(self, whole: torch.UntypedStorage, start: int, length: int) -> torch.Tensor:
        """Return it as a part of the mapped file. Raises ValueError where its numbers are not all there."""
        if length != self.storage.count * self.storage.dtype.itemsize or start + length > whole.nbytes():
            raise ValueError("a record of another size")
        part = whole[start : start + length]
        return torch.empty(0, dtype=self.storage.dtype).set_(part, self.offset, self.size, self.stride)


class _Described(pickle.Unpickler):
    """Reads tensors and plain types: any other name in the file is an error, and none is ever imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *rest: _Tensor(storage, offset, size, stride)
        if (module, name) == ("collections", "OrderedDict"):  # of hooks, which nobody has
            return collections.OrderedDict
        if module == "torch":
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: tuple) -> _Storage:
        _, dtype, key, _, count = pid
        return _Storage(dtype, key, count)


def _place(path: Path, records: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """Where the bytes of a record begin in the file, and how many they are."""
    info = records.getinfo(name)
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # the header before the bytes, whose end differs from that in the directory
        return info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))), info.file_size
