"""Granules and tables to filtered shots, and shots to label rasters: hand-worked numbers and bad input."""

import csv
import datetime
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.run.workers import open_workers
from eozoo_gedi_sparse.prepare.extract import extract
from eozoo_gedi_sparse.prepare.filters import Removed, add_tables
from eozoo_gedi_sparse.prepare.granules import read_granule
from eozoo_gedi_sparse.prepare.labels import aggregate, make_labels
from eozoo_gedi_sparse.prepare.settings import LabelsSettings, ShotsSettings
from eozoo_gedi_sparse.prepare.shots import load
from eozoo_gedi_sparse.prepare.synthetic_granule import make_beam, write_granule
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from rasterio.warp import transform

CRS = "EPSG:32647"


def beam(n=10, value=50.0, lon=99.0, lat=18.0):
    """n good shots about 60 m apart to the north."""
    return make_beam(np.full(n, lon), lat + np.arange(n) * 60 / 111_000, np.full(n, value))


def settings(source, dest, **filters):
    return ShotsSettings(source=source, dest=dest, filters=filters)


def table(dest):
    with (dest / "filters.csv").open() as file:
        return {
            row["filter"]: (int(row["before"]), int(row["removed"]), int(row["left"])) for row in csv.DictReader(file)
        }


@pytest.mark.parametrize("product", ["GEDI_L4A", "GEDI_L2A"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ending", ["h5", "zip"])
def test_both_products_versions_and_endings_are_read_with_all_beams(tmp_path, product, version, ending):
    beams = {"BEAM0000": beam(3, 20.0), "BEAM1011": beam(2, -9999.0)}
    shots = read_granule(write_granule(tmp_path / f"g.{ending}", beams, product, version))
    assert len(shots) == 5
    assert (shots.quantity, shots.unit) == (("agbd", "Mg/ha") if product == "GEDI_L4A" else ("rh95", "m"))
    np.testing.assert_allclose(shots.value, [20, 20, 20, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(shots.columns["power"], [0, 0, 0, 1, 1])
    np.testing.assert_allclose(shots.columns["days"][0], 17532 + 400)
    assert shots.lat[0] == 18.0
    assert shots.lon[0] == 99.0


def test_another_height_is_read_by_name(tmp_path):
    file = write_granule(tmp_path / "g.h5", {"BEAM0000": beam(2, 20.0)}, "GEDI_L2A")
    expected = 20.0 * (-0.05 + 1.1 * 0.5) / (-0.05 + 1.1 * 0.95)
    np.testing.assert_allclose(read_granule(file, "rh50").value, expected, rtol=1e-5)


def test_the_table_counts_what_each_filter_removed_in_order(tmp_path):
    b = beam(10)
    quality = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1.0])
    degrade = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 0.0])  # 80 in the real products: anything but 0 is degraded
    error = np.array([30, 3, 3, 30, 25, 24.9, 3, 3, 3, -9999.0])  # limit 25: half of 50
    sun = np.array([-1.0] * 6 + [1.0] * 4)
    sensitivity = np.array([0.97] * 4 + [0.9, 0.97] + [0.97] * 4)
    b = replace(b, quality=quality, degrade=degrade, error=error, sun=sun, sensitivity=sensitivity)
    source = write_granule(
        tmp_path / "g.h5", {"BEAM0101": b, "BEAM0001": replace(beam(1), value=np.array([-9999.0]))}, "GEDI_L4A"
    )
    files = extract(settings(source, tmp_path / "out", min_sensitivity=0.95, night=True, power_beams=True))
    assert files == [tmp_path / "out" / "g.npz", tmp_path / "out" / "filters.csv"]
    assert table(tmp_path / "out") == {
        "has a value and a place": (11, 1, 10),
        "quality flag = 1": (10, 2, 8),
        "degrade flag = 0": (8, 1, 7),
        "relative standard error < 50 %": (7, 3, 4),  # 30 and 25 are not below 25, and one error is missing
        "sensitivity >= 0.95": (4, 0, 4),
        "full-power beam": (4, 0, 4),
        "night": (4, 3, 1),
    }
    shots, facts = load(files[0])
    np.testing.assert_allclose(shots.lat, b.lat[5])
    assert next(row["alone"] for row in facts["filters"] if row["name"] == "sensitivity >= 0.95") == 1


