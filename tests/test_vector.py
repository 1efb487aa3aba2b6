"""Polygons and points: every format gives the same, what refers elsewhere is refused, and which pixels they label."""

import json

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.raster import vector
from eozoo_core.raster.burn import Burner, labels_on
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.points import on_plane, transform_points
from eozoo_core.raster.tiles import Window
from eozoo_core.raster.vector import Shapes, read_shapes
from rasterio import Affine
from rasterio.crs import CRS

shapely = pytest.importorskip("shapely")
UTM, NAN = CRS.from_epsg(32631), np.nan
GRID = Grid(6, 8, UTM, Affine(10, 0, 500_000, 0, -10, 5_600_000))
WHOLE = Window(0, 0, 6, 8)


def pixels(west, north, east, south):
    """A rectangle in rows and columns of GRID."""
    return shapely.box(500_000 + 10 * west, 5_600_000 - 10 * south, 500_000 + 10 * east, 5_600_000 - 10 * north)


def point(col, row):
    return shapely.Point(500_000 + 10 * col, 5_600_000 - 10 * row)


def write(path, shapes, **columns):
    import pyogrio

    drivers = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
    values = [np.array(column, object if isinstance(column[0], str) else None) for column in columns.values()]
    kind = shapes[0].geom_type
    pyogrio.raw.write(path, shapely.to_wkb(shapes), values, list(columns), geometry_type=kind, crs="EPSG:32631",
                      driver=drivers[path.suffix])  # fmt: skip
    return path


def write_parquet(path, shapes, crs, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    geo = {"version": "1.0.0", "primary_column": "place", "columns": {"place": {"encoding": "WKB"} | crs}}
    table = pa.table({**columns, "place": pa.array(list(shapely.to_wkb(shapes)), pa.binary())})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def in_degrees(shapes):
    return shapely.transform(shapes, lambda xy: transform_points(UTM, "EPSG:4326", *xy.T).T)


POINTS = [point(1.5, 1.5), point(4.25, 3.5), point(7.5, 5.5)]


@pytest.fixture
def files(tmp_path):
    found = {
        kind: write(tmp_path / f"a.{kind}", POINTS, crop=["b", "a", "b"], t=[1, 2, 3])
        for kind in ("gpkg", "shp", "fgb")
    }
    lon = in_degrees(np.array(POINTS)).tolist()
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(p), "properties": {"crop": c, "t": t}}
                for p, c, t in zip(lon, "bab", (1, 2, 3))]  # fmt: skip
    found["geojson"] = tmp_path / "a.geojson"
    found["geojson"].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    projjson = UTM.to_dict(projjson=True)
    found["parquet"] = write_parquet(
        tmp_path / "a.parquet", POINTS, {"crs": projjson}, crop=["b", "a", "b"], t=[1, 2, 3]
    )
    rows = [f"{p.x!r},{p.y!r},{c},{t}" for p, c, t in zip(lon, "bab", (1, 2, 3))]
    found["csv"] = tmp_path / "a.csv"
    found["csv"].write_text("\n".join(["Longitude,latitude,crop,t [m]", *rows]))
    found["tsv"] = tmp_path / "a.tsv"
    found["tsv"].write_text(
        "\n".join(["wkt\tcrop\tt", *(f"{p.wkt}\t{c}\t{t}" for p, c, t in zip(POINTS, "bab", (1, 2, 3)))])
    )
    return found


@pytest.mark.parametrize("kind", ["gpkg", "shp", "fgb", "geojson", "parquet", "csv", "tsv"])
def test_every_format_gives_the_same_places_and_columns(files, kind):
    found = read_shapes(files[kind], ["crop", "t"], "EPSG:32631" if kind == "tsv" else None)
    rows = zip(*(found.columns[name].tolist() for name in ("t", "crop")))
    assert sorted(rows) == [(1, "b"), (2, "a"), (3, "b")]  # FlatGeobuf orders by place
    assert found.units.get("t", "") == ("m" if kind == "csv" else "")
    labels = labels_on(GRID, found, found.columns["t"], classes=True)
    out = Burner(labels, np.zeros(3, np.uint8)).read(WHOLE, 0)
    assert [(r, c, out[r, c]) for r, c in np.argwhere(np.isfinite(out))] == [(1, 1, 1), (3, 4, 2), (5, 7, 3)]


