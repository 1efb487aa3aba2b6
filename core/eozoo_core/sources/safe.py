"""Sentinel-2 products as ESA delivers them: a SAFE folder, or a zip of one, as one scene of all bands."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import REFLECTANCE, Assembly, Part
from eozoo_core.raster.sentinel2 import SPECIAL
from eozoo_core.raster.sentinel2_metadata import LARGEST, Evidence, told_by_product
from eozoo_core.run.parsed import unreadable

_BAND = re.compile(r"(.*/)?(GRANULE/[^/]+/IMG_DATA)/.*_(B\d[\dA]|SCL|AOT|WVP)(?:_(\d\d)m)?\.(?:jp2|tif)", re.IGNORECASE)
_METADATA = re.compile(r"(?:[^/]+/)?(?:MTD_MSIL(?:1C|2A)|S2[A-D]_(?:OPER|USER)_MTD_SAFL(?:1C|2A)\w*)\.xml")
_DATE = re.compile(r"(?:_V|_MSIL\w\w_)(\d{8})T(\d{6})?")
_UNITS = {"AOT": ("1", 1000.0), "WVP": ("cm", 1000.0)}  # unit and quantification, as the product's format has them


def is_safe(path: Path) -> bool:
    """Whether a path is a SAFE folder, its metadata file, or a zip that holds one."""
    if path.is_dir():
        return path.suffix.lower() == ".safe" or ((path / "GRANULE").is_dir() and any(path.glob("MTD_MSIL*.xml")))
    if path.suffix.lower() == ".xml":
        return bool(_METADATA.fullmatch(path.name)) and (path.parent / "GRANULE").is_dir()
    return path.suffix.lower() == ".zip" and path.is_file() and any(_BAND.fullmatch(name) for name in _names(path))


def open_safe(path: Path) -> list[Assembly]:
    """Return the scenes of a product, unopened: one, or of products before December 2016 one for each granule.

    Of every band the finest file is taken. Raises ZooError for a product without bands, and for damaged metadata.
    """
    path = path.parent if path.suffix.lower() == ".xml" else path
    names, prefix = _names(path), f"{path}/" if path.is_dir() else f"/vsizip/{{{path}}}/"
    granules: dict[str, dict[str, tuple[int, str]]] = {}
    for name in names:
        if found := _BAND.fullmatch(name):
            band, size = found[3].upper(), int(found[4] or 0)
            bands = granules.setdefault(found[2], {})
            bands[band] = min(bands.get(band, (size, name)), (size, name))
    if not granules:
        raise ZooError(f"{path}: holds no band (GRANULE/*/IMG_DATA/*_B02*.jp2); fetch the whole product")
    metadata = next((name for name in names if _METADATA.fullmatch(name)), "")
    product = metadata.rpartition("/")[0] or path.name
    product = re.sub(r"(\.SAFE)?(\.zip)?$", "", product, flags=re.IGNORECASE)
    told = _told(path, product, metadata)
    date = _DATE.search(product)
    when = re.sub(r"(....)(..)(..)(..)(..)(..)", r"\1-\2-\3T\4:\5:\6Z", date[1] + date[2]) if date and date[2] else ""
    return [
        Assembly(
            product if len(granules) == 1 else f"{product}_{granule.split('/')[1].split('_')[-2]}",
            str(path),
            tuple(_part(band, prefix + name) for band, (_, name) in sorted(bands.items())),
            date[1] if date else "",
            (("PRODUCT", product), *([("ACQUIRED", when)] if when else [])),
            told,
        )
        for granule, bands in sorted(granules.items())
    ]


def _part(band: str, address: str) -> Part:
    if band == "SCL":
        return Part((band,), address, missing=(0.0,), classes=True)
    unit, level = _UNITS.get(band, (REFLECTANCE, 0.0))
    return Part((band,), address, scale=1 / level if level else None, missing=SPECIAL, unit=unit)


def _told(path: Path, product: str, metadata: str) -> tuple[Evidence, ...]:
    if not metadata:
        return tuple(told_by_product(product, "", b""))
    try:
        if path.is_dir():
            size, content = (path / metadata).stat().st_size, lambda: (path / metadata).read_bytes()
        else:
            archive = zipfile.ZipFile(path)
            size, content = archive.getinfo(metadata).file_size, lambda: archive.read(metadata)
        if size > LARGEST:
            raise ZooError(f"{path}: {metadata} has {size / 2**20:.0f} MiB, not a product's metadata; fetch it again")
        return tuple(told_by_product(product, f"{path}/{metadata}", content()))
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise unreadable(path, "a Sentinel-2 product", error, "fetch it again") from None


def _names(path: Path) -> Sequence[str]:
    """Names of all files, from the product's folder or the zip's root on, in one order everywhere."""
    if path.is_dir():
        return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    try:
        with zipfile.ZipFile(path) as opened:
            return sorted(opened.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise unreadable(path, "a zip", error, "fetch it again") from None