def test_dates_bounds_and_a_floor_for_heights(tmp_path):
    source = tmp_path / "in"
    for day, value in ((0, 2.9), (31, 3.0)):  # 2018-01-01 and 2018-02-01
        write_granule(source / f"g{day}.h5", {"BEAM0000": beam(4, value)}, "GEDI_L2A", day=day)
    some = ShotsSettings(source=source, dest=tmp_path / "a", zero_below=3.0, bounds=(98.0, 18.0005, 100.0, 19.0))
    extract(some)
    values = [load(tmp_path / "a" / f"g{day}.npz")[0].value for day in (0, 31)]
    np.testing.assert_allclose(values, [[0, 0, 0], [3, 3, 3]], rtol=1e-6)  # one of four lies south of the bounds
    filters = {"after": datetime.date(2018, 2, 1), "before": datetime.date(2018, 2, 2)}
    extract(settings(source, tmp_path / "b", **filters))
    assert [len(load(tmp_path / "b" / f"g{day}.npz")[0]) for day in (0, 31)] == [0, 4]


def raster(path, values, nodata=None, crs=CRS, origin=(500_000.0, 2_000_000.0), pixel=30.0):
    values = np.atleast_3d(np.asarray(values)).reshape(-1, *np.shape(values)[-2:])
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"dtype": values.dtype, "crs": crs, "transform": from_origin(*origin, pixel, pixel), "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def at(col, row, origin=(500_000.0, 2_000_000.0), pixel=30.0):
    """Degrees of positions given in columns and rows of the raster above."""
    x, y = origin[0] + np.asarray(col) * pixel, origin[1] - np.asarray(row) * pixel
    return tuple(np.asarray(a) for a in transform(CRS, "EPSG:4326", np.atleast_1d(x), np.atleast_1d(y)))


def test_a_filter_without_its_raster_is_said_to_be_left_out(tmp_path, capsys):
    source = write_granule(tmp_path / "g.h5", {"BEAM0000": beam()}, "GEDI_L4A")
    extract(settings(source, tmp_path / "out", max_slope=None))
    printed = capsys.readouterr().out
    assert "not applied: the filter by worldcover (prepare.shots.rasters.worldcover is not set)" in printed
    assert "slope" not in printed


def test_rasters_filter_by_the_pixel_that_holds_the_shot(tmp_path, capsys):
    classes = np.full((600, 3), 10, np.uint8)
    classes[0, 0], classes[599, 2], classes[1, 1] = 50, 80, 0
    cover = raster(tmp_path / "worldcover.tif", classes, nodata=0)
    slope = raster(tmp_path / "slope.tif", np.tile(np.float32([5, 29.9, 30]), (600, 1)))
    # rows and columns of five shots: urban, nodata, water, steep, good; and one outside the rasters
    col, row = [0.5, 1.5, 2.5, 2.2, 1.01, 3.5], [0.5, 1.5, 599.9, 0.5, 2.99, 0.5]
    source = write_granule(tmp_path / "g.h5", {"BEAM0000": make_beam(*at(col, row), np.full(6, 9.0))}, "GEDI_L2A")
    some = ShotsSettings(source=source, dest=tmp_path / "out", rasters={"slope": slope, "worldcover": cover})
    extract(some)
    assert "not applied" not in capsys.readouterr().out
    found = table(tmp_path / "out")
    assert found["slope < 30 degrees"] == (6, 3, 3)
    assert found["WorldCover not 50, 60, 70, 80, 90, 100"] == (3, 2, 1)
    np.testing.assert_allclose(load(tmp_path / "out" / "g.npz")[0].lon, at(1.01, 2.99)[0])


def test_a_second_call_reads_only_what_changed_and_processes_agree(tmp_path, monkeypatch):
    import eozoo_gedi_sparse.prepare.extract as module

    source = tmp_path / "in"
    for i in range(3):
        write_granule(source / f"g{i}.h5", {"BEAM0000": beam(4 + i)}, "GEDI_L4A")
    some = settings(source, tmp_path / "out")
    extract(some)
    first, log = (tmp_path / "out" / "filters.csv").read_text(), []
    reader = module.read_granule
    monkeypatch.setattr(module, "read_granule", lambda *a: log.append(a[0].name) or reader(*a))
    extract(some)
    assert log == []
    assert (tmp_path / "out" / "filters.csv").read_text() == first
    (tmp_path / "out" / "g1.npz").write_bytes(b"cut off")
    write_granule(source / "g2.h5", {"BEAM0000": beam(9)}, "GEDI_L4A")
    extract(some)
    assert log == ["g1.h5", "g2.h5"]
    extract(settings(source, tmp_path / "out", night=True))
    assert log == ["g1.h5", "g2.h5", "g0.h5", "g1.h5", "g2.h5"]
    with open_workers(2) as pool:
        extract(ShotsSettings(source=source, dest=tmp_path / "two"), pool=pool)
    assert (tmp_path / "two" / "filters.csv").read_text() == first.replace("15", "18")


