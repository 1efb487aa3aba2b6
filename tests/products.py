"""Small Sentinel-2 products and STAC items for tests, laid out like real ones, of numbers that can be checked."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

CRS, WEST, NORTH = "EPSG:32631", 600_000, 5_100_000
SIDE = 120  # px of 10 m
PRODUCT = "S2A_MSIL2A_20240615T104031_N0510_R008_T31TFJ_20240615T150000"
SIZES = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B8A": 20, "B11": 20, "SCL": 20, "B01": 60}


def write_raster(path, values, size, west=WEST, north=NORTH, crs=CRS, driver="GTiff", **options):
    """Write ``values`` (C, H, W) with pixels of ``size`` metres; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.atleast_3d(values) if np.ndim(values) == 3 else np.asarray(values)[None]
    kind = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype.name}
    place = {"crs": crs, "transform": from_origin(west, north, size, size)}
    tags = {key: options.pop(key) for key in ("scales", "offsets", "descriptions") if key in options}
    with rasterio.open(path, "w", driver=driver, **kind, **place, **options) as data:
        data.write(values)
        for key, value in tags.items():
            setattr(data, key, value)
    return path


def numbers(band, seed=0):
    """Digital numbers of a band: 1000 + 100 for every band of the list, + row, and a hole of zeros."""
    size = SIZES[band]
    side = SIDE * 10 // size
    if band == "SCL":
        values = np.full((side, side), 4, np.uint8)
        values[: side // 2, : side // 2] = 9
        return values
    first = 1000 + 100 * list(SIZES).index(band) + seed
    values = (first + np.arange(side)[:, None] + np.zeros((1, side))).astype(np.uint16)
    values[side - side // 6 :, side - side // 6 :] = 0
    return values


def write_safe(root, product=PRODUCT, offset=-1000, bands=SIZES):
    """Write a SAFE folder of JPEG 2000 files; return it."""
    safe = Path(root) / f"{product}.SAFE"
    images = safe / "GRANULE" / "L2A_T31TFJ_A046921_20240615T104031" / "IMG_DATA"
    for band in bands:
        for size in {SIZES[band], 60} if band != "SCL" else {20}:
            values = numbers(band)
            step = size // SIZES[band]
            file = images / f"R{size}m" / f"T31TFJ_20240615T104031_{band}_{size}m.jp2"
            write_raster(file, values[::step, ::step], size, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES",
                         YCBCR420="NO")  # fmt: skip
    offsets = "".join(f"<BOA_ADD_OFFSET band_id='{i}'>{offset}</BOA_ADD_OFFSET>" for i in range(13))
    text = f"<p>{offsets if offset else ''}<BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE></p>"
    (safe / "MTD_MSIL2A.xml").write_text(text)
    return safe


def zipped(safe):
    """Pack a SAFE folder into a zip beside it, remove the folder; return the zip."""
    file = safe.with_suffix(".zip")
    with zipfile.ZipFile(file, "w") as opened:
        for part in sorted(p for p in safe.rglob("*") if p.is_file()):
            opened.write(part, part.relative_to(safe.parent))
    shutil.rmtree(safe)
    return file


def write_item(root, name="S2A_31TFJ_20240615", keys=None, baseline="05.10", seed=0, west=WEST, packed=True, **more):
    """Write GeoTIFFs and the STAC item of them as ``root/name/name.json``; return the item (a dict) and its file.

    ``keys``: asset -> band.
    """
    folder, assets = Path(root) / name, {}
    for key, band in (keys or {"red": "B04", "nir": "B08", "swir16": "B11", "scl": "SCL"}).items():
        options = {"tiled": True, "blockxsize": 32, "blockysize": 32}
        write_raster(folder / f"{band}.tif", numbers(band, seed), SIZES[band], west, **options)
        about = {"name": band, **({"common_name": key} if band != "SCL" else {})}
        told = {"nodata": 0, **({"scale": 1e-4, "offset": -0.1} if packed and band != "SCL" else {})}
        assets[key] = {"href": f"./{band}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                       "roles": ["data"], "gsd": SIZES[band], "eo:bands": [about], "raster:bands": [told]}  # fmt: skip
    assets["thumbnail"] = {"href": "./t.png", "type": "image/png", "roles": ["thumbnail"]}
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "sentinel-2-l2a",
        "stac_extensions": [], "geometry": None, "links": [], "assets": assets,
        "properties": {"datetime": "2024-06-15T10:40:31Z", "constellation": "sentinel-2",
                       "s2:processing_baseline": baseline, **more},
    }  # fmt: skip
    file = folder / f"{name}.json"
    file.write_text(json.dumps(item))
    return item, file
