"""Tables and points of shots as people have them, shots listed twice, beams that lack something, boxes and rasters."""

import json
import sqlite3
import struct

import h5py
import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_gedi_sparse.prepare.extract import extract
from eozoo_gedi_sparse.prepare.filters import within
from eozoo_gedi_sparse.prepare.granules import read_granule
from eozoo_gedi_sparse.prepare.grids import to_pixels
from eozoo_gedi_sparse.prepare.labels import make_labels
from eozoo_gedi_sparse.prepare.settings import LabelsSettings, ShotsSettings
from eozoo_gedi_sparse.prepare.shot_tables import read_table
from eozoo_gedi_sparse.prepare.shots import Shots, load, once
from eozoo_gedi_sparse.prepare.synthetic_granule import make_beam, write_granule
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.warp import transform

NAN = np.nan
OFF = {"quality": False, "degrade": False, "max_relative_error": None, "max_slope": None, "worldcover_excluded": ()}
HEAD = ("shot_number", "lat_lowestmode", "lon_lowestmode", "agbd", "l4_quality_flag", "beam", "delta_time")
# Two shots on 2019-11-26 of beams 5 (full power) and 1 (coverage); the third has no value, the fourth no place.
ROWS = (
    (65150002003000001, -5.07, -58.03, 120.5, 1, 5, 60_000_000.5),
    (65150002003000002, -5.08, -58.03, 1.25, 0, 1, 60_000_000.6),
    (65150002003000003, -5.09, -58.03, None, 0, 1, 60_000_000.7),
    (65150002003000004, None, None, 80.0, None, 5, None),
)
EXPECTED = {
    "lat": [-5.07, -5.08, -5.09, NAN],
    "lon": [-58.03, -58.03, -58.03, NAN],
    "value": [120.5, 1.25, NAN, 80],
    "quality": [1, 0, 0, NAN],
    "power": [1, 0, 0, 1],
    "days": [*(17532 + np.array([60_000_000.5, 60_000_000.6, 60_000_000.7]) / 86400), NAN],
    "ids": [row[0] for row in ROWS],
}


def require(shots):
    for name, expected in EXPECTED.items():
        found = shots.columns[name] if name in shots.columns else getattr(shots, name)
        np.testing.assert_allclose(found, np.array(expected, np.asarray(found).dtype), rtol=1e-9, atol=0, err_msg=name)
    assert (shots.quantity, shots.unit) == ("agbd", "Mg/ha")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_tables_of_every_dialect_hold_the_same_shots(tmp_path_factory, data):
    draw = lambda *options: data.draw(st.sampled_from(options))  # noqa: E731
    delimiter = draw(",", ";", "\t")
    comma = delimiter != "," and draw(True, False)
    blank = draw("", "NA", "NaN", "null", "-9999", " ", "N/A", "None")
    words = draw(("1", "0"), ("TRUE", "FALSE"), ("yes", "no"), ("T", "F"), ("1.0", "0.0"))
    beams = draw({5: "BEAM0101", 1: "BEAM0001"}, {5: "5", 1: "1"}, {5: "0101", 1: "0001"}, {5: "5.0", 1: "1.0"})
    names = draw(
        HEAD, [n.upper() for n in HEAD], ["shot_number", "Latitude", "Longitude", "AGBD", "quality", *HEAD[5:]]
    )

    def cell(name, value):
        if value is None:
            return blank
        if name in ("l4_quality_flag", "beam"):
            return (words[0] if value else words[1]) if name != "beam" else beams[value]
        text = repr(value)
        return text.replace(".", ",") if comma else text

    lines = [list(names)] + [[cell(n, v) for n, v in zip(HEAD, row)] for row in ROWS]
    if draw(True, False):  # R numbers its rows, and puts text between quotes
        lines = [["" if i == 0 else str(i), *(f'"{c}"' if i == 0 else c for c in line)] for i, line in enumerate(lines)]
    text = draw("\n", "\r\n").join(delimiter.join(line) for line in lines) + draw("", "\n", "\r\n\r\n")
    file = tmp_path_factory.mktemp("t") / f"t.{draw('csv', 'tsv')}"
    file.write_bytes(text.encode(draw("utf-8", "utf-8-sig", "utf-16")))
    require(read_table(file))


