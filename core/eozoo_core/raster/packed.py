"""Variables of HDF5 and NetCDF-4 files as h5py opens them: packed values become physical ones, NaN = missing.

The rules are those of the CF conventions 1.11, sections 2.5.1 (missing data, valid range) and 8.1 (packed data), and of
the NetCDF Users' Guide, appendix A, where it says more: ``_Unsigned``, and which type a valid range is in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import allowed
from eozoo_core.raster.hdf5 import REMEDY, hdf5, require_h5py, require_heaps
from eozoo_core.raster.trust import require_own_content
from eozoo_core.run.parsed import unreadable

if TYPE_CHECKING:
    import h5py

UNWRITTEN = 9.969209968386869e36  # what the NetCDF library stores where a float was never written
_EXACT = 2  # bytes: numbers of this size keep their digits in float32


class Variable(Protocol):
    """What is needed of an ``h5py.Dataset``."""

    name: Any
    dtype: np.dtype
    attrs: Any

    def __getitem__(self, selection: Any, /) -> Any: ...


@contextmanager
def open_hdf5(
    path: Path, source: BytesIO | None = None, what: str = "HDF5", remedy: str = REMEDY
) -> Iterator[h5py.File]:
    """Open a file, or ``source``, its content in memory, for the length of the block, which is read as `hdf5` says.

    Raises ZooError where it cannot be read, or where a variable of it lies in another file.
    """
    require_h5py(path)
    import h5py

    with hdf5(path, what, remedy):
        try:
            file = h5py.File(path if source is None else source, "r")
        except (OSError, RuntimeError, ValueError) as error:
            raise unreadable(path, what, error, remedy) from None
        if isinstance(source, BytesIO):
            require_heaps(path, source.getvalue())
        with file:
            require_own_content(file)
            yield file


def unpack(variable: Variable, selection: Any = ...) -> np.ndarray:
    """Read the part ``selection`` (h5py's indexing) as physical values, NaN = missing.

    physical = stored * scale_factor + add_offset, in the unit that the variable names. Missing are NaN, ``_FillValue``,
    every ``missing_value``, what lies outside ``valid_min``, ``valid_max`` or ``valid_range``, and floats that were
    never written. Returns float32 where the stored type is float32 or an integer of at most 16 bits (it rounds by 6e-8
    of the value), else float64. Raises ZooError, one line, for a variable or an attribute that is not numbers.
    """
    values = stored(variable, selection)
    hidden = missing(variable, values)
    scale, offset = (_number(variable, name, default) for name, default in (("scale_factor", 1.0), ("add_offset", 0.0)))
    small = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    found = values.astype(np.float64 if (scale, offset) != (1.0, 0.0) or not small else np.float32)
    if (scale, offset) != (1.0, 0.0):
        found = found * scale + offset
    found[hidden] = np.nan
    return found.astype(np.float32) if small or values.dtype.itemsize <= _EXACT else found


def stored(variable: Variable, selection: Any = ...) -> np.ndarray:
    """Read the part ``selection`` as stored, integers as signed or unsigned as ``_Unsigned`` says."""
    if variable.dtype.kind not in "iufb":
        raise ZooError(f"{_where(variable)}: is {variable.dtype}, not numbers; choose another variable")
    require_small(variable, selection)
    return _signed(variable, np.asarray(variable[selection]))


def require_small(variable: Variable, selection: Any = ...) -> None:
    """Raise ZooError where reading a part of a variable would take absurdly more memory than its file has bytes."""
    file = getattr(variable, "file", None)
    if file is None:
        return
    item, size = variable.dtype.itemsize, file.id.get_filesize()
    chunk = math.prod(variable.chunks or ()) * item
    whole = math.prod(variable.shape) * item
    if max(whole, chunk) <= allowed(size):
        return
    part = whole if whole >= 2**62 else np.broadcast_to(np.empty((), bool), variable.shape)[selection].size * item
    if max(part, chunk) > allowed(size):
        raise ZooError(
            f"{_where(variable)}: says that it is {variable.dtype} {variable.shape} in chunks of {variable.chunks}, in "
            f"a file of {size:,} bytes; the file is damaged, {REMEDY}"
        )


def missing(variable: Variable, values: np.ndarray) -> np.ndarray:
    """Say where ``values``, which `stored` gave, are missing: bool of the same shape."""
    hidden = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    declared = False
    for name in ("_FillValue", "missing_value"):
        for fill in _attribute(variable, name):
            declared = True
            hidden |= values == (values.dtype.type(fill) if values.dtype.kind == "f" else fill)
    if values.dtype.kind == "f" and values.dtype.itemsize >= 4 and not declared:
        hidden |= values == values.dtype.type(UNWRITTEN)
    low, high = _valid_range(variable)
    if low is not None:
        hidden |= values < low
    if high is not None:
        hidden |= values > high
    return hidden


def _valid_range(variable: Variable) -> tuple[Any, Any]:
    """The smallest and the largest valid value as stored, None = any.

    They are in the stored type, but for a float range of packed integers, which is in physical values.
    """
    both = _attribute(variable, "valid_range")
    if len(both) not in (0, 2):
        raise ZooError(f"{_where(variable)}: its valid_range has {len(both)} numbers instead of 2; correct the file")
    low, high = (_attribute(variable, name) for name in ("valid_min", "valid_max"))
    ends = [next(iter(low), both[0] if len(both) else None), next(iter(high), both[1] if len(both) else None)]
    scale, offset = _number(variable, "scale_factor", 1.0), _number(variable, "add_offset", 0.0)
    floats = any(end is not None and np.asarray(end).dtype.kind == "f" for end in ends)
    if (scale, offset) == (1.0, 0.0) or variable.dtype.kind == "f" or not floats:
        return ends[0], ends[1]
    # Half a step more, so that rounding does not hide the ends themselves.
    low, high = (None if end is None else (float(end) - offset) / scale for end in ends)
    low, high = (low, high) if scale > 0 else (high, low)
    return None if low is None else low - 0.5, None if high is None else high + 0.5


def _number(variable: Variable, name: str, default: float) -> float:
    found = _attribute(variable, name)
    number = float(found[0]) if len(found) else default
    if len(found) > 1 or not np.isfinite(number) or (name == "scale_factor" and number == 0):
        raise ZooError(f"{_where(variable)}: its {name} is {variable.attrs[name]}, not one number; correct the file")
    return number


def _attribute(variable: Variable, name: str) -> np.ndarray:
    """Numbers of an attribute (n,), n = 0 where there is none; text as numbers, signed as the variable is."""
    if name not in variable.attrs:
        return np.empty(0)
    value = np.ravel(variable.attrs[name])
    try:
        if value.dtype.kind not in "iufb":
            text = " ".join(v.decode() if isinstance(v, bytes) else str(v) for v in value)
            value = np.array([float(part) for part in text.replace(",", " ").split()])
    except (ValueError, UnicodeDecodeError):
        raise ZooError(f"{_where(variable)}: its {name} is {str(value[0])!r}, not a number; correct the file") from None
    alike = (value.dtype.kind, value.dtype.itemsize) == (variable.dtype.kind, variable.dtype.itemsize)
    return _signed(variable, value) if alike else value


def _signed(variable: Variable, values: np.ndarray) -> np.ndarray:
    """Integers of the stored type as ``_Unsigned`` = "true" or "false" has them."""
    word = variable.attrs.get("_Unsigned")
    if word is None or values.dtype.kind not in "iu":
        return values
    text = (word.decode() if isinstance(word, bytes) else str(np.ravel(word)[0])).lower()
    kind = {"true": "u", "false": "i"}.get(text.removeprefix("b'").removesuffix("'"), values.dtype.kind)
    return values.view(values.dtype.str.replace(values.dtype.kind, kind))


def _where(variable: Variable) -> str:
    file = getattr(getattr(variable, "file", None), "filename", "")
    return f"{file}: variable {variable.name}" if file and not file.startswith("<") else f"variable {variable.name}"