def test_tables_of_shots_are_read_by_the_products_names(tmp_path):
    file = tmp_path / "shots.csv"
    rows = ["99.0,18.0,40,3,1,0,a", "99.1,18.1,-9999,3,1,0,b", "99.2,18.2,44,,1,0,c", "99.3,18.3,8,3,0,0,d"]
    file.write_text("\n".join(["lon_lowestmode,lat_lowestmode,agbd,agbd_se,l4_quality_flag,degrade_flag,note", *rows]))
    extract(settings(file, tmp_path / "out"))
    shots, _ = load(tmp_path / "out" / "shots.npz")
    np.testing.assert_array_equal(shots.value, [40])
    assert table(tmp_path / "out")["relative standard error < 50 %"] == (2, 1, 1)


def test_geoparquet_points_are_read(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    points = [bytes([1]) + np.uint32(1).tobytes() + np.array([99.0 + i, 18.0]).tobytes() for i in range(2)]
    parquet.write_table(pa.table({"geometry": points, "rh95": [12.5, None]}), tmp_path / "s.parquet")
    extract(settings(tmp_path / "s.parquet", tmp_path / "out", quality=False, degrade=False))
    shots, _ = load(tmp_path / "out" / "s.npz")
    assert (shots.lon.tolist(), shots.value.tolist(), shots.unit) == ([99.0], [12.5], "m")


def test_labels_are_means_in_the_pixel_that_holds_the_centre(tmp_path):
    # pixel 50 m: two shots in pixel (0, 0), one on the border line x = 50 (right pixel), one in the last pixel
    lon, lat = at([0.2, 1.2, 50 / 30, 399.9 / 30, -0.1], [0.1, 1.2, 0.5, 299.9 / 30, 0.5])
    source = write_granule(
        tmp_path / "g.h5", {"BEAM0000": make_beam(lon, lat, np.float64([10, 20, 7, 5, 99]))}, "GEDI_L2A"
    )
    extract(settings(source, tmp_path / "shots"))
    grid = {"crs": CRS, "bounds": (500_000.0, 1_999_700.0, 500_400.0, 2_000_000.0), "pixel": 50.0}
    (file,) = make_labels(LabelsSettings(source=tmp_path / "shots", dest=tmp_path / "label.tif", grid=grid))
    with rasterio.open(file) as out:
        assert (out.shape, out.crs, out.units) == ((6, 8), rasterio.CRS.from_string(CRS), ("m", "1"))
        mean, count = out.read()
        assert out.tags()["QUANTITY"] == "rh95"
    expected = np.full((6, 8), np.nan)
    expected[0, 0], expected[0, 1], expected[5, 7] = 15, 7, 5
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    np.testing.assert_array_equal(count, np.where(np.isnan(expected), 0, 1) + (np.nan_to_num(expected) == 15))


def test_fine_cells_are_averaged_before_the_pixel():
    # pixel 0 of a 2-fold finer grid: cell (0, 0) holds 10 and 20, cell (1, 1) holds 40 -> (15 + 40) / 2, 3 shots
    row, col = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 5])
    pixels, mean, count = aggregate(row, col, np.array([10.0, 20.0, 40.0, 8.0]), width=3, fine=2)
    assert (pixels.tolist(), mean.tolist(), count.tolist()) == ([0, 5], [27.5, 8.0], [3, 1])


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4), st.floats(-50, 50)), min_size=1, max_size=40))
def test_aggregation_keeps_every_shot_and_its_sum(shots):
    row, col, value = (np.array(column) for column in zip(*shots))
    pixels, mean, count = aggregate(row, col, value, width=5)
    assert count.sum() == len(shots)
    np.testing.assert_allclose((mean * count).sum(), value.sum(), atol=1e-9)
    assert set(pixels.tolist()) == {r * 5 + c for r, c, _ in shots}


def test_tables_of_files_add_up():
    a = [Removed("first", 10, 2, 2), Removed("second", 8, 1, 4)]
    b = [Removed("first", 5, 5, 5), Removed("second", 0, 0, 3)]
    assert add_tables([a, b]) == [Removed("first", 15, 7, 7), Removed("second", 8, 1, 7)]


def _no_beams(path):
    with h5py.File(path, "w") as file:
        file["ANCILLARY/x"] = [1]


def _without(name):
    def write(path):
        write_granule(path, {"BEAM0000": beam()}, "GEDI_L4A")
        with h5py.File(path, "a") as file:
            del file[f"BEAM0000/{name}"]

    return write


def _of(product, version):
    return lambda path: write_granule(path, {"BEAM0000": beam()}, product, version)


def _short(path):
    write_granule(path, {"BEAM0000": beam()}, "GEDI_L4A")
    with h5py.File(path, "a") as file:
        del file["BEAM0000/agbd"]
        file["BEAM0000/agbd"] = np.ones(3)


