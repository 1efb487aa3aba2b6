"""What a file may refer to: what the user typed is trusted, what a file points to only within its own folder.

A VRT of a stranger could name ``/etc/passwd`` or a server of theirs; an HDF5 file can store a variable in another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import hdf5_of
from eozoo_core.raster.hdf5 import hdf5, require_h5py, require_heaps_in

if TYPE_CHECKING:
    import h5py

# Formats whose pixels are in the file itself or in files of the same name beside it, and VRT, which is looked through.
FORMATS = [
    "AAIGrid", "AIG", "BAG", "BIL", "BMP", "BYN", "COG", "DTED", "EHdr", "ENVI", "ESRI", "GIF", "GPKG", "GRIB",
    "GSAG", "GSBG", "GS7BG", "GTX", "GTiff", "HDF4", "HDF4Image", "HDF5", "HDF5Image", "HFA", "JP2ECW", "JP2KAK",
    "JP2OpenJPEG", "JPEG", "MBTiles", "MEM", "NITF", "PNG", "PNM", "RST", "RRASTER", "SAFE", "SAGA", "SAR_CEOS",
    "SENTINEL2", "SRTMHGT", "TSX", "USGSDEM", "VRT", "WEBP", "XYZ", "Zarr", "netCDF",
]  # fmt: skip
_LARGEST = 64 * 2**20  # bytes of a VRT; one of 100,000 tiles has about 40 million
_DEEPEST = 8  # VRTs within VRTs
_BESIDE = (".aux.xml", ".msk", ".ovr", ".xml", ".json", ".hdr", ".prj", ".tfw", ".wld")  # read with a raster
_NAMED = 12  # of what is there, in a message
_DEEP = 50  # groups within each other
_MOST = 10_000  # groups and variables of an HDF5 file: a granule has 2,000; these take 3 s to look at
_HDF5 = (".h5", ".hdf5", ".nc", ".nc4", ".he5")
_NAMES = ("filename", "dataset", "datasetname", "dsname")  # ends of the elements that name a source
_OPTIONS = ("RPC_DEM", "GEOLOC_DATASET", "CUTLINE", "SRC_GEOLOC_ARRAY", "DST_GEOLOC_ARRAY")


def require_own_sources(path: str | Path, depth: int = 0) -> None:
    """Raise ZooError where a VRT names sources outside its folder or on a network, or is too large or too deep.

    Anything that is no local VRT passes. A source that is a link counts as lying where the link lies.
    """
    file = Path(hdf5_of(path) or path)
    if file.suffix.lower() in _HDF5 and file.is_file():
        require_own_hdf5(file)
    if not _is_vrt(file):
        return
    if depth > _DEEPEST or file.stat().st_size > _LARGEST:
        raise ZooError(f"{path}: is a VRT that is too large, or refers to itself; give its sources one by one")
    for source in _sources(file):
        if not lies_below(source, file.parent):
            raise ZooError(
                f"{path}: refers to {source}, which is outside its folder; give that file itself, or move the VRT "
                "to a folder above its sources"
            )
        require_own_sources(source, depth + 1)


def lies_below(path: str | Path, folder: Path) -> bool:
    """Whether a path lies in a folder or below it, by its name: "..", absolute paths and addresses do not lead out.

    A link counts as lying where the link lies: whoever made the folder made it.
    """
    place = Path(os.path.normpath(Path(path).absolute()))
    return any(place.is_relative_to(each) for each in (folder.absolute(), folder.resolve()))


def files_of(path: str | Path, depth: int = 0) -> list[Path]:
    """Return every file that a raster is read from: itself, what lies beside it, and of a VRT its sources with theirs.

    Of a folder that is read as one raster all files; of what is no local file the name alone.
    """
    file = Path(hdf5_of(path) or path)
    if file.is_dir():
        return sorted(part for part in file.rglob("*") if part.is_file())
    names = dict.fromkeys(f"{base}{end}" for base in (file.name, file.stem) for end in _BESIDE)
    found = [file, *(beside for name in names if (beside := file.with_name(name)).is_file() and beside != file)]
    if depth <= _DEEPEST and _is_vrt(file):
        found += [part for source in _sources(file) for part in files_of(source, depth + 1)]
    return found


def require_own_hdf5(file: Path) -> None:
    """Raise ZooError where a variable of an HDF5 or NetCDF-4 file lies in another file. Anything else passes."""
    require_h5py(file)
    import h5py

    if not h5py.is_hdf5(file):
        return
    with hdf5(file), h5py.File(file, "r") as opened:
        require_own_content(opened)


def require_own_content(opened: h5py.File) -> None:
    """Raise ZooError where a variable of an open HDF5 file lies in another file, or it would be read without end."""
    import h5py

    if (file := Path(opened.filename)).is_file():
        require_heaps_in(file)
    waiting, seen = [""], set()
    while waiting:
        group = waiting.pop()
        address = h5py.h5o.get_info(opened[group or "/"].id).addr
        if address in seen:  # a group can hold itself
            continue
        seen.add(address)
        for number, name in enumerate(opened[group or "/"]):
            if number + len(seen) > _MOST:
                raise ZooError(f"{opened.filename}: holds more than {_MOST:,} groups and variables; is it damaged?")
            link = opened.get(f"{group}/{name}", getlink=True)
            if isinstance(link, h5py.SoftLink):
                continue  # within the file
            found = None if isinstance(link, h5py.ExternalLink) else opened[f"{group}/{name}"]
            if found is None or isinstance(found, h5py.Dataset):
                require_own_variable(opened, f"{group}/{name}")
            elif isinstance(found, h5py.Group):  # else a type with a name
                if group.count("/") >= _DEEP:
                    raise ZooError(f"{opened.filename}: has groups {_DEEP} deep; is it damaged?")
                waiting.append(f"{group}/{name}")


def require_own_variable(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a variable of an open HDF5 file. Raises ZooError where it is not there, or its values lie elsewhere."""
    import h5py

    place: h5py.Group = file
    parts = [part for part in name.split("/") if part]
    for part in parts:
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise ZooError(f"{file.filename}: {name} is a link into {link.filename}; give that file itself")
        found = None if link is None else place.get(part)
        if found is None:
            there = ", ".join(list(place)[:_NAMED]) if isinstance(place, h5py.Group) else "values"
            raise ZooError(f"{file.filename}: has no variable {name}; {place.name} holds {there or 'nothing'}")
        place = found
    if not isinstance(place, h5py.Dataset):
        raise ZooError(f"{file.filename}: {name} is no variable")
    if place.external or place.is_virtual:
        raise ZooError(f"{file.filename}: the values of {name} are stored in another file; give a complete file")
    return place


def _is_vrt(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return b"<VRTDataset" in opened.read(2048)
    except OSError:  # opening it as a raster says what is wrong
        return False


def _sources(file: Path) -> Iterator[Path]:
    """Every file that a VRT names, relative ones from its folder; of ``netcdf:FILE:VARIABLE`` the whole of it."""
    try:
        root = ElementTree.fromstring(file.read_bytes())  # expat stops at entities that grow
    except ElementTree.ParseError as error:
        raise ZooError(f"{file}: is no valid VRT ({error})") from None
    for _, text, relative in named_sources(root):
        yield Path(os.path.normpath((file.absolute().parent if relative else Path.cwd()) / text))


def named_sources(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str, bool]]:
    """Yield every element of a VRT that names a source, the name, and whether it is relative to the VRT."""
    for element in root.iter():
        tag, text = element.tag.lower(), (element.text or "").strip()
        named = tag.endswith(_NAMES) or (tag == "option" and element.get("name") in _OPTIONS)
        if text and named and tag != "vrtdataset":
            yield element, text, element.get("relativeToVRT", element.get("relativetoVRT")) == "1"
