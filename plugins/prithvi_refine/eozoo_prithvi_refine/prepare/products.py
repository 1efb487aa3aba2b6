"""Sentinel-2 and HLS products on disk: which files are the four bands, of which date, in what unit.

Understood are folders of single-band files (BigEarthNet patches ``..._B02.tif``, SSL4EO ``B2.tif``, HLS granules
``HLS.S30.T....B02.tif``) and GeoTIFFs with several bands named by their descriptions, for one date (``B02``) or several
(``B02_20210615``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.read import RasterInfo, read_info

from eozoo_prithvi_refine.settings import BANDS

_NAMES = (("B02", "B2", "BLUE"), ("B03", "B3", "GREEN"), ("B04", "B4", "RED"), ("B08", "B8", "NIR"))
_LANDSAT_NIR = ("B05",)  # HLS L30
_QUALITY = ("SCL", "FMASK")
_BAND = re.compile(r"(?:^|[._ -])(B0?\d{1,2}|B8A|SCL|FMASK|BLUE|GREEN|RED|NIR)$", re.IGNORECASE)
_DAY = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?([0-3]\d)(?!\d)")
_HLS_DAY = re.compile(r"\.(20\d\d)([0-3]\d\d)T\d{6}\.")
_BASELINE = re.compile(r"_N(\d{4})_")


@dataclass(frozen=True)
class Product:
    """Four bands of one date: per band a file and the band's number in it (from 1).

    date: YYYYMMDD, or "" where the product names none; quality: file, band and kind ("SCL", "FMASK") or None;
    baseline: Sentinel-2 processing baseline as in the name (400 = 04.00), None where it is not named.
    """

    name: str
    bands: tuple[tuple[Path, int], ...]
    date: str
    quality: tuple[Path, int, str] | None
    baseline: int | None


def find_products(source: Path) -> list[Product]:
    """Return every product under ``source``, by name. Raises ZooError where none is found or one lacks a band."""
    if not source.is_dir():
        raise ZooError(f"prepare.source {source}: no such folder")
    files = sorted(f for f in source.rglob("*") if f.suffix.lower() in (".tif", ".tiff", ".jp2"))
    groups: dict[str, dict[str, Path]] = {}
    stacks = []
    for file in files:
        found = _BAND.search(file.stem)
        if found:
            key = f"{file.parent.relative_to(source)}/{file.stem[: found.start()]}".strip("./")
            groups.setdefault(key, {})[found.group(1).upper()] = file
        else:
            stacks.append(file)
    products = [_folder_product(key, bands) for key, bands in groups.items() if len(bands) > 1]
    for file in stacks:
        products += _stack_products(file)
    if not products:
        raise ZooError(f"prepare.source {source}: holds no product with bands {', '.join(BANDS)}")
    return sorted(products, key=lambda p: p.name)


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


def offset_of(product: Product, offset: float | None) -> float:
    """Return what is added to stored values before scaling: as set, or by the processing baseline (04.00 on: -1000).

    Raises ZooError for a baseline that does not tell (99.99, reprocessed).
    """
    if offset is not None:
        return offset
    if product.baseline is not None and product.baseline > 9000:
        raise ZooError(
            f"{product.name}: processing baseline {product.baseline / 100:05.2f} does not tell whether values carry "
            "the offset of 1000; set prepare.offset to 0 or -1000"
        )
    return -1000.0 if product.baseline is not None and product.baseline >= 400 else 0.0


def _folder_product(key: str, files: dict[str, Path]) -> Product:
    near = (*_NAMES[3], *(_LANDSAT_NIR if ".L30." in next(iter(files.values())).name else ("B8A",)))
    chosen = []
    for names in (*_NAMES[:3], near):
        file = next((files[n] for n in names if n in files), None)
        if file is None:
            raise ZooError(
                f"{next(iter(files.values())).parent}: has no band {names[0]}; it has {', '.join(sorted(files))}"
            )
        chosen.append((file, 1))
    quality = next(((files[q], 1, q) for q in _QUALITY if q in files), None)
    folder = chosen[0][0].parent.name
    text = f"{folder}/{chosen[0][0].name}"
    return Product(_clean(key), tuple(chosen), date_in(folder) or date_in(text), quality, _baseline(text))


def _stack_products(file: Path) -> list[Product]:
    """A GeoTIFF with named bands: one product per date in the names, or one dated by the file's name."""
    by_date: dict[str, dict[str, int]] = {}
    for number, text in enumerate(read_info(file).descriptions, 1):
        date = date_in(text)
        found = _BAND.search(_DAY.sub("", text).rstrip("_ -.") if date else text)
        if found:
            by_date.setdefault(date or date_in(file.name), {})[found.group(1).upper()] = number
    products = []
    for date, bands in sorted(by_date.items()):
        numbers = [next((bands[n] for n in names if n in bands), None) for names in _NAMES]
        if None in numbers:
            continue
        quality = next(((file, bands[q], q) for q in _QUALITY if q in bands), None)
        name = _clean(f"{file.stem}_{date}" if len(by_date) > 1 else file.stem)
        products.append(Product(name, tuple((file, n) for n in numbers), date, quality, _baseline(file.name)))
    return products


def _baseline(text: str) -> int | None:
    found = _BASELINE.search(text)
    return int(found[1]) if found else None


def _clean(name: str) -> str:
    """A file name from a relative path; a patch folder and its file prefix, the same twice, count once."""
    parts = [p for p in name.split("/") if p]
    if len(parts) > 1 and parts[-1].startswith(parts[-2]):
        parts.pop(-2)
    return "_".join(parts) or "product"
