"""Sentinel-2 and HLS products on disk: which files are the four bands, of which date.

Understood are folders of single-band files (BigEarthNet patches ``..._B02.tif``, SSL4EO ``B2.tif``, HLS granules
``HLS.S30.T....B02.tif``), products as ESA delivers them (``X.SAFE``, with bands of several resolutions), and GeoTIFFs
with several bands named by their descriptions, for one date (``B02``) or several (``B02_20210615``), or by a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import read_info

from eozoo_prithvi_refine.settings import BANDS

_NAMES = (("B02", "B2", "BLUE"), ("B03", "B3", "GREEN"), ("B04", "B4", "RED"), ("B08", "B8", "NIR"))
_LANDSAT_NIR = ("B05",)  # HLS L30
_QUALITY = ("SCL", "FMASK")
_BAND = re.compile(r"(?:^|[._ -])(B0?\d{1,2}|B8A|SCL|FMASK|BLUE|GREEN|RED|NIR)$", re.IGNORECASE)
_RESOLUTION = re.compile(r"_(?:10|20|60)m$")
_DAY = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?([0-3]\d)(?!\d)")
_HLS_DAY = re.compile(r"\.(20\d\d)([0-3]\d\d)T\d{6}\.")
_BESIDE = ("QI_DATA", "AUX_DATA")  # of a product: masks that are named like bands, and weather


@dataclass(frozen=True)
class Product:
    """Four bands of one date: per band a file and the band's number in it (from 1).

    date: YYYYMMDD, or "" where the product names none; quality: file, band and kind ("SCL", "FMASK") or None.
    """

    name: str
    bands: tuple[tuple[Path, int], ...]
    date: str
    quality: tuple[Path, int, str] | None

    @property
    def files(self) -> list[Path]:
        """What is read of it."""
        return list(dict.fromkeys([file for file, _ in self.bands] + ([self.quality[0]] if self.quality else [])))


@dataclass
class Found:
    """What lies under a folder: products by name, and files that are none, each with the reason."""

    products: list[Product] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)


def find_products(source: Path, band_names: Sequence[str] | None = None, skip: bool = False) -> Found:
    """Return every product under ``source``. ``band_names``: what the bands of files without names are, in order.

    ``skip`` leaves out files that cannot be read; else they raise ZooError, and so does a folder without a product.
    """
    if not source.is_dir():
        raise ZooError(f"prepare.source {source}: no such folder")
    found = Found()
    groups: dict[str, dict[str, list[Path]]] = {}
    for file in sorted(f for f in source.rglob("*") if f.suffix.lower() in (".tif", ".tiff", ".jp2")):
        stem = _RESOLUTION.sub("", file.stem)
        band = _BAND.search(stem)
        if set(_BESIDE) & set(file.relative_to(source).parts):
            found.skipped[file] = "no band: quality or auxiliary data of a product"
        elif band:
            key = f"{_product_folder(file, source).relative_to(source)}/{stem[: band.start()]}".strip("./")
            groups.setdefault(key, {}).setdefault(band.group(1).upper(), []).append(file)
        else:
            with _skipping(found, file, skip):
                _add_stack(found, file, band_names)
    for key, bands in groups.items():
        some = next(iter(bands.values()))[0]
        with _skipping(found, some, skip):
            _add_folder(found, key, bands)
    if not found.products:
        why = "; ".join(f"{file.name}: {reason}" for file, reason in list(found.skipped.items())[:1])
        raise ZooError(
            f"prepare.source {source}: holds no product with bands {', '.join(BANDS)}{f' ({why})' if why else ''}"
        )
    found.products.sort(key=lambda p: p.name)
    return found


def month_in(text: str) -> int | None:
    """Return the month of the first date in a name: YYYYMMDD, YYYY-MM-DD, or HLS's .YYYYDDDT; None without one."""
    date = date_in(text)
    return int(date[4:6]) if date else None


def date_in(text: str) -> str:
    """Return the first date in a name as YYYYMMDD, "" where there is none.

    In Sentinel-1/2 and BigEarthNet names a T follows the day; some patches write the time with five digits.
    """
    hls = _HLS_DAY.search(text)
    if hls:
        from datetime import date, timedelta

        return (date(int(hls[1]), 1, 1) + timedelta(days=int(hls[2]) - 1)).strftime("%Y%m%d")
    found = _DAY.search(text)
    return "".join(found.groups()) if found else ""


