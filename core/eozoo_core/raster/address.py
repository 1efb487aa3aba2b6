"""Names of rasters that are no files: on a network, in an archive, a variable inside a file, as the user typed them.

Such a name is kept as a `pathlib.Path`, which makes one slash of the two in ``https://HOST/FILE``; `restored` gives
them back, `gdal_name` says what GDAL calls it, and `shown` is for messages: without a query, which may hold a key.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from eozoo_core.errors import ZooError

_ADDRESS = re.compile(r"(netcdf|hdf5|hdf4\w*|zarr|gtiff_dir|sentinel2_l\w+):", re.IGNORECASE)
_URL = re.compile(r"(https?|s3|gs):/+(.*)", re.IGNORECASE | re.DOTALL)
_GDAL = {"https": "/vsicurl/https://", "http": "/vsicurl/http://", "s3": "/vsis3/", "gs": "/vsigs/"}
_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?\b", re.IGNORECASE)


def is_address(path: str | Path) -> bool:
    """Whether ``path`` is a URL, a variable inside a file (``netcdf:FILE:VARIABLE``), or a name only GDAL knows."""
    return is_url(path) or bool(_ADDRESS.match(str(path))) or str(path).startswith("/vsi")


def is_url(path: str | Path) -> bool:
    """Whether ``path`` is on a network by a URL: ``https://``, ``http://``, ``s3://`` or ``gs://``."""
    return bool(_URL.match(str(path)))


def is_remote(path: str | Path) -> bool:
    """Whether ``path`` is read over a network: a URL, or GDAL's name of one (``/vsicurl/...``), also inside another."""
    return is_url(path) or bool(_NETWORK.search(str(path)))


def restored(path: str | Path) -> str:
    """Return a URL, also in GDAL's words, with both slashes after its scheme; anything else as it is."""
    text = str(path)
    if found := _URL.match(text):
        return f"{found[1].lower()}://{found[2]}"
    return re.sub(r"^(/vsicurl(?:_streaming)?/https?):/+", r"\1://", text)


def named(text: str) -> Path:
    """Return what the user typed as a path. Raises ZooError for a URL that a path cannot hold."""
    path = Path(text)
    if is_url(text) and restored(path) != restored(text).rstrip("/"):
        raise ZooError(f"{text}: a URL with // or /./ after its host is not kept; write %2F for the second slash")
    return path


def shown(path: str | Path) -> str:
    """Return the name for messages, tags and lists: a URL without its query, which may hold a key."""
    return restored(path).partition("?")[0] if is_remote(path) else str(path)


def host_of(path: str | Path) -> str:
    """Return host and port of a URL (or of ``/vsicurl/URL``), ``s3://BUCKET`` of an object store; "" of a file."""
    url = restored(re.sub(r"^/vsicurl/", "", str(path)))
    found = urlsplit(url) if is_url(url) else None
    if found is None:
        return ""
    place = found.netloc.rpartition("@")[2].lower()
    return place if found.scheme in ("http", "https") else f"{found.scheme}://{place}"


def gdal_name(path: str | Path) -> str:
    """Return ``path`` as GDAL takes it."""
    if found := _URL.match(str(path)):
        return _GDAL[found[1].lower()] + found[2]
    return re.sub(r"^(hdf5:.+):/+([^:]*)$", r"\1://\2", restored(path), flags=re.IGNORECASE)


def variable_of(path: Path) -> str:
    """Return a name for what is made of a name that is no file; "" for a file.

    It is "FILE_VARIABLE" for the variable of a file, and the last part of a URL without ending and query.
    """
    if is_remote(path):
        return PurePosixPath(shown(path)).stem
    if not is_address(path) or ":" not in str(path):
        return ""
    file, _, variable = str(path).rpartition(":")
    return f"{Path(file.strip(chr(34))).stem}_{variable.strip('/').replace('/', '_')}"


def hdf5_of(path: str | Path) -> str:
    """Return the file of ``netcdf:FILE:VARIABLE`` or ``HDF5:FILE://VARIABLE``; "" for anything else."""
    found = re.fullmatch(r"(?:netcdf|hdf5):\"?(.+?)\"?:[^:]*", str(path), flags=re.IGNORECASE)
    return found[1] if found else ""
