"""Reading level 1B and stacks: quality bits, block means, and one clear line for each thing that can be wrong."""

from datetime import datetime

import h5py
import numpy as np
import pytest
from eozoo_clay_ta.channels import BT, RF, channel
from eozoo_clay_ta.demo.products import write_l1b
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.level1b import Reading, l1b_name
from eozoo_clay_ta.level1b import read_channel as read_with_calibration
from eozoo_clay_ta.scenes import ScenePaths, calibration_in, find_scenes, read_scene, stamp_time
from eozoo_core import ZooError

GRID = KoGrid(12, 10, left=-40_000.0, top=60_000.0)
STAMP = "202207010300"
WHEN = datetime(2022, 7, 1, 3)


def read_channel(path, channel, grid, conditional=False):
    return read_with_calibration(path, channel, grid, Reading(conditional))[0]


def raw(c, count=100):
    factor = round(2000 / c.metres)
    return np.full((GRID.height * factor, GRID.width * factor), count, np.uint16)


def write_all(folder, count=100):
    for c in (*BT, *RF):
        write_l1b(folder / l1b_name(c, STAMP), c, raw(c, count), GRID)


def test_names():
    assert l1b_name(channel("vi006"), STAMP) == "gk2a_ami_le1b_vi006_ko005lc_202207010300.nc"
    assert l1b_name(channel("vi004"), STAMP) == "gk2a_ami_le1b_vi004_ko010lc_202207010300.nc"
    assert l1b_name(channel("ir105"), STAMP) == "gk2a_ami_le1b_ir105_ko020lc_202207010300.nc"


def test_a_scene(tmp_path):
    write_all(tmp_path)
    scene = read_scene(find_scenes(tmp_path)[STAMP], WHEN, GRID)
    assert scene.bt.shape == (10, 10, 12)
    assert scene.rf.shape == (6, 10, 12)
    np.testing.assert_allclose(scene.bt[6], channel("ir105").calibrate(100), rtol=1e-6)
    np.testing.assert_allclose(scene.rf[2], channel("vi006").calibrate(100), rtol=1e-6)
    assert 14 < scene.sza.min() < scene.sza.max() < 40


def test_quality_bits(tmp_path):
    c = channel("ir105")
    data = raw(c)
    data[0, :4] |= np.array([0, 1, 2, 3], np.uint16) << 14
    write_l1b(tmp_path / "a.nc", c, data, GRID)
    assert np.isnan(read_channel(tmp_path / "a.nc", c, GRID)[0, :4]).tolist() == [False, True, True, True]
    taken = read_channel(tmp_path / "a.nc", c, GRID, conditional=True)
    assert np.isnan(taken[0, :4]).tolist() == [False, False, True, True]
    assert taken[0, 1] == taken[0, 0]  # the flag is not part of the count


def test_unused_bits_are_no_count(tmp_path):
    """Bits between the valid ones and the flag are not used: IR105 has 13 valid bits."""
    c = channel("ir105")
    write_l1b(tmp_path / "a.nc", c, raw(c) | np.uint16(1 << 13), GRID)
    np.testing.assert_allclose(read_channel(tmp_path / "a.nc", c, GRID), c.calibrate(100), rtol=1e-6)


def test_block_mean_takes_valid_pixels_only(tmp_path):
    c = channel("vi004")  # 1 km: 2 x 2 to a pixel
    data = raw(c)
    data[:2, :2] = [[100, 200], [300, 400]]
    data[1, 1] |= np.uint16(3 << 14)
    data[2:4, 2:4] |= np.uint16(3 << 14)
    write_l1b(tmp_path / "a.nc", c, data, GRID)
    found = read_channel(tmp_path / "a.nc", c, GRID)
    assert found[0, 0] == pytest.approx(float(c.calibrate(200)), rel=1e-6)
    assert np.isnan(found[1, 1])
    assert np.isfinite(found).sum() == GRID.width * GRID.height - 1