def test_what_is_not_there_is_named_and_what_refers_elsewhere_is_refused(files, tmp_path, monkeypatch):
    gpkg = files["gpkg"]
    with pytest.raises(ZooError, match=r"a.gpkg: has no column 'corp'. Did you mean 'crop'\? It has: crop, t"):
        read_shapes(gpkg, ["corp"])
    with pytest.raises(ZooError, match="which column holds the label"):
        read_shapes(gpkg, [""])
    with pytest.raises(ZooError, match="no such file"):
        read_shapes(tmp_path / "none.gpkg", ["crop"])
    with pytest.raises(ZooError, match="does not say in which CRS"):
        read_shapes(files["tsv"], ["crop"])
    with pytest.raises(ZooError, match="CRS 'EPSG:99' is not known"):
        read_shapes(files["tsv"], ["crop"], "EPSG:99")
    elsewhere = tmp_path / "vrt.gpkg"
    elsewhere.write_text("<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/etc/passwd</SrcDataSource>"
                         "</OGRVRTLayer></OGRVRTDataSource>")  # fmt: skip
    with pytest.raises(ZooError, match=r"does not begin as a .gpkg file does"):
        read_shapes(elsewhere, ["crop"])
    piped = tmp_path / "piped.geojson"
    piped.write_text('{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read a.gpkg"}')
    with pytest.raises(ZooError, match="no GeoJSON feature collection"):
        read_shapes(piped, ["crop"])
    damaged = tmp_path / "cut.gpkg"
    damaged.write_bytes(gpkg.read_bytes()[:3000])
    with pytest.raises(ZooError, match=r"cut.gpkg: cannot be read as a vector file"):
        read_shapes(damaged, ["crop"])
    lines = write(tmp_path / "lines.gpkg", [shapely.LineString([(0, 0), (1, 1)])], crop=["a"])
    with pytest.raises(ZooError, match="no polygon and no point but LineString"):
        read_shapes(lines, ["crop"])
    unknown = write_parquet(tmp_path / "u.parquet", POINTS, {"crs": None}, crop=["b", "a", "b"])
    with pytest.raises(ZooError, match="does not say in which CRS"):
        read_shapes(unknown, [""])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ZooError, match=r"need the module 'pyogrio': pip install 'eozoo\[vector\]'"):
        read_shapes(gpkg, ["crop"])


def test_several_layers_are_asked_about(tmp_path):
    import pyogrio

    for layer in ("one", "two"):
        pyogrio.raw.write(tmp_path / "l.gpkg", shapely.to_wkb(POINTS), [np.array([1, 2, 3])], ["t"], layer=layer,
                          geometry_type="Point", crs="EPSG:32631", driver="GPKG", append=layer == "two")  # fmt: skip
    with pytest.raises(ZooError, match=r"2 layers; set data.layer to one of: one, two"):
        read_shapes(tmp_path / "l.gpkg", ["t"])
    assert len(read_shapes(tmp_path / "l.gpkg", ["t"], layer="two").geometry) == 3
    with pytest.raises(ZooError, match="no layer 'three'"):
        read_shapes(tmp_path / "l.gpkg", ["t"], layer="three")


def test_rows_without_place_are_told_polygons_are_mended_and_points_of_one_row_are_as_many_labels(tmp_path):
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    many = shapely.MultiPoint([(1, 1), (3, 3)])
    features = [{"geometry": g and shapely.geometry.mapping(g), "properties": {"v": v}} for g, v in
                ((None, 1), (bow, 2), (many, 3))]  # fmt: skip
    path = tmp_path / "x.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = read_shapes(path, [""])
    assert found.columns["v"].tolist() == [2, 3, 3]
    assert shapely.area(found.geometry[0]) == 2  # both wings
    assert found.notes == ("1 polygons that cross themselves were mended", "1 of 3 rows have no geometry")
    assert found.crs == vector.read_shapes(path, ["v"]).crs
    assert found.crs.to_dict() == {"proj": "longlat", "datum": "WGS84", "no_defs": True}


