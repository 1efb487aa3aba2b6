"""Reading GEDI granules: L4A (biomass density) and L2A (heights), versions 1 and 2, all beams, plain or zipped HDF5.

The variables lie in one group per beam under the same names in both versions; what differs is that attributes are
strings or arrays of one, and the width of the numbers. Missing values are -9999, and what the variables declare.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.raster.arrays import open_zip, read_member
from eozoo_core.raster.packed import open_hdf5, stored, unpack

from eozoo_gedi_sparse.prepare.shots import Shots, join, unit_of

FILL = -9999.0
_POWER_BEAMS = ("BEAM0101", "BEAM0110", "BEAM1000", "BEAM1011")
EPOCH_DAYS = 17532.0  # 2018-01-01, from which delta_time counts seconds, as days since 1970-01-01
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


class _NoBeam(Exception):  # noqa: N818 - a beam that costs itself alone
    """What is missing in a beam's group."""


def read_granule(path: Path, quantity: str | None = None) -> Shots:
    """Read every shot of every beam. ``quantity``: agbd, rh0 ... rh100; None = the product's own (agbd, rh95).

    A beam without shots, or without a variable that is needed, is left out; the notes name it and what it lacks. Raises
    ZooError, one line, for a file that is no HDF5, has no beam that can be read, is of another product or version. A
    variable that only a filter needs may be missing; the filter complains, or in some beams only: their shots fail it.
    """
    with open_hdf5(path, _unzipped(path) if path.suffix.lower() == ".zip" else None) as file:
        product = _product(path, file)
        quantity = _known(path, product, quantity or ("agbd" if product == "GEDI_L4A" else "rh95"))
        beams = [name for name in file if name.startswith("BEAM") and isinstance(file[name], h5py.Group)]
        if not beams:
            raise ZooError(f"{path}: has no BEAM groups; is it a GEDI granule, and did the subset keep them?")
        read, left_out = {}, {}
        for name in sorted(beams):
            try:
                read[name] = _read_beam(file[name], product, quantity)
            except _NoBeam as problem:
                left_out[name] = str(problem)
    if not read:
        first = next(f"{name} {reason}" for name, reason in left_out.items())
        raise ZooError(f"{path}: no beam can be read: {first}; fetch the granule with all its variables")
    found = join(list(read.values()))
    notes = [f"read as {product}: {quantity} in {found.unit}"]
    notes += [f"{name} is left out: it {reason}" for name, reason in left_out.items()]
    for ours, theirs in _wanted(product).items():
        lacking = [name for name, shots in read.items() if ours not in shots.columns]
        if 0 < len(lacking) < len(read):
            notes.append(f"{', '.join(lacking)}: no variable {theirs!r}, so no {ours} of these shots is known")
    return replace(found, notes=tuple(notes))


def product_by_name(path: Path) -> str | None:
    """GEDI_L4A or GEDI_L2A by the file's name as the archives give it; None where that does not tell."""
    found = re.search(r"GEDI0([24])_A_", path.name)
    return found and f"GEDI_L{found[1]}A"


def _wanted(product: str) -> dict[str, str]:
    return _COMMON | _OWN[product]