def geopackage(path, rows=ROWS, crs=4326, wkt="", envelope=0, kind=1, layers=1):
    """What GDAL writes, in small: geometry is "GP", version, flags, CRS, an envelope, and a point as WKB."""
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization, organization_coordsys_id, definition)")
    base.execute("CREATE TABLE gpkg_contents (table_name, data_type)")
    base.execute("CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id)")
    base.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?)", (crs, "none" if wkt else "EPSG", crs, wkt))
    for number in range(layers):
        table = f"my shots {number}"
        base.execute("INSERT INTO gpkg_contents VALUES (?, 'features')", (table,))
        base.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?)", (table, crs))
        kept = [h for h in HEAD if not h.startswith("l") or h == "l4_quality_flag"]
        base.execute(f'CREATE TABLE "{table}" (fid, geom, {", ".join(kept)})')
        for i, row in enumerate(rows):
            of = dict(zip(HEAD, row))
            place = of["lon_lowestmode"], of["lat_lowestmode"]
            blob = None
            if place[0] is not None:
                x, y = (
                    place
                    if crs == 4326
                    else (v[0] for v in transform("EPSG:4326", f"EPSG:{crs}", *([p] for p in place)))
                )
                point = (
                    struct.pack("<BIdd", 1, 1, x, y)
                    if kind == 1
                    else struct.pack("<BIIBIddd", 1, 4, 1, 1, 1001, x, y, 3.0)
                )
                blob = (
                    b"GP\0" + bytes([1 | envelope << 1]) + struct.pack("<i", crs) + bytes((0, 32, 48)[envelope]) + point
                )
            base.execute(
                f'INSERT INTO "{table}" VALUES (?, ?, {", ".join("?" * len(kept))})', (i, blob, *(of[k] for k in kept))
            )
    base.commit()
    base.close()
    return path


@pytest.mark.parametrize("about", [{}, {"envelope": 1}, {"envelope": 2, "kind": 4}, {"crs": 32620}])
def test_points_of_a_geopackage(tmp_path, about):
    shots = read_table(geopackage(tmp_path / "t.gpkg", **about))
    require(Shots(shots.lon.round(9), shots.lat.round(9), shots.value, "agbd", "Mg/ha", shots.columns, shots.ids))
    assert shots.notes[0].startswith("4 rows, layer my shots 0: geometry -> lon and lat, agbd -> value (Mg/ha)")
    assert shots.notes[1] == "not used: fid"


@pytest.mark.parametrize("crs", [None, "urn:ogc:def:crs:EPSG::32620"])
def test_points_of_geojson(tmp_path, crs):
    features = []
    for row in ROWS:
        of = dict(zip(HEAD, row))
        place = [of.pop("lon_lowestmode"), of.pop("lat_lowestmode")]
        if crs and place[0] is not None:
            place = [v[0] for v in transform("EPSG:4326", "EPSG:32620", place[:1], place[1:])]
        geometry = {"type": "Point", "coordinates": [*place, 40.0]} if place[0] is not None else None
        features.append({"type": "Feature", "properties": of, "geometry": geometry})
    content = {"type": "FeatureCollection", "features": features}
    (tmp_path / "t.geojson").write_text(json.dumps(content | ({"crs": {"properties": {"name": crs}}} if crs else {})))
    shots = read_table(tmp_path / "t.geojson")
    require(Shots(shots.lon.round(9), shots.lat.round(9), shots.value, "agbd", "Mg/ha", shots.columns, shots.ids))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lon,lat,agbd\n1,2,abc\n", r"column 'agbd', row 1: 'abc' is not a number"),
        ("lon,lat,agbd\n1,2,TRUE\n", r"column 'agbd', row 1: 'TRUE' is not a number"),  # only flags are words
        ("lon,lat,agbd\n1,2\n", r"row 2 has 2 fields, the header 3"),
        ("lon,lat,height\n1,2,3\n", r"has no column agbd or rh95; set prepare.shots.quantity"),
        ("a,b,agbd\n1,2,3\n", r"has no columns lon and lat \(degrees\), nor a geometry of points; it has a, b, agbd"),
        ("lon,lat,agbd\n500000,2000000,3\n", r"lon and lat must be degrees, found 2e\+06"),
        ("lat,lon,agbd\n98.8,18.8,3\n", r"lon and lat must be degrees, found 98.8; are they swapped\? rename"),
        ("lon,lat,agbd,agbd\n1,2,3,4\n", r"two columns are called 'agbd'"),
        ("lon,lat,agbd\n", r"holds no shots; give a table with rows"),
        ("", r"is empty; give a table with a line of names"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ZooError, match=rf"t\.csv: {message}") as caught:
        read_table(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [({"layers": 2}, r"has 2 layers \(my shots 0, my shots 1\), expected one"), ({"wkt": "nonsense"}, "is unknown")],
)
def test_bad_geopackages_are_one_line(tmp_path, about, message):
    with pytest.raises(ZooError, match=message):
        read_table(geopackage(tmp_path / "t.gpkg", **about))
    (tmp_path / "u.gpkg").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(ZooError, match=r"u\.gpkg: cannot be read as a GeoPackage"):
        read_table(tmp_path / "u.gpkg")


