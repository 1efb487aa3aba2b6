"""Bands of several resolutions on one grid, by hand: averages, planes, classes, and holes that stay holes."""

import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.overlay import Overlay
from eozoo_core.raster.read import read_info
from eozoo_core.raster.tiles import Window
from rasterio import Affine

NAN = np.nan


def write(path, values, pixel, crs="EPSG:32631"):
    values = np.asarray(values)
    profile = {"driver": "GTiff", "count": 1, "height": values.shape[0], "width": values.shape[1], "crs": crs}
    place = Affine(pixel, 0, 500_000, 0, -pixel, 5_600_000)
    with rasterio.open(path, "w", dtype=values.dtype.name, transform=place, **profile) as out:
        out.write(values, 1)
    return path


def overlay(tmp_path, values, pixel, size, onto, **options):
    grid = read_info(write(tmp_path / "grid.tif", np.zeros((size, size), "u1"), onto)).grid
    file = write(tmp_path / "band.tif", values, pixel)
    return Overlay(grid, file, 1, **options).read(Window(0, 0, size, size))


def test_values_onto_coarser_pixels_are_means_of_what_is_there(tmp_path):
    fine = np.uint16([[100, 300, 0, 0], [500, 0, 0, 0], [7, 7, 8, 8], [7, 7, 8, 65535]])
    found = overlay(tmp_path, fine, 10, 2, 20, missing=(0.0, 65535.0))
    np.testing.assert_allclose(found, [[300, NAN], [7, 8]])


def test_classes_onto_finer_pixels_are_not_mixed(tmp_path):
    found = overlay(tmp_path, np.uint8([[4, 9], [9, 4]]), 20, 4, 10, classes=True)
    np.testing.assert_array_equal(found, np.kron([[4, 9], [9, 4]], np.ones((2, 2))))


def test_a_plane_is_met_and_a_hole_bleeds_into_nothing(tmp_path):
    plane = np.uint16([[1000 + 40 * col for col in range(4)]] * 4)  # 2 a metre
    plane[2, 2] = 0
    found = overlay(tmp_path, plane, 20, 8, 10, missing=(0.0,))
    np.testing.assert_allclose(found[0, 1:7], 1000 - 10 + 20 * np.arange(1, 7))
    assert np.isnan(found[4:6, 4:6]).all()
    assert np.isnan(found).sum() == 4
    assert found[np.isfinite(found)].min() >= 1000


def test_a_band_that_does_not_reach_over_the_grid_is_refused(tmp_path):
    with pytest.raises(ZooError, match="does not cover the same area"):
        overlay(tmp_path, np.ones((2, 2), "u2"), 20, 8, 10)