def test_missing_channel_file(tmp_path):
    write_all(tmp_path)
    (tmp_path / l1b_name(channel("wv063"), STAMP)).unlink()
    with pytest.raises(ZooError, match=r"channel wv063 is missing, no gk2a_ami_le1b_wv063_ko020lc_202207010300.nc"):
        read_scene(find_scenes(tmp_path)[STAMP], WHEN, GRID)


def test_what_is_wrong_with_a_file(tmp_path):
    c, path = channel("ir105"), tmp_path / "a.nc"
    write_l1b(path, c, raw(c) | np.uint16(3 << 14), GRID)
    with pytest.raises(ZooError, match=r"every pixel is flagged as bad"):
        read_channel(path, c, GRID)
    write_l1b(path, c, raw(c)[:-1], GRID)
    with pytest.raises(ZooError, match=r"has 9 x 12 pixels, the grid needs 10 x 12"):
        read_channel(path, c, GRID)
    write_l1b(path, c, raw(c), KoGrid(12, 10, left=-60_000.0, top=60_000.0))
    with pytest.raises(ZooError, match=r"upper left corner is at -60000, 60000 m, that of data.grid at -40000"):
        read_channel(path, c, GRID)
    path.write_bytes(b"not a file of this kind")
    with pytest.raises(ZooError, match=r"a.nc: cannot be read as NetCDF4"):
        read_channel(path, c, GRID)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(ZooError, match=r"no variable 'image_pixel_values'"):
        read_channel(path, c, GRID)
    with h5py.File(path, "w") as file:
        file["image_pixel_values"] = np.zeros((10, 12), np.float32)
    with pytest.raises(ZooError, match=r"float32 .10, 12., expected two axes of uint16"):
        read_channel(path, c, GRID)


def test_stacks(tmp_path):
    bt, rf = np.full((10, 10, 12), 280.0), np.full((6, 10, 12), 0.2)
    bt[0, 0, 0] = np.nan
    np.save(tmp_path / f"bt_{STAMP}.npy", bt)
    np.savez(tmp_path / f"rf_{STAMP}.npz", rf=rf)
    np.save(tmp_path / f"sza_{STAMP}.npy", np.full((10, 12), 33.0))
    scene = read_scene(find_scenes(tmp_path)[STAMP], WHEN, GRID)
    assert np.isnan(scene.bt[0, 0, 0])
    assert scene.rf.dtype == np.float32
    assert (scene.sza == 33).all()
    np.save(tmp_path / f"bt_{STAMP}.npy", bt[:9])
    with pytest.raises(ZooError, match=r"expected 10 channels in order: sw038, wv063"):
        read_scene(find_scenes(tmp_path)[STAMP], WHEN, GRID)
    np.savez(tmp_path / f"rf_{STAMP}.npz", x=rf)
    np.save(tmp_path / f"bt_{STAMP}.npy", bt)
    with pytest.raises(ZooError, match=r"has no array 'rf'; it holds x"):
        read_scene(find_scenes(tmp_path)[STAMP], WHEN, GRID)