def burned(shapes, values, classes=True, split=None, window=WHOLE, mine=0):
    shapes = Shapes(None, UTM, np.array(shapes), {})
    labels = labels_on(GRID, shapes, np.array(values, float), classes)
    owner = np.zeros(len(labels), np.uint8) if split is None else np.array(split, np.uint8)[labels.row]
    return Burner(labels, owner).read(window, mine), labels


def test_a_polygon_labels_the_pixels_whose_centres_it_holds():
    out, _ = burned([pixels(0.6, 1.4, 3.6, 3.4)], [5])  # centres of columns 1 to 3, rows 1 to 2
    assert np.argwhere(out == 5).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert np.isnan(out).sum() == 48 - 6


def test_where_labels_differ_there_is_none():
    left, right = pixels(0, 0, 4, 2), pixels(2, 0, 6, 2)
    out, _ = burned([left, right], [1, 2])
    assert out[0].tolist()[:2] + out[0].tolist()[4:6] == [1, 1, 2, 2]
    assert np.isnan(out[:2, 2:4]).all()
    same, _ = burned([left, right], [1, 1])
    assert (same[:2, :6] == 1).all()
    # first and last agree, the one between does not: it still counts
    three, _ = burned([left, right, left], [1, 2, 1])
    assert np.isnan(three[:2, 2:4]).all()
    of_two, _ = burned([left, right], [1, 1], split=[0, 1])
    assert np.isnan(of_two[:2, 2:]).all()  # the other's, and what is of both
    assert (of_two[:2, :2] == 1).all()
    values, _ = burned([left, right], [1.5, 2.5], classes=False)
    assert np.isnan(values[:2, 2:4]).all()


def test_what_is_smaller_than_a_pixel_labels_the_one_that_it_lies_in():
    thin = pixels(0.1, 3.6, 7.9, 3.9)  # a strip between centres
    out, labels = burned([pixels(2.1, 1.1, 2.4, 1.4), thin, pixels(5.4, 0.4, 5.6, 0.6)], [1, 2, 3])
    assert (out[1, 2], out[0, 5]) == (1, 3)
    assert np.isfinite(out).sum() == 3
    assert (out[3] == 2).sum() == 1
    assert labels.notes == ("2 polygons smaller than a pixel label the pixel that they lie in",)


def test_points_of_one_pixel_are_one_label():
    three = [point(1.1, 1.1), point(1.9, 1.9), point(4.0, 2.0)]
    out, labels = burned(three, [1.0, 4.0, 9.0], classes=False)
    assert (out[1, 1], out[2, 4]) == (2.5, 9)
    assert labels.notes == ("1 pixels hold several points, their mean counts",)
    out, labels = burned(three, [1, 4, 9])
    assert np.isnan(out[1, 1])
    assert labels.notes == ("1 pixels hold several points, 1 of them of two classes and left out",)
    assert burned(three, [4, 4, 9])[0][1, 1] == 4
    polygon, _ = burned([pixels(0, 0, 3, 3), point(1.5, 1.5), point(2.5, 2.5)], [7, 8, 7])
    assert np.isnan(polygon[1, 1])
    assert polygon[2, 2] == 7


def test_labels_outside_and_without_value_are_told():
    _, labels = burned([point(1, 1), point(50, 1), point(2, 2)], [1, 2, NAN])
    assert labels.row.tolist() == [0]
    assert labels.notes == ("1 of 3 labels have no value", "1 of 3 labels lie outside the raster")