def _read_beam(group: h5py.Group, product: str, quantity: str) -> Shots:
    needed = ("lat_lowestmode", "lon_lowestmode", "agbd" if product == "GEDI_L4A" else "rh")
    lacks = [name for name in needed if not isinstance(group.get(name), h5py.Dataset)]
    if not len(group):
        raise _NoBeam("has no variables")
    if lacks:
        known = did_you_mean(lacks[0], [k for k in group if isinstance(group[k], h5py.Dataset)][:40])
        raise _NoBeam(f"has no variable {' or '.join(map(repr, lacks))}.{known}".removesuffix("."))
    lat, lon, value = _clean(group[needed[0]]), _clean(group[needed[1]]), _quantity(group[needed[2]], quantity)
    columns = {}
    for ours, theirs in _wanted(product).items():
        if isinstance(group.get(theirs), h5py.Dataset):
            columns[ours] = _clean(group[theirs])
    if "days" in columns:
        columns["days"] = EPOCH_DAYS + columns["days"] / 86400
    columns["power"] = np.full(len(lat), float(group.name.strip("/") in _POWER_BEAMS))
    number = stored(group["shot_number"]).astype(np.int64) if "shot_number" in group else None
    arrays = (lon, value, lat, *columns.values(), *([] if number is None else [number]))
    if any(array.ndim != 1 for array in arrays):
        raise _NoBeam("has variables that are no lists of shots")
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise _NoBeam(f"has variables of different lengths {sorted(lengths)}")
    if lengths == {0}:
        raise _NoBeam("holds no shots")
    return Shots(lon, lat, value.astype(np.float32), quantity, unit_of(quantity), columns).with_ids(number)


def _known(path: Path, product: str, quantity: str) -> str:
    """Raise ZooError for a quantity that the product does not hold."""
    if product == "GEDI_L4A" and quantity != "agbd":
        raise ZooError(f"{path}: L4A holds agbd, not {quantity!r}; heights are in L2A granules")
    percent = re.fullmatch(r"rh(\d{1,3})", quantity)
    if product == "GEDI_L2A" and (percent is None or int(percent[1]) > 100):
        raise ZooError(f"{path}: L2A holds rh0 ... rh100, not {quantity!r}; biomass is in L4A granules")
    return quantity


def _quantity(variable: h5py.Dataset, quantity: str) -> np.ndarray:
    if quantity == "agbd":
        return _clean(variable)
    if variable.ndim != 2 or variable.shape[1] != 101:
        raise _NoBeam(f"has rh of shape {variable.shape}, not (shots, 101) heights in m")
    return _clean(variable, np.s_[:, int(quantity[2:])])


def _clean(variable: h5py.Dataset, selection: Any = ...) -> np.ndarray:
    """Physical values, float64, NaN = missing: as the variable declares, and -9999 and less, with which GEDI fills."""
    values = unpack(variable, selection).astype(np.float64)
    values[~(values > FILL)] = np.nan
    return values


def _product(path: Path, file: h5py.File) -> str:
    """Which product; by the file's own words, by its variables where a subset lost them, or by its name."""
    identification = file.get("METADATA/DatasetIdentification")
    attributes = {**dict(file.attrs), **(dict(identification.attrs) if identification is not None else {})}
    product = _text(attributes.get("short_name", attributes.get("shortName", "")))
    version = re.search(r"\d+", _text(attributes.get("VersionID", "")))
    if not product:
        beams = [file[name] for name in file if name.startswith("BEAM") and isinstance(file[name], h5py.Group)]
        held = {kind for beam in beams for kind, name in (("GEDI_L4A", "agbd"), ("GEDI_L2A", "rh")) if name in beam}
        product = held.pop() if len(held) == 1 else product_by_name(path) or "GEDI_L2A"
    if product not in _OWN:
        raise ZooError(f"{path}: is {product}; L4A (agbd) and L2A (heights) granules are read here")
    if version is not None and int(version[0]) not in _VERSIONS:
        raise ZooError(f"{path}: is version {version[0]} of {product}; versions 1 and 2 are read here")
    return product


def _text(value: Any) -> str:
    value = np.asarray(value).reshape(-1)[0] if np.size(value) else ""
    return value.decode() if isinstance(value, bytes) else str(value)


def _unzipped(path: Path) -> io.BytesIO:
    """The one HDF5 file in a zip, in memory: subsets are zipped, whole granules of gigabytes are not."""
    with open_zip(path) as archive:
        inside = [n for n in archive.namelist() if n.lower().endswith((".h5", ".hdf5")) and "__MACOSX" not in n]
        if len(inside) != 1:
            raise ZooError(f"{path}: holds {len(inside)} HDF5 files, expected one; unpack it and give the folder")
        return io.BytesIO(read_member(path, archive, inside[0]))