def _link(path):
    with h5py.File(path, "w") as file:
        file["BEAM0000"] = h5py.ExternalLink("/elsewhere/other.h5", "BEAM0000")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_link, "/BEAM0000 is a link into /elsewhere/other.h5; give that file itself"),
        (_no_beams, "no BEAM groups"),
        (_without("agbd"), "no variable 'agbd'"),
        (_without("lat_lowestmode"), "no variable 'lat_lowestmode'"),
        (_without("l4_quality_flag"), r"has no quality; set prepare.shots.filters.quality=false"),
        (_without("agbd_se"), r"filters.max_relative_error=null"),
        (_of("GEDI_L2B", 2), "is GEDI_L2B"),
        (_of("GEDI_L4A", 3), "is version 03"),
        (_short, "different lengths"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n cut"), "cannot be read as HDF5"),
    ],
)
def test_bad_granules_are_one_line_with_the_file(tmp_path, write, message):
    file = tmp_path / "bad.h5"
    write(file)
    with pytest.raises(ZooError, match=message) as caught:
        extract(settings(file, tmp_path / "out"))
    assert "bad.h5" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*.npz"))


def test_an_unreadable_file_in_the_middle_is_skipped_only_when_asked(tmp_path):
    for i in (0, 2):
        write_granule(tmp_path / "in" / f"g{i}.h5", {"BEAM0000": beam()}, "GEDI_L4A")
    with zipfile.ZipFile(tmp_path / "in" / "g1.zip", "w") as archive:
        archive.writestr("readme.txt", "no granule")
    with pytest.raises(ZooError, match=r"g1\.zip: holds 0 HDF5"):
        extract(settings(tmp_path / "in", tmp_path / "out"))
    files = extract(ShotsSettings(source=tmp_path / "in", dest=tmp_path / "out", on_unreadable="skip"))
    assert [f.name for f in files] == ["g0.npz", "g2.npz", "filters.csv", "skipped.txt"]


def test_no_shot_left_names_the_filter(tmp_path):
    bad = replace(beam(5), degrade=np.full(5, 80.0))
    source = write_granule(tmp_path / "g.h5", {"BEAM0000": bad}, "GEDI_L4A")
    with pytest.raises(ZooError, match="0 of 5 shots left; 'degrade flag = 0' removed 5"):
        extract(settings(source, tmp_path / "out"))


def test_shots_of_an_earlier_source_do_not_slip_in(tmp_path):
    for i in range(2):
        source = write_granule(tmp_path / f"g{i}.h5", {"BEAM0000": beam()}, "GEDI_L4A")
        if i == 0:
            extract(settings(source, tmp_path / "out"))
    with pytest.raises(ZooError, match=r"g0\.npz: is not of prepare\.shots\.source"):
        extract(settings(source, tmp_path / "out"))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"crs": "EPSG:4326", "bounds": (98.0, 17.0, 100.0, 19.0)}, "in degree, not in metres"),
        ({"crs": "EPSG:2263", "bounds": (0.0, 0.0, 1000.0, 1000.0)}, "US survey foot, not in metres"),
        ({"crs": CRS, "bounds": (0.0, 0.0, 1000.0, 1000.0)}, "none of 10 shots"),
        ({"crs": CRS}, "set prepare.labels.grid.like"),
        ({"crs": "EPSG:nonsense", "bounds": (0.0, 0.0, 1000.0, 1000.0)}, "no known CRS"),
        ({"crs": CRS, "bounds": (1000.0, 0.0, 0.0, 1000.0)}, "hold no pixel"),
    ],
)
def test_bad_grids_are_one_line(tmp_path, grid, message):
    extract(settings(write_granule(tmp_path / "g.h5", {"BEAM0000": beam()}, "GEDI_L4A"), tmp_path / "shots"))
    with pytest.raises(ZooError, match=message):
        make_labels(LabelsSettings(source=tmp_path / "shots", dest=tmp_path / "label.tif", grid=grid))
    assert not (tmp_path / "label.tif").exists()


def test_a_variable_without_an_axis_costs_its_beam(tmp_path):
    beams = {
        name: make_beam(np.linspace(-58, -57, 5), np.linspace(-5, -4, 5), np.full(5, 90.0))
        for name in ("BEAM0101", "BEAM0110")
    }
    path = write_granule(tmp_path / "GEDI04_A_x.h5", beams, "GEDI_L4A")
    with h5py.File(path, "a") as file:
        del file["BEAM0101/sensitivity"]
        file["BEAM0101/sensitivity"] = 0.9
    found = read_granule(path)
    assert len(found) == 5
    assert any("BEAM0101 is left out: it has variables that are no lists of shots" in note for note in found.notes)