@pytest.mark.parametrize(
    ("cell", "kind", "day"),
    [
        ("2020-02-05", "date", 18297), ("2020-02-05T12:00:00Z", "time", 18297.5), ("20200205", "date", 18297),
        ("2020-02-05 06:00:00 UTC", "datetime", 18297.25), ("18297.5", "days", 18297.5),
        ("66268800", "delta_time", 18299.0), ("13:45:00", "time", None), ("7", "time", None),
        ("05/02/2020", "date", None), ("5.2.2020 06:00", "date", 18297.25),
    ],
)  # fmt: skip
def test_dates_in_any_form(tmp_path, cell, kind, day):
    """2020-02-05 is 18,297 days after 1970; what is no date is left out, and said."""
    (tmp_path / "t.csv").write_text(f"lon,lat,rh95,{kind}\n1,2,3,{cell}\n")
    shots = read_table(tmp_path / "t.csv")
    if day is None:
        assert shots.notes[-1] == f"column '{kind}', row 1: '{cell}' is not YYYY-MM-DD, so no days"
        late = ShotsSettings(source=tmp_path / "t.csv", dest=tmp_path / "o", filters={**OFF, "after": "2020-01-01"})
        with pytest.raises(ZooError, match=r"has no days \(column .* is not YYYY-MM-DD, so no days\); set prepare"):
            extract(late)
    assert shots.columns.get("days", np.array([None])).tolist() == [day]