def test_no_code_from_stacks(tmp_path):
    np.save(tmp_path / "bt.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ZooError, match=r"cannot be read as a .npy array .it holds Python objects"):
        read_scene(ScenePaths(str(tmp_path / "bt.npy"), ""), WHEN, GRID)


def test_folders_without_scenes(tmp_path):
    with pytest.raises(ZooError, match=r"holds no scene"):
        find_scenes(tmp_path)
    np.save(tmp_path / f"bt_{STAMP}.npy", np.zeros(1))
    with pytest.raises(ZooError, match=rf"scene {STAMP} has no rf_{STAMP}.npy"):
        find_scenes(tmp_path)
    with pytest.raises(ZooError, match=r"expected YYYYMMDDHHMM"):
        stamp_time("202213010000")


def state(path, c, **changes):
    """Write the attributes of full-disk files into a level-1B file, as text in arrays or as numbers."""
    stated = {"DN_to_Radiance_Gain": c.gain, "DN_to_Radiance_Offset": c.offset}
    if c.kind == "rf":
        stated["Radiance_to_Albedo_c"] = c.albedo
    else:
        stated |= {f"Teff_to_Tbb_c{i}": value for i, value in enumerate(c.tbb)}
    with h5py.File(path, "a") as file:
        for key, value in (stated | changes).items():
            file.attrs[key] = np.array([np.bytes_(str(value))]) if isinstance(value, int) else value


def test_the_calibration_of_the_files_is_compared_and_used(tmp_path):
    """An offset of 1 K in c0 makes every value 1 K warmer; 1 % of the largest albedo, 1.148, is 0.011."""
    write_all(tmp_path)
    paths = find_scenes(tmp_path)[STAMP]
    plain = read_scene(paths, WHEN, GRID)
    assert (plain.calibration, plain.differs) == ("built-in table, KMA v3.0; the files state none", False)
    for c in (*BT, *RF):
        state(tmp_path / l1b_name(c, STAMP), c)
    assert calibration_in(paths, None) == ("as the files state it, equal to the built-in table", False)
    ir, vi = channel("ir133"), channel("vi004")
    state(tmp_path / l1b_name(ir, STAMP), ir, Teff_to_Tbb_c0=ir.tbb[0] + 1)
    state(tmp_path / l1b_name(vi, STAMP), vi, Radiance_to_Albedo_c=vi.albedo * 1.01)
    scene = read_scene(paths, WHEN, GRID)
    np.testing.assert_allclose(scene.bt[9], plain.bt[9] + 1, rtol=1e-6)
    np.testing.assert_allclose(scene.rf[0], plain.rf[0] * 1.01, rtol=1e-5)
    np.testing.assert_array_equal(scene.bt[:9], plain.bt[:9])
    said = "the built-in table differs: ir133 by up to 1 K, vi004 by up to 0.011 albedo"
    assert (scene.calibration, scene.differs) == (f"as the files state it; {said}", True)
    assert calibration_in(paths, None) == (scene.calibration, True)
    table = read_scene(paths, WHEN, GRID, Reading(calibration="table"))
    np.testing.assert_array_equal(table.bt, plain.bt)
    assert table.calibration.startswith("built-in table, KMA v3.0, as data.calibration says; the files' differs: ir133")


def test_a_calibration_that_cannot_be_is_asked_about(tmp_path):
    c, path = channel("ir105"), tmp_path / "a.nc"
    write_l1b(path, c, raw(c), GRID)
    state(path, c, Teff_to_Tbb_c0=-273)  # degrees C, as text
    with pytest.raises(
        ZooError, match=r"a\.nc: states a calibration up to 273 K off the built-in table; set data\.cal"
    ):
        read_channel(path, c, GRID)
    found, _ = read_with_calibration(path, c, GRID, Reading(calibration="file"))
    np.testing.assert_allclose(found, c.calibrate(100) - 273 - c.tbb[0], rtol=1e-5)
    state(path, c, DN_to_Radiance_Gain=np.bytes_(b"unknown"))
    with pytest.raises(
        ZooError, match=r"its DN_to_Radiance_Gain is .*unknown.*, not a number; set data\.calibration=table"
    ):
        read_channel(path, c, GRID)


def test_what_a_file_says_of_its_counts(tmp_path):
    """Fills are missing whatever their flag; a format without unsigned types holds counts; packed values are none."""
    c, path = channel("ir105"), tmp_path / "a.nc"
    counts = raw(c)
    counts[0, 0] = 77
    write_l1b(path, c, counts, GRID)
    with h5py.File(path, "a") as file:
        file["image_pixel_values"].attrs["_FillValue"] = np.uint16(77)
    assert np.isnan(read_channel(path, c, GRID)[0, :2]).tolist() == [True, False]
    with h5py.File(path, "a") as file:
        del file["image_pixel_values"]
        file["image_pixel_values"] = (counts | np.uint16(0)).view(np.int16)
        file["image_pixel_values"].attrs["_Unsigned"] = "true"
    np.testing.assert_allclose(read_channel(path, c, GRID)[0, 0], c.calibrate(77), rtol=1e-6)
    with h5py.File(path, "a") as file:
        file["image_pixel_values"].attrs["scale_factor"] = 0.1
    with pytest.raises(ZooError, match=r"image_pixel_values is packed .* expected counts as KMA gives them"):
        read_channel(path, c, GRID)
