"""Areas on the ground: against the ellipsoid's formulas worked by hand, equal-area projections, and polygons' own."""

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.raster.area import pixel_area, pixel_size, zone
from eozoo_core.raster.coverage import coverage, edges_of, extent
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.tiles import Window
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS

A, E2 = 6_378_137.0, 0.00669437999014  # WGS 84


def grid(crs, x, y, pixel, height=40, width=50):
    return Grid(height, width, CRS.from_user_input(crs), Affine(pixel, 0, x, 0, -pixel, y))


def test_the_whole_earth():
    areas = pixel_area(grid("EPSG:4326", -180, 90, 1.0, 180, 360))
    assert areas.sum() == pytest.approx(510_065_621.724e6, rel=1e-12)  # the ellipsoid's surface, km2 as published
    # At the equator: meridian a (1 - e2) and parallel a per radian; half a degree off it is 0.01 % less.
    assert areas[90, 0] == pytest.approx(A**2 * (1 - E2) * np.radians(1) ** 2, rel=1e-4)
    # Rows whose centres are the poles: half of such a row is not there.
    polar = pixel_area(grid("EPSG:4326", -180, 90.5, 1.0, 181, 360))
    assert polar.sum() == pytest.approx(510_065_621.724e6, rel=1e-12)


def test_mercator_by_hand():
    """Of a point of Web Mercator: parallel N cos(lat) per radian, meridian M cos(lat) per radian of map, a m each."""
    lat = np.radians(60.0)
    y = A * np.log(np.tan(np.pi / 4 + lat / 2))
    here = grid("EPSG:3857", 1e6, y + 5, 10.0, 1, 1)
    n = A / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    m = A * (1 - E2) / (1 - E2 * np.sin(lat) ** 2) ** 1.5
    width, height = 10 * n * np.cos(lat) / A, 10 * m * np.cos(lat) / A
    assert pixel_area(here)[0, 0] == pytest.approx(width * height, rel=1e-6)
    assert pixel_size(here, 0.5, 0.5) == pytest.approx((width, height), rel=1e-6)


def test_utm_by_hand():
    """On its central meridian map metres are 0.9996 of those on the ground."""
    assert pixel_area(grid("EPSG:32633", 499_900, 6e6, 10.0, 1, 20)) == pytest.approx(100 / 0.9996**2, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["EPSG:6933", "EPSG:3035", "ESRI:102001", "EPSG:6931"]), st.floats(0, 360), st.floats(0.2, 3000),
    st.booleans(),
)  # fmt: skip
def test_equal_area_maps_keep_areas_whatever_their_orientation(crs, turn, pixel, flipped):
    x, y = {"EPSG:6933": (2e6, 4e6), "EPSG:3035": (4.3e6, 3.2e6), "ESRI:102001": (0, 1e6)}.get(crs, (1e6, 1e6))
    t = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(pixel, pixel if flipped else -pixel)
    found = pixel_area(Grid(30, 70, CRS.from_user_input(crs), t)) / pixel**2
    np.testing.assert_allclose(found, 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("crs", "x", "y", "pixel"),
    [
        ("EPSG:3857", 0.0, 1.2e7, 3000.0),
        ("EPSG:3031", -2e6, 2e6, 1000.0),
        ("EPSG:32633", 1e5, 9e6, 300.0),
        ("EPSG:2263", 9e5, 3e5, 300.0),  # feet
        ("+proj=sinu +R=6371007.181 +units=m", -2e7, 1e7, 20_000.0),  # corners are not on Earth
    ],
)
def test_areas_between_places_are_within_a_hundredth_of_a_percent(crs, x, y, pixel):
    whole = grid(crs, x, y, pixel, 900, 1100)
    areas, rng = pixel_area(whole), np.random.default_rng(0)
    rows, cols = rng.integers(0, 900, 25), rng.integers(0, 1100, 25)
    exact = [pixel_area(whole, Window(r, c, 1, 1))[0, 0] for r, c in zip(rows, cols)]
    np.testing.assert_allclose(areas[rows, cols], exact, rtol=1e-4)
    assert np.isfinite(exact).sum() > 10