def test_a_shot_listed_twice_counts_once(tmp_path, capsys):
    rows = ["11,99.0,18.0,40", "12,99.1,18.1,41", "11,99.0,18.0,40", "12,99.1,18.1,43", "13,99.2,18.2,NA"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("\n".join(["shot_number,lon,lat,agbd", *rows]))
    (tmp_path / "in" / "b.csv").write_text("shot_number,lon,lat,agbd\n12,99.1,18.1,41\n14,99.3,18.3,50\n")
    extract(ShotsSettings(source=tmp_path / "in", dest=tmp_path / "out", filters=OFF))
    said = "".join(capsys.readouterr())
    assert "a.csv: 2 shots listed again, 1 of them with another value: the first one counts" in said
    assert "listed once                   6        2     4              2" in said
    assert "1 shot in several files: step labels counts each once" in said
    grid = {"crs": "EPSG:32647", "bounds": (400_000.0, 1_900_000.0, 600_000.0, 2_100_000.0), "pixel": 1000.0}
    (file,) = make_labels(LabelsSettings(source=tmp_path / "out", dest=tmp_path / "l.tif", grid=grid))
    assert "1 shot in several files of" in "".join(capsys.readouterr())
    with rasterio.open(file) as labels:
        mean, number = labels.read()
    assert number.sum() == 3
    assert sorted(mean[number > 0].tolist()) == [40, 41, 50]


def test_numbers_that_were_rounded_do_not_make_shots_one(tmp_path):
    """As R writes them: 17 digits do not fit a double."""
    rows = ["6.5150002003e+16,99.0,18.0,40", "6.5150002003e+16,99.1,18.1,41", "6.5150002003e+16,99.1,18.1,41"]
    (tmp_path / "t.csv").write_text("\n".join(["shot_number,lon,lat,agbd", *rows]))
    shots = read_table(tmp_path / "t.csv")
    assert once(shots)[0].tolist() == [True, True, False]
    assert "column 'shot_number' does not tell shots apart (row 1: '6.5150002003e+16' is rounded" in shots.notes[-1]
    (tmp_path / "u.csv").write_text("shot_number,lon,lat,agbd\n7,99.0,18.0,40\n7,99.1,18.1,41\n")
    shots = read_table(tmp_path / "u.csv")
    assert once(shots)[0].tolist() == [True, True]
    assert "7 lies in several places" in shots.notes[-1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_place_time_and_value_tell_shots_apart(which):
    lon, lat, day, value = np.array(
        [(99, 18, 5, 1), (99.0001, 18, 5, 1), (99, 18.0001, 5, 1), (99, 18, 5.001, 1), (99, 18, NAN, 1), (99, 18, 5, 2)]
    ).T
    jitter = np.resize([0, 1e-9, -1e-9], len(which))
    columns = {"days": day[which]}
    shots = Shots(lon[which] + jitter, lat[which], np.float32(value[which]), "rh95", "m", columns).with_ids()
    assert once(shots)[0].sum() == len(set(which))


def beam(n=3):
    return make_beam(np.full(n, 99.0), 18 + np.arange(n) * 1e-3, np.full(n, 50.0))


def _empty(file):
    file.create_group("BEAM0000")


def _no_value(file):
    del file["BEAM0000/agbd"]


def _no_shots(file):
    for name in list(file["BEAM0000"]):
        if isinstance(file["BEAM0000"][name], h5py.Dataset):
            del file["BEAM0000"][name]
            file["BEAM0000"][name] = np.empty(0)


def _short(file):
    del file["BEAM0000/agbd"]
    file["BEAM0000/agbd"] = np.ones(2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_empty, "it has no variables"),
        (_no_value, "it has no variable 'agbd'"),
        (_no_shots, "it has variables of different lengths [0, 3]"),
        (_short, "it has variables of different lengths [2, 3]"),
    ],
)
def test_a_beam_that_cannot_be_read_costs_itself(tmp_path, capsys, change, reason):
    """C07, and its kind."""
    beams = {"BEAM0101": beam(), "BEAM1011": beam()} | ({} if change is _empty else {"BEAM0000": beam()})
    file = write_granule(tmp_path / "g.h5", beams, "GEDI_L4A")
    with h5py.File(file, "a") as open_file:
        change(open_file)
    extract(ShotsSettings(source=file, dest=tmp_path / "out"))
    assert f"g.h5: BEAM0000 is left out: {reason}" in "".join(capsys.readouterr())
    assert len(load(tmp_path / "out" / "g.npz")[0]) == 6
    with h5py.File(file, "a") as open_file:
        for name in ("BEAM0101", "BEAM1011"):
            del open_file[name]
    with pytest.raises(ZooError, match=r"g\.h5: no beam can be read: BEAM0000 has") as caught:
        read_granule(file)
    assert "\n" not in str(caught.value)


def test_a_beam_without_a_filters_variable_costs_its_own_shots(tmp_path, capsys):
    file = write_granule(tmp_path / "g.h5", {"BEAM0000": beam(), "BEAM0101": beam()}, "GEDI_L4A")
    with h5py.File(file, "a") as open_file:
        del open_file["BEAM0000/l4_quality_flag"]
    extract(ShotsSettings(source=file, dest=tmp_path / "out"))
    assert "g.h5: BEAM0000: no variable 'l4_quality_flag', so no quality of these shots is known" in "".join(
        capsys.readouterr()
    )
    assert len(load(tmp_path / "out" / "g.npz")[0]) == 3


