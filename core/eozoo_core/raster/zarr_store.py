"""Zarr stores and GeoZarr groups, in folders and on networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import restored, shown
from eozoo_core.raster.reader import Reader

# What may turn a chunk into numbers. numcodecs also knows "pickle", which runs what a file says.
_CODECS = {
    "blosc", "zlib", "gzip", "lz4", "lzma", "bz2", "zstd", "shuffle", "delta", "fixedscaleoffset", "quantize",
    "packbits", "astype", "bitround", "crc32", "crc32c", "adler32", "fletcher32", "bytes", "transpose",
    "sharding_indexed", "pcodec", "zfpy", "vlen-utf8",
}  # fmt: skip


def is_zarr(path: str | Path) -> bool:
    """Whether a path or URL is a Zarr store, or a group in one: a part of its name ends with .zarr, or it holds one."""
    parts = Path(str(path).partition("?")[0]).parts
    if any(part.lower().endswith(".zarr") for part in parts) and not str(path).lower().startswith(("zarr:", "/vsi")):
        return True
    here = Path(path)
    return any((here / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def open_zarr(path: str | Path, missing: Sequence[float] = ()) -> Reader:
    """Open a store, a group of it (``STORE.zarr/measurements/r10m``) or one variable of a group, as a raster.

    Raises ZooError for what is no store, for values that are stored as Python objects, and as `XarrayReader`.
    """
    require_xarray(shown(path), store=True)
    import xarray as xr
    import zarr

    from eozoo_core.raster.xarrays import XarrayReader, understood

    text = restored(path)
    with understood(shown(path), "cannot be read as a Zarr store; check it"):
        node = zarr.open(text, mode="r")
        only = text.rstrip("/").rpartition("/")[2] if isinstance(node, zarr.Array) else None
        if only is not None:
            text = text.rstrip("/").rpartition("/")[0]
            node = zarr.open_group(text, mode="r")
        for name, array in node.arrays():
            require_numbers(array, f"{shown(path)}: {name}")
        groups = sorted(name for name, _ in node.groups())
        data = xr.open_zarr(text, mask_and_scale=False, chunks=None, decode_timedelta=False)
    if only is not None:
        data = data[[only]]
    if not data.data_vars and groups:
        raise ZooError(f"{shown(path)}: holds groups; name one: {', '.join(f'{shown(path)}/{g}' for g in groups[:6])}")
    return XarrayReader(data, shown(path), missing)


def require_numbers(array: Any, who: str) -> None:
    """Raise ZooError for an array whose chunks are decoded by anything but known codecs: Python objects run code."""
    told = array.metadata.to_dict()
    codecs = [told.get("compressor"), *(told.get("filters") or ()), *(told.get("codecs") or ())]
    for codec in codecs:
        name = str((codec or {}).get("id") or (codec or {}).get("name") or "bytes").removeprefix("numcodecs.").lower()
        if name not in _CODECS:
            raise ZooError(f"{who}: is stored by {name!r}, which is not read; store it as numbers, compressed by zstd")
        nested = ((codec or {}).get("configuration") or {}).get("codecs") or ()
        for inner in nested:
            if str(inner.get("name", "bytes")).removeprefix("numcodecs.").lower() not in _CODECS:
                raise ZooError(f"{who}: is stored by {inner.get('name')!r}, which is not read; store it as numbers")


def require_xarray(who: str, *, store: bool = False) -> None:
    """Raise ZooError where xarray, or for a ``store`` zarr, is not installed."""
    try:
        import xarray  # noqa: F401

        if store:
            import zarr  # noqa: F401
    except ImportError:
        raise ZooError(f"{who}: needs xarray and zarr; install eozoo[cloud]") from None
