"""Elevation, mask and land cover on the grid."""

import numpy as np
import pytest
import rasterio
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.static import build_static, class_name, landcover_index, read_static, warp, write_static
from eozoo_core import ZooError

GRID = KoGrid(12, 10)


def write_fine(path, blocks, dtype="uint8", nodata=None):
    """Each grid pixel as a block of 2 x 2 finer ones, on the same projection."""
    height, width = blocks.shape
    transform = rasterio.Affine(1000, 0, GRID.left, 0, -1000, GRID.top)
    profile = {"driver": "GTiff", "count": 1, "dtype": dtype, "crs": GRID.crs, "transform": transform}
    with rasterio.open(path, "w", height=height, width=width, nodata=nodata, **profile) as file:
        file.write(blocks.astype(dtype), 1)
    return path


def test_classes_are_never_averaged(tmp_path):
    fine = np.full((20, 24), 17)
    fine[:2, :2] = [[1, 13], [13, 13]]
    found = warp(write_fine(tmp_path / "lc.tif", fine), GRID, "majority")
    assert found[0, 0] == 13
    assert set(np.unique(found)) == {13, 17}


def test_elevation_is_averaged_and_sea_is_zero(tmp_path):
    fine = np.full((20, 24), -9999.0)
    fine[:2, :2] = [[100, 200], [300, 400]]
    dem = write_fine(tmp_path / "dem.tif", fine, "float32", nodata=-9999)
    cover = np.full((10, 12), 17, np.float32)
    cover[0, :2] = 5
    np.save(tmp_path / "lc.npy", cover)
    static = build_static(dem, None, tmp_path / "lc.npy", 1, GRID)
    assert static.dem[0, 0] == 250
    assert np.isnan(static.dem[0, 1])  # land without elevation stays missing
    assert static.dem[5, 5] == 0
    assert static.lsmask.sum() == 2
    assert static.classes()[0, 0] == 4
    write_static(static, tmp_path / "static_2022.tif", GRID)
    again = read_static(tmp_path / "static_2022.tif", GRID)
    np.testing.assert_array_equal(again.dem, static.dem)
    np.testing.assert_array_equal(again.landcover, static.landcover)


def test_the_base_of_the_classes():
    values = np.array([1.0, 17.0, 255.0, np.nan])
    np.testing.assert_array_equal(landcover_index(values, 1, "lc"), [0, 16, np.nan, np.nan])
    np.testing.assert_array_equal(landcover_index(np.array([0.0, 16.0]), 0, "lc"), [0, 16])
    with pytest.raises(ZooError, match=r"holds class 17, so its classes count from 1"):
        landcover_index(values, 0, "lc")
    with pytest.raises(ZooError, match=r"holds class 0, so its classes count from 0"):
        landcover_index(np.array([0.0]), 1, "lc")
    assert class_name(16, 1) == class_name(0, 0) == "water"
    assert class_name(0, 1) == class_name(1, 0) == "evergreen needleleaf forest"


def test_products_that_do_not_fit(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    with pytest.raises(ZooError, match=r"a.npy: has 3 x 3 pixels"):
        warp(tmp_path / "a.npy", GRID, "mean")
    transform = rasterio.Affine(0.1, 0, -70.0, 0, -0.1, 10.0)
    with rasterio.open(
        tmp_path / "far.tif", "w", "GTiff", 4, 4, 1, "EPSG:4326", transform, "float32", nodata=np.nan
    ) as file:
        file.write(np.ones((1, 4, 4), "float32"))
    with pytest.raises(ZooError, match=r"no pixel of it lies on the grid"):
        warp(tmp_path / "far.tif", GRID, "mean")
    np.save(tmp_path / "mask.npy", np.full((10, 12), 2.0))
    np.save(tmp_path / "ok.npy", np.ones((10, 12)))
    with pytest.raises(ZooError, match=r"mask.npy: a land/sea mask holds 0"):
        build_static(tmp_path / "ok.npy", tmp_path / "mask.npy", tmp_path / "ok.npy", 1, GRID)