def test_what_has_no_area_is_one_line():
    for crs in (None, CRS.from_wkt('LOCAL_CS["room",UNIT["metre",1]]')):
        with pytest.raises(ZooError, match="no area in m2"):
            pixel_area(Grid(2, 2, crs, Affine.identity()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 29), st.floats(-9, 29)), min_size=3, max_size=6), st.data())
def test_coverage_is_the_area_of_the_polygon_and_the_same_in_any_window(points, data):
    """Around their centre points make a star, which does not cross itself; it may reach beyond the window."""
    xy = np.array(points)
    centre = xy.mean(axis=0)
    ring = xy[np.argsort(np.arctan2(*(xy - centre).T[::-1]), kind="stable")]
    if data.draw(st.booleans()):
        ring = ring[::-1]  # corners may run either way
    place = grid("EPSG:32633", 0, 0, 1.0, 20, 20)
    shape = {"type": "Polygon", "coordinates": [(ring * [1, -1]).tolist()]}
    edges = edges_of(shape, place.crs, place)
    wide = coverage(edges, Window(-10, -10, 40, 40))
    x, y = ring.T
    assert wide.sum() == pytest.approx(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2, abs=1e-9)
    row, col = data.draw(st.integers(-10, 20)), data.draw(st.integers(-10, 20))
    part = coverage(edges, Window(row, col, 7, 9))
    np.testing.assert_allclose(part, wide[row + 10 : row + 17, col + 10 : col + 19], atol=1e-12)


def test_holes_and_parts_by_hand():
    def box(left, bottom, right, top):
        return [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]

    place = grid("EPSG:32633", 0, 4, 1.0, 4, 6)
    shape = {"type": "MultiPolygon", "coordinates": [[box(0.5, 0, 3, 4), box(1, 1.25, 2, 2)], [box(4, 0, 5.75, 1)]]}
    expected = np.zeros((4, 6))
    expected[:, 0], expected[:, 1:3], expected[3, 4], expected[3, 5] = 0.5, 1, 1, 0.75
    expected[2, 1] = 0.25
    edges = edges_of(shape, place.crs, place)
    np.testing.assert_allclose(coverage(edges, Window(0, 0, 4, 6)), expected, atol=1e-12)
    assert extent(edges, place) == Window(0, 0, 4, 6)
    assert extent(edges + 10, place) is None


@pytest.mark.parametrize(
    ("crs", "x", "y", "pixel", "width"),
    [
        ("EPSG:4326", 179.0, -15.0, 0.01, 300),
        ("EPSG:4326", -180.0, -15.0, 0.5, 720),
        ("EPSG:32660", 7e5, -1.6e6, 1000.0, 400),
        ("EPSG:3857", -20_037_508.34, -1.5e6, 5000.0, 8016),
    ],
)
@pytest.mark.parametrize(("west", "east"), [(179.5, -179.5), (179.5, 180.5), (-180.5, -179.5)])
def test_polygons_across_the_date_line_have_their_area_on_every_map(crs, x, y, pixel, width, west, east):
    place = grid(crs, x, y, pixel, 300, width)
    ring = [[west, -17], [east, -17], [east, -16], [west, -16], [west, -17]]
    edges = edges_of({"type": "Polygon", "coordinates": [ring]}, "OGC:CRS84", place)
    window = extent(edges, place)
    found = (coverage(edges, window) * pixel_area(place, window)).sum()
    assert found == pytest.approx(zone(-17, -16) / 360, rel=2e-5)


def test_places_without_a_place_cost_only_themselves():
    lon, lat = np.array([99.0, np.nan, 99.0, 0.0, 99.0]), np.array([18.0, 18.0, 95.0, np.inf, 18.0])
    found = transform_points("EPSG:4326", "EPSG:32647", lon, lat)
    assert np.isfinite(found).all(axis=0).tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(found[:, 0], [500_000, 1_990_000], atol=1000)  # the zone's central meridian