def band_numbers(info: RasterInfo, wanted: Sequence[str | int] | None) -> tuple[int, ...]:
    """Return the numbers (from 1) of blue, green, red, NIR: as wanted, by description, or a four-band file as it is."""
    if wanted is not None:
        if len(wanted) != 4:
            raise ZooError(f"infer.bands {list(wanted)}: name four bands: blue, green, red, near infrared")
        return info.select(wanted)
    known = [d.upper() for d in info.descriptions]
    numbers = [next((known.index(n) + 1 for n in names if n in known), None) for names in _NAMES]
    if None not in numbers:
        return tuple(numbers)
    if len(info.bands) == 4 and not any(known):
        return info.bands
    raise ZooError(
        f"{info.path}: {len(info.bands)} bands ({', '.join(d or '?' for d in info.descriptions)}) and no "
        f"{' '.join(BANDS)} among them; name them with --set infer.bands=[blue, green, red, nir]"
    )


def _product_folder(file: Path, source: Path) -> Path:
    """The folder of a product: X.SAFE above the file, else the one it lies in."""
    inside = [folder for folder in file.parents if folder != source and source in folder.parents]
    return next((folder for folder in inside if folder.suffix.upper() == ".SAFE"), file.parent)


@contextmanager
def _skipping(found: Found, file: Path, skip: bool) -> Iterator[None]:
    try:
        yield
    except ZooError as error:
        if not skip:
            raise
        found.skipped[file] = str(error).removeprefix(f"{file}: ")


def _add_folder(found: Found, key: str, files: dict[str, list[Path]]) -> None:
    """Single-band files as a product: of each band the finest resolution that lies there."""
    some = next(iter(files.values()))[0]
    near = (*_NAMES[3], *(_LANDSAT_NIR if ".L30." in some.name else ("B8A",)))
    codes = [next((n for n in names if n in files), None) for names in (*_NAMES[:3], near)]
    quality = next((q for q in _QUALITY if q in files), None)
    lacks = [names[0] for names, code in zip(_NAMES, codes, strict=True) if code is None]
    every = [file for same in files.values() for file in same]
    if lacks:
        reason = f"has no band {', '.join(lacks)}; it has {', '.join(sorted(files))}"
        found.skipped |= dict.fromkeys(every, f"{some.parent.name} {reason}" if len(every) > 1 else reason)
        return
    chosen = {code: _finest(files[code]) for code in (*codes, *([quality] if quality else []))}
    found.skipped |= {
        file: "the same band in a finer resolution is read" if code in chosen else "this band is not needed"
        for code, same in files.items()
        for file in same
        if file != chosen.get(code)
    }
    folder = next((f.name for f in some.parents if f.suffix.upper() == ".SAFE"), some.parent.name)
    date = date_in(folder) or date_in(f"{folder}/{some.name}")
    mask = (chosen[quality], 1, quality) if quality else None
    found.products.append(Product(_clean(key), tuple((chosen[code], 1) for code in codes), date, mask))


def _finest(files: list[Path]) -> Path:
    if len(files) == 1:
        return files[0]
    sizes = {file: read_info(file).grid for file in files}
    return max(files, key=lambda file: sizes[file].height * sizes[file].width)


def _add_stack(found: Found, file: Path, band_names: Sequence[str] | None) -> None:
    """A GeoTIFF with named bands: one product per date in the names, or one dated by the file's name."""
    info = read_info(file)
    by_date = _named(info)
    if not by_date and band_names is not None:
        by_date = _named(info.named(band_names, "prepare.band_names"))
    before = len(found.products)
    for date, bands in sorted(by_date.items()):
        day = date or date_in(file.name)
        numbers = [next((bands[n] for n in names if n in bands), None) for names in _NAMES]
        if None in numbers:
            continue
        quality = next(((file, bands[q], q) for q in _QUALITY if q in bands), None)
        name = _clean(f"{file.stem}_{day}" if len(by_date) > 1 else file.stem)
        found.products.append(Product(name, tuple((file, n) for n in numbers), day, quality))
    if len(found.products) == before:
        have = ", ".join(d or "?" for d in info.descriptions[:4]) + (" ..." if info.count > 4 else "")
        found.skipped[file] = f"no {' '.join(BANDS)} among its bands ({have}); say what they are: prepare.band_names"


def _named(info: RasterInfo) -> dict[str, dict[str, int]]:
    """Numbers of bands by date in their names ("" = none) and code."""
    by_date: dict[str, dict[str, int]] = {}
    for number, text in enumerate(info.descriptions, 1):
        date = date_in(text)
        band = _BAND.search(_DAY.sub("", text).rstrip("_ -.") if date else text)
        if band:
            by_date.setdefault(date, {})[band.group(1).upper()] = number
    return by_date


def _clean(name: str) -> str:
    """A file name from a relative path; a patch folder and its file prefix, the same twice, count once."""
    parts = [p for p in name.split("/") if p]
    if len(parts) > 1 and parts[-1].startswith(parts[-2]):
        parts.pop(-2)
    return "_".join(parts) or "product"
