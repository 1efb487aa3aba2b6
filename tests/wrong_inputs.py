"""Files as people have them that eozoo refuses or asks about, for docs/what_is_refused.md."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import rasterio
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS
from rasterio.control import GroundControlPoint

PLACE = {"crs": "EPSG:32647", "transform": rasterio.Affine(20, 0, 480_000, 0, -20, 2_080_000)}
SHOT = "lon,lat,agbd,agbd_se,quality,degrade\n"


def put(path, bands, names=(), place=PLACE, **profile):
    shape = dict(zip(("count", "height", "width"), bands.shape), dtype=bands.dtype, driver="GTiff")
    with rasterio.open(path, "w", **shape, **place, **profile) as out:
        out.write(bands)
        if names:
            out.descriptions = names
    return path


def make_wrong_inputs(folder: Path, scene: Path, data: Path) -> None:
    """Write them into ``folder``, from a good ``scene`` of the documented bands and good training ``data``."""
    with rasterio.open(scene) as source:
        good = source.read(masked=True).filled(np.nan).astype("float32")[:, :40, :64]
    folder.mkdir(parents=True, exist_ok=True)
    filled = np.nan_to_num(good, nan=0.1)
    put(folder / "good.tif", good, DOCUMENTED_BANDS)
    put(folder / "digital_numbers.tif", good * np.float32(1e4), DOCUMENTED_BANDS)
    put(folder / "offset.tif", np.concatenate([good[:12] + np.float32(0.1), good[12:]]), DOCUMENTED_BANDS)
    put(folder / "decibels.tif", np.concatenate([good[:12], good[12:] * 30 - 30]), DOCUMENTED_BANDS)
    undeclared = filled.copy()
    undeclared[3, :5] = -9999
    put(folder / "undeclared.tif", undeclared, DOCUMENTED_BANDS)
    collar = filled.copy()
    collar[:12, :, :8] = 0  # the optical bands
    put(folder / "collar.tif", collar, DOCUMENTED_BANDS)
    put(folder / "reversed.tif", good[::-1])
    put(folder / "landsat.tif", filled[:7], [f"SR_B{i}" for i in range(1, 8)])
    put(folder / "unnamed.tif", filled[:13])
    put(folder / "without_b8a.tif", np.delete(filled, 8, axis=0), [b for b in DOCUMENTED_BANDS if b != "B8A"])
    put(folder / "complex.tif", filled.astype("complex64"), DOCUMENTED_BANDS)
    put(folder / "no_position.tif", filled, DOCUMENTED_BANDS, {"crs": "EPSG:32647"})
    put(folder / "degrees.tif", filled, DOCUMENTED_BANDS, PLACE | {"crs": "EPSG:4326"})
    put(folder / "nothing.tif", filled * np.float32("nan"), DOCUMENTED_BANDS)
    with rasterio.open(put(folder / "scale_0.tif", filled, DOCUMENTED_BANDS), "r+") as out:
        out.scales = (0.0,) * 14
    points = put(folder / "control_points.tif", filled, DOCUMENTED_BANDS, {})
    corners = [
        GroundControlPoint(0, 0, 99, 18),
        GroundControlPoint(0, 64, 99.1, 18),
        GroundControlPoint(40, 0, 99, 17.9),
    ]
    with rasterio.open(points, "r+") as out:
        out.gcps = (corners, rasterio.CRS.from_epsg(4326))
    rgbn = np.random.default_rng(0).integers(1, 255, (4, 40, 64)).astype("uint8")
    put(folder / "rgbn.tif", rgbn, photometric="RGB", ALPHA="YES")
    with h5py.File(folder / "two.h5", "w") as file:
        file["a"], file["b"] = filled[0], filled[1]
    whole = (folder / "good.tif").read_bytes()
    (folder / "damaged.tif").write_bytes(whole[: len(whole) // 2])
    band = "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{band}'
    (folder / "foreign.vrt").write_text(
        f'<VRTDataset rasterXSize="4" rasterYSize="4">{band}</VRTRasterBand></VRTDataset>'
    )
    (folder / "service.xml").write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>")
    _tables(folder)
    _layers(folder, filled)
    for name, spoilt in (("filled", lambda a: np.nan_to_num(a, nan=-9999)), ("in_cm", lambda a: a * 100)):
        shutil.copytree(data, folder / f"labels_{name}", ignore=shutil.ignore_patterns("scene*"))
        for file in (folder / f"labels_{name}" / "label" / "train").iterdir():
            np.save(file, spoilt(np.load(file)))


def _tables(folder: Path) -> None:
    rows = {"metres.csv": "480100,2079900,120,5,1,0\n", "words.csv": "99.0,18.0,much,5,1,0\n", "header_only.csv": ""}
    for name, text in rows.items():
        (folder / name).write_text(SHOT + text)
    granules = folder / "granules"
    granules.mkdir(exist_ok=True)
    for product in ("GEDI04_A", "GEDI02_A"):
        with h5py.File(granules / f"{product}_2020036151358_O06515_02_T00198_02_002_01_V002.h5", "w") as file:
            file.create_group("BEAM0000")


def _layers(folder: Path, filled: np.ndarray) -> None:
    numbers = np.rint(filled[1:2] * 10_000).astype("uint16")
    put(folder / "B02.tif", numbers, ["B02"])
    put(folder / "reflectance.tif", filled[1:2], ["B02"])
    put(folder / "backscatter.tif", filled[12:13] * 30 - 30, ["VV"])
