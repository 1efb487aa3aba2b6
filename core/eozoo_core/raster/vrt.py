"""One mosaic of the maps of many scenes: a VRT that refers to them, or one cloud-optimised file.

Where scenes overlap, band by band, the first by name that has a value counts; nothing is averaged: the mean of two
classes or of two standard deviations would be neither. Both files hold the same pixels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import BLOCK, cog_options, copy_as_cog
from eozoo_core.raster.files import LAYER
from eozoo_core.raster.maps_in import MOSAIC, Group, MapFile
from eozoo_core.raster.packing import NODATA, Packing
from eozoo_core.raster.read import read_info
from eozoo_core.run.writing import hidden_folder
from eozoo_core.run.written import stamp_of, write_text

RULE = "where maps overlap, the first by name that has a value counts"
_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
          "float32": "Float32", "float64": "Float64"}  # fmt: skip
_SHARED = (LAYER, "QUANTITY", "UNIT", "EOZOO_RUN", "EOZOO_CHECKPOINT", "EOZOO_VERSION")
_STAMP = "EOZOO_STAMP"
_EMPTIEST = 20  # times the pixels of all scenes that a merged file may have


def write_vrt(group: Group, path: Path) -> Path:
    """Write the mosaic as a VRT, which names its maps relative to itself; return its path."""
    return write_text(path, vrt_of(group, path.parent))


def require_one(layers: Mapping[str, Sequence[Group]], maps: Sequence[MapFile]) -> None:
    """Raise ZooError where maps cannot be merged: of several CRSs or pixel sizes, without a place, or turned."""
    grouped = {one.path for groups in layers.values() for group in groups for one in group.maps}
    if left := [one.path for one in maps if one.path not in grouped]:
        raise ZooError(f"--merge: {len(left)} maps have no CRS or place, or are turned, first {left[0]}; leave it out")
    for layer, groups in layers.items():
        if len(groups) > 1:
            told = [f"{len(g.maps)} in {g.crs} with pixels of {g.first.info.grid.transform.a:g}" for g in groups[:4]]
            raise ZooError(
                f"--merge: the maps of {layer} are {', '.join(told)}{' ...' if len(groups) > 4 else ''}; one file has "
                "one CRS and pixel size: give an --output to each, or reproject the inputs"
            )


def merge(group: Group, path: Path) -> Path:
    """Write the mosaic as one cloud-optimised GeoTIFF, unless it is there and of the same maps; return its path.

    GDAL streams it; memory is that of its cache. Raises ZooError where scenes lie so far apart that the file would be
    nearly empty, on a full disk, and where a map is damaged.
    """
    covered = sum(one.info.grid.height * one.info.grid.width for one in group.maps)
    grid = group.grid
    if grid.height * grid.width > _EMPTIEST * covered:
        share = 1 - covered / (grid.height * grid.width)
        raise ZooError(
            f"{path}: would hold {grid.width:,} x {grid.height:,} px of which {share:.1%} lie in no scene; merge "
            "scenes that touch, from a folder of their own"
        )
    files = [one.path for one in group.maps]
    if is_merged(group, path):
        return path
    block = min(BLOCK, max(128, -(-max(grid.height, grid.width) // 16) * 16))
    options = cog_options(block, categorical=bool(group.first.legend)) | {"overviews": "IGNORE_EXISTING"}
    with hidden_folder(path, sum(file.stat().st_size for file in files)) as work:
        source = write_text(work / "mosaic.vrt", vrt_of(group, None, {_STAMP: _stamp(group)}))
        copy_as_cog(str(source), str(work / "cog.tif"), path, grid, options)
    return path


def is_merged(group: Group, path: Path) -> bool:
    """Whether the mosaic is there as one file, made from the maps as they are."""
    return path.exists() and read_info(path).tags.get(_STAMP) == _stamp(group)


def error_of(group: Group) -> str:
    """How far off a value of the mosaic of packed maps may be, with its unit; "" where they are not packed."""
    parts = [float(one.info.tags["INT8_ERROR"]) for one in group.maps if "INT8_ERROR" in one.info.tags]
    if not parts:
        return ""
    packing = _packing(group)
    again = packing is not None and any(_shift(one, packing) for one in group.maps)
    unit = group.first.info.units[0].removesuffix("1")
    return f"{max(parts) + (1.005 * packing.error if again else 0):.3g} {unit}".rstrip()


def vrt_of(group: Group, folder: Path | None, tags: dict[str, str] | None = None) -> str:
    """Return the text of the VRT; maps are named relative to ``folder``, or absolutely."""
    grid, info = group.grid, group.first.info
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    SubElement(root, "SRS").text = grid.crs.to_wkt()
    t = grid.transform
    SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    told = {name: text for name in _SHARED if (text := info.tags.get(name))}
    _metadata(root, told | {MOSAIC: f"{len(group.maps)} maps; {RULE}"} | _error(group) | (tags or {}))
    packing = _packing(group)
    for number in range(1, info.count + 1):
        band = SubElement(root, "VRTRasterBand", dataType=_TYPES[info.dtypes[number - 1]], band=str(number))
        _describe(band, group, number, packing)
        for one in reversed(group.maps):  # the last one lies on top
            _source(band, one, group, number, folder, packing)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _describe(band: Element, group: Group, number: int, packing: Packing | None) -> None:
    info, legend = group.first.info, group.first.legend
    SubElement(band, "Description").text = info.descriptions[number - 1]
    SubElement(band, "UnitType").text = info.units[number - 1]
    if (nodata := info.nodata[number - 1]) is not None:
        SubElement(band, "NoDataValue").text = f"{nodata:.17g}"
    if packing is not None:
        SubElement(band, "Offset").text = repr(float(packing.offsets[number - 1]))
        SubElement(band, "Scale").text = repr(float(packing.scales[number - 1]))
    SubElement(band, "ColorInterp").text = "Palette" if legend else "Gray" if number == 1 else "Undefined"
    if legend and number == 1:
        table = SubElement(band, "ColorTable")
        for code in range(256):
            colour = legend.get(code, ("", (0, 0, 0)))[1]
            SubElement(table, "Entry", c1=str(colour[0]), c2=str(colour[1]), c3=str(colour[2]), c4="255")
        _metadata(band, {"CLASS_NAMES": json.dumps({code: name for code, (name, _) in legend.items()})})


def _source(
    band: Element, one: MapFile, group: Group, number: int, folder: Path | None, packing: Packing | None
) -> None:  # fmt: skip
    nodata, grid = one.info.nodata[number - 1], one.info.grid
    source = SubElement(band, "SimpleSource" if nodata is None else "ComplexSource")
    name = one.path.absolute() if folder is None else Path(os.path.relpath(one.path, folder))
    SubElement(source, "SourceFilename", relativeToVRT=str(int(folder is not None))).text = name.as_posix()
    SubElement(source, "SourceBand").text = str(number)
    size = {"xSize": str(grid.width), "ySize": str(grid.height)}
    kind, block = _TYPES[one.info.dtypes[number - 1]], str(BLOCK)
    SubElement(source, "SourceProperties", RasterXSize=size["xSize"], RasterYSize=size["ySize"], DataType=kind,
               BlockXSize=block, BlockYSize=block)  # fmt: skip
    row, col = group.place(one)
    SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
    SubElement(source, "DstRect", xOff=str(col), yOff=str(row), **size)
    if packing is not None and _shift(one, packing):
        scale, offset = packing.scales[number - 1], packing.offsets[number - 1]
        SubElement(source, "ScaleOffset").text = repr(float((one.info.offsets[number - 1] - offset) / scale))
        SubElement(source, "ScaleRatio").text = repr(float(one.info.scales[number - 1] / scale))
    if nodata is not None:
        SubElement(source, "NODATA").text = f"{nodata:.17g}"


def _packing(group: Group) -> Packing | None:
    """Return scales and offsets that hold the values of all maps; None where they are not packed."""
    if not group.first.info.packed or group.first.info.nodata[0] != NODATA:
        return None
    scales, offsets = [np.array([getattr(one.info, what) for one in group.maps]) for what in ("scales", "offsets")]
    return Packing.around(scales, offsets)


def _shift(one: MapFile, packing: Packing) -> bool:
    """Whether the codes of a map are others in the mosaic."""
    return not (np.allclose(one.info.scales, packing.scales, 1e-9, 0)
                and np.allclose(one.info.offsets, packing.offsets, 1e-9, 1e-12))  # fmt: skip


def _error(group: Group) -> dict[str, str]:
    return {"INT8_ERROR": error.partition(" ")[0]} if (error := error_of(group)) else {}


def _metadata(element: Element, tags: dict[str, str]) -> None:
    inside = SubElement(element, "Metadata")
    for name, text in tags.items():
        SubElement(inside, "MDI", key=name).text = text


def _stamp(group: Group) -> str:
    return stamp_of([RULE, str(group.grid)], [one.path for one in group.maps])
