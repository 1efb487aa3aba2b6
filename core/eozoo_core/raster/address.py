"""Names of rasters that are no files: a variable inside a file, as GDAL writes it."""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"(netcdf|hdf5|hdf4\w*|zarr|gtiff_dir|sentinel2_l\w+):", re.IGNORECASE)


def is_address(path: str | Path) -> bool:
    """Whether ``path`` names a variable inside a file (``netcdf:FILE:VARIABLE``), or anything else only GDAL knows."""
    return bool(_ADDRESS.match(str(path))) or str(path).startswith("/vsi")


def gdal_name(path: str | Path) -> str:
    """Return ``path`` as GDAL takes it: `pathlib` makes one slash of the two in ``HDF5:FILE://VARIABLE``."""
    for scheme, room in (("https:/", "curl/https:/"), ("http:/", "curl/http:/"), ("s3:/", "s3"), ("gs:/", "gs")):
        if str(path).startswith(scheme):
            return f"/vsi{room}/{str(path)[len(scheme) :].lstrip('/')}"
    return re.sub(r"^(hdf5:.+):/+([^:]*)$", r"\1://\2", str(path), flags=re.IGNORECASE)


def variable_of(path: Path) -> str:
    """Return "FILE_VARIABLE" for the variable of a file, a name for what is made of it; "" for anything else."""
    if not is_address(path) or ":" not in str(path):
        return ""
    file, _, variable = str(path).rpartition(":")
    return f"{Path(file.strip(chr(34))).stem}_{variable.strip('/').replace('/', '_')}"


def hdf5_of(path: str | Path) -> str:
    """Return the file of ``netcdf:FILE:VARIABLE`` or ``HDF5:FILE://VARIABLE``; "" for anything else."""
    found = re.fullmatch(r"(?:netcdf|hdf5):\"?(.+?)\"?:[^:]*", str(path), flags=re.IGNORECASE)
    return found[1] if found else ""