def test_windows_are_the_parts_of_the_whole():
    random = np.random.default_rng(0)
    edges = random.uniform((-1, -1, 4, 3), (4, 3, 9, 7), (12, 4))
    shapes = [pixels(*edge) for edge in edges] + [point(*random.uniform(0, 6, 2)) for _ in range(6)]
    circle = shapely.transform(shapely.Point(0, 0).buffer(3, 400), lambda xy: np.array([500_040, 5_599_970]) + xy * 10)
    shapes.append(circle)  # so many vertices that it is cut to the window first
    values, split = random.integers(0, 3, 19), random.integers(0, 2, 19)
    for mine in (0, 1):
        whole, _ = burned(shapes, values, split=split, mine=mine)
        for row in (0, 2, 4):
            for col in (0, 3):
                window = Window(row, col, 2, 5 if col else 3)
                part, _ = burned(shapes, values, split=split, window=window, mine=mine)
                np.testing.assert_array_equal(part, whole[window.slices])
    alone, _ = burned([circle], [1])
    centres = np.mgrid[:6, :8] + 0.5
    inside = np.hypot(centres[0] - 3, centres[1] - 4) < 2.999
    assert (alone == 1)[inside].all()
    assert np.isnan(alone[np.hypot(centres[0] - 3, centres[1] - 4) > 3]).all()


def test_what_lies_beyond_the_edge_counts_for_nothing_and_the_corner_of_the_first_pixel_is_on_it():
    _, labels = burned([pixels(-100, 1, 3, 5), pixels(-5, 0, 0, 2), point(0, 0), point(8, 0)], [1, 2, 3, 4])
    assert labels.row.tolist() == [0, 2]
    assert labels.weight.tolist() == [12, 1]
    assert (labels.points >= 0).all()
    assert labels.notes == ("2 of 4 labels lie outside the raster",)


SQUARE = {"type": "Polygon", "coordinates": [[[3, 50], [4, 50], [4, 51], [3, 50]]]}


@pytest.mark.parametrize(
    ("properties", "crs", "message"),
    [
        ({"t": 1}, "EPSG:4326", ""),
        ({"t": 1}, [1], r"its CRS \[1\] is not known"),
        ({"t": 1}, {"properties": [1]}, "is not known"),
        ([1], None, "the properties of a feature are no object"),
        ({"t": 10**400}, None, ""),
    ],
)
def test_geojson_of_any_content_is_read_or_refused_in_one_line(tmp_path, properties, crs, message):
    feature = {"type": "Feature", "properties": properties, "geometry": SQUARE}
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature], "crs": crs}))
    if not message:
        assert len(read_shapes(file, ("t",)).geometry) == 1
        return
    with pytest.raises(ZooError, match=message) as error:
        read_shapes(file, ("t",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("geo", [[1], {"primary_column": "place", "columns": {"place": 5}}, {"primary_column": ["a"]}])
def test_geoparquet_of_any_description_is_refused_in_one_line(tmp_path, geo):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"t": [1], "place": pa.array([b"x"])})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "a.parquet")
    with pytest.raises(ZooError, match=r"a\.parquet: cannot be read as a Parquet file") as error:
        read_shapes(tmp_path / "a.parquet", ("t",))
    assert "\n" not in str(error.value)


def test_places_on_a_plane_keep_their_distances_across_the_antimeridian_and_far_apart():
    x, y = on_plane("EPSG:4326", np.array([179.9, -179.9, 180.1]), np.zeros(3))
    assert x[1] - x[0] == pytest.approx(0.2 * 111_319.5, rel=1e-4)
    assert (x[2], y[2]) == pytest.approx((x[1], y[1]))
    far = on_plane("EPSG:4326", np.array([-60.0, 20.0, NAN]), np.array([-30.0, 60.0, 0.0]))
    assert np.isfinite(far[:, :2]).all()
    assert np.isnan(far[:, 2]).all()


def test_data_crs_holds_where_a_file_only_leaves_it_out(files, tmp_path):
    file = tmp_path / "utm.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"t": 1}, "geometry": shapely.geometry.mapping(POINTS[0])}]}))  # fmt: skip
    assert read_shapes(file, ("t",), "EPSG:32631").crs == UTM
    assert read_shapes(file, ("t",)).crs.to_string() == "OGC:CRS84"
    assert read_shapes(files["gpkg"], ("t",), "EPSG:4326").crs == UTM
