"""Reading GEDI granules: L4A (biomass density) and L2A (heights), versions 1 and 2, all beams, plain or zipped HDF5.

The variables lie in one group per beam under the same names in both versions; what differs is that attributes are
strings or arrays of one, and the width of the numbers. Missing values are -9999 in the files.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from eozoo_core.errors import ZooError, did_you_mean

from eozoo_gedi_sparse.prepare.shots import Shots, join, unit_of

FILL = -9999.0
_POWER_BEAMS = ("BEAM0101", "BEAM0110", "BEAM1000", "BEAM1011")
_EPOCH_DAYS = 17532.0  # 2018-01-01, from which delta_time counts seconds, as days since 1970-01-01
_VERSIONS = (1, 2)
# our column -> variable in the beam's group
_COMMON = {
    "degrade": "degrade_flag",
    "sensitivity": "sensitivity",
    "solar_elevation": "solar_elevation",
    "tree_cover": "land_cover_data/landsat_treecover",
    "days": "delta_time",
}
_OWN = {
    "GEDI_L4A": {"quality": "l4_quality_flag", "standard_error": "agbd_se"},
    "GEDI_L2A": {"quality": "quality_flag"},
}


def read_granule(path: Path, quantity: str | None = None) -> Shots:
    """Read every shot of every beam. ``quantity``: agbd, rh0 ... rh100; None = the product's own (agbd, rh95).

    Raises ZooError, one line, for a file that is no HDF5, has no beams, lacks the position or the quantity, is of
    another product or version. A variable that only a filter needs may be missing; the filter complains.
    """
    with _open(path) as file:
        product = _product(path, file)
        quantity = quantity or ("agbd" if product == "GEDI_L4A" else "rh95")
        beams = [name for name in file if name.startswith("BEAM") and isinstance(file[name], h5py.Group)]
        if not beams:
            raise ZooError(f"{path}: has no BEAM groups; is it a GEDI granule, and did the subset keep them?")
        return join([_read_beam(path, file[name], product, quantity) for name in sorted(beams)])


def _read_beam(path: Path, group: h5py.Group, product: str, quantity: str) -> Shots:
    lat = _variable(path, group, "lat_lowestmode", needed=True)
    lon = _variable(path, group, "lon_lowestmode", needed=True)
    value = _quantity(path, group, product, quantity)
    columns = {}
    for ours, theirs in (_COMMON | _OWN[product]).items():
        values = _variable(path, group, theirs)
        if values is not None:
            columns[ours] = values
    if "days" in columns:
        columns["days"] = _EPOCH_DAYS + columns["days"] / 86400
    columns["power"] = np.full(len(lat), float(group.name.strip("/") in _POWER_BEAMS))
    lengths = {len(lon), len(value), len(lat), *(len(c) for c in columns.values())}
    if len(lengths) > 1:
        raise ZooError(f"{path}: variables of {group.name} have different lengths {sorted(lengths)}; fetch it again")
    return Shots(lon, lat, value.astype(np.float32), quantity, unit_of(quantity), columns)


def _quantity(path: Path, group: h5py.Group, product: str, quantity: str) -> np.ndarray:
    if product == "GEDI_L4A":
        if quantity != "agbd":
            raise ZooError(f"{path}: L4A holds agbd, not {quantity!r}; heights are in L2A granules")
        return _variable(path, group, "agbd", needed=True)
    percent = re.fullmatch(r"rh(\d{1,3})", quantity)
    if percent is None or int(percent[1]) > 100:
        raise ZooError(f"{path}: L2A holds rh0 ... rh100, not {quantity!r}; biomass is in L4A granules")
    heights = group.get("rh")
    if not isinstance(heights, h5py.Dataset) or heights.ndim != 2 or heights.shape[1] != 101:
        found = "none" if heights is None else f"shape {getattr(heights, 'shape', '?')}"
        raise ZooError(f"{path}: {group.name}/rh must be (shots, 101) heights in m, found {found}")
    return _clean(heights[:, int(percent[1])])


def _variable(path: Path, group: h5py.Group, name: str, needed: bool = False) -> np.ndarray | None:
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        if needed:
            known = did_you_mean(name, [k for k in group if isinstance(group[k], h5py.Dataset)][:40])
            raise ZooError(f"{path}: {group.name} has no variable {name!r}; fetch the granule with it.{known}")
        return None
    return _clean(found[:])


def _clean(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    values[~(values > FILL)] = np.nan  # NaN compares false; some products fill with less
    return values


def _product(path: Path, file: h5py.File) -> str:
    """Which product; by the file's own words, or by its variables where a subset lost them."""
    identification = file.get("METADATA/DatasetIdentification")
    attributes = {**dict(file.attrs), **(dict(identification.attrs) if identification is not None else {})}
    product = _text(attributes.get("short_name", attributes.get("shortName", "")))
    version = re.search(r"\d+", _text(attributes.get("VersionID", "")))
    if not product:
        beam = next((file[n] for n in file if n.startswith("BEAM")), {})
        product = "GEDI_L4A" if "agbd" in beam else "GEDI_L2A"
    if product not in _OWN:
        raise ZooError(f"{path}: is {product}; L4A (agbd) and L2A (heights) granules are read here")
    if version is not None and int(version[0]) not in _VERSIONS:
        raise ZooError(f"{path}: is version {version[0]} of {product}; versions 1 and 2 are read here")
    return product


def _text(value: Any) -> str:
    value = np.asarray(value).reshape(-1)[0] if np.size(value) else ""
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    try:
        source: Any = path
        if path.suffix.lower() == ".zip":
            source = _unzipped(path)
        with h5py.File(source, "r") as file:
            yield file
    except zipfile.BadZipFile:
        raise ZooError(f"{path}: is no readable zip file; fetch it again") from None
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(f"{path}: cannot be read as HDF5; fetch it again ({reason})") from None


def _unzipped(path: Path) -> io.BytesIO:
    """The one HDF5 file in a zip, in memory: subsets are zipped, whole granules of gigabytes are not."""
    with zipfile.ZipFile(path) as archive:
        inside = [n for n in archive.namelist() if n.lower().endswith((".h5", ".hdf5")) and "__MACOSX" not in n]
        if len(inside) != 1:
            raise ZooError(f"{path}: holds {len(inside)} HDF5 files, expected one; unpack it and give the folder")
        return io.BytesIO(archive.read(inside[0]))