def test_packing_and_numbers_of_a_granule_are_read(tmp_path):
    file = write_granule(tmp_path / "g.h5", {"BEAM0101": beam()}, "GEDI_L4A")
    with h5py.File(file, "a") as open_file:
        group = open_file["BEAM0101"]
        del group["agbd"]
        group["agbd"] = np.int16([-1, 500, 700])
        group["agbd"].attrs.update({"scale_factor": 0.1, "_FillValue": np.int16(-1)})
        group["shot_number"] = np.array([2**60 + 1, 2**60 + 2, 2**60 + 3], np.uint64)
    shots = read_granule(file)
    np.testing.assert_allclose(shots.value, [NAN, 50, 70], rtol=1e-6)
    assert shots.ids.tolist() == [2**60 + 1, 2**60 + 2, 2**60 + 3]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("GEDI04_A_1.h5", "GEDI02_A_2.h5"), "GEDI02_A_2.h5 is GEDI_L2A, GEDI04_A_1.h5 is GEDI_L4A"),
        (("a.h5", "b.h5"), "a.h5 is agbd, b.h5 is rh95"),
    ],
)
def test_two_products_in_one_folder_are_refused_at_once(tmp_path, names, told):
    for name, product in zip(names, ("GEDI_L4A", "GEDI_L2A")):
        write_granule(tmp_path / "in" / name, {"BEAM0101": beam()}, product)
    with pytest.raises(ZooError, match=f"in: {told}; labels are of one kind: put the others into a folder") as caught:
        extract(ShotsSettings(source=tmp_path / "in", dest=tmp_path / "out"))
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(-180, 180), st.integers(1, 360), st.integers(-180, 180))
def test_boxes_across_the_date_line(west, width, lon):
    """C11: an integer place lies inside when it comes after west and before east, going eastwards."""
    east = west + width if west + width <= 180 else west + width - 360
    if east == west:
        return
    inside = any(west <= lon + turn <= west + width for turn in (-360, 0, 360))
    places = np.array([lon, lon, lon, NAN], float)
    found = within((west, -18, east, -15), places, np.array([-16.0, -18.0, -15.0 + 1e-6, -16.0]))
    assert found.tolist() == [inside, inside, False, False]
    assert within((west, -18, east, -15), np.array([lon + 360.0]), np.array([-16.0]))[0] == inside


def test_shots_beyond_the_date_line_land_in_their_pixels(tmp_path):
    """C11 up to labels, on a UTM map that reaches across 180, and on rasters in degrees of both kinds."""
    (tmp_path / "am.csv").write_text("lon,lat,rh95,quality,degrade\n179.95,-16.5,12,1,0\n-179.95,-16.5,15,1,0\n")
    extract(ShotsSettings(source=tmp_path / "am.csv", dest=tmp_path / "s", bounds=(179, -18, -179, -15)))
    grid = {"crs": "EPSG:32760", "bounds": (800_000.0, 8_100_000.0, 840_000.0, 8_200_000.0), "pixel": 50.0}
    (file,) = make_labels(LabelsSettings(source=tmp_path / "s", dest=tmp_path / "l.tif", grid=grid))
    with rasterio.open(file) as labels:
        mean = labels.read(1)
        for lon, value in ((179.95, 12), (-179.95, 15)):
            (x,), (y,) = transform("EPSG:4326", labels.crs, [lon], [-16.5])
            assert mean[labels.index(x, y)] == value
    lon, lat = np.array([179.95, -179.95]), np.array([-16.5, -16.5])
    for west, width, expected in ((179.0, 20, [9, 10]), (-180.0, 3600, [3599, 0]), (0.0, 3600, [1799, 1800])):
        raster = Grid(20, width, rasterio.CRS.from_epsg(4326), Affine(0.1, 0, west, 0, -0.1, -16))
        assert to_pixels(raster, lon, lat, "r")[1].tolist() == expected


def test_a_packed_raster_filters_by_its_physical_values(tmp_path):
    """C04: an NDVI of 0.1, stored as 1000 with the scale 1e-4, does not pass NDVI >= 0.3; 0.3 stored as 3000 does."""
    stored = np.full((1, 2, 10), 1000, np.int16)
    stored[0, 0], stored[0, 1, 0] = 3000, -32768
    place = {"crs": "EPSG:4326", "transform": Affine(0.01, 0, 99, 0, -0.01, 18.02), "nodata": -32768}
    with rasterio.open(
        tmp_path / "n.tif", "w", driver="GTiff", count=1, height=2, width=10, dtype="int16", **place
    ) as out:
        out.write(stored)
        out.scales = (1e-4,)
    (tmp_path / "t.csv").write_text("lon,lat,rh95\n99.005,18.015,7\n99.015,18.005,8\n99.005,18.005,9\n,,10\n")
    filters = {"min_ndvi": 0.3, "quality": False, "degrade": False}
    extract(
        ShotsSettings(
            source=tmp_path / "t.csv", dest=tmp_path / "o", filters=filters, rasters={"ndvi": tmp_path / "n.tif"}
        )
    )
    assert load(tmp_path / "o" / "t.npz")[0].value.tolist() == [7]
