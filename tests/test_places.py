"""Where samples lie: distances and overlap, by brute force, by hand and as properties."""

import math

import numpy as np
import pytest
from eozoo_core.checking.places import NEAR, Place, nearest, place_of
from eozoo_core.raster.georeference import Grid
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

UTM = "EPSG:32631"
sides = st.integers(1, 50)
corners = st.integers(-200, 200)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corners, corners, sides, sides)
lists = st.lists(boxes, min_size=1, max_size=6)


def places(many, crs=UTM, shift=0, pixel=0.0):
    return [Place(f"{i}.tif", tuple(float(v + shift) for v in box), crs, pixel) for i, box in enumerate(many)]


def gap(a, b):
    """Distance of two rectangles, by cases, and whether they overlap."""
    across = max(a[0] - b[2], b[0] - a[2])
    along = max(a[1] - b[3], b[1] - a[3])
    return math.hypot(max(across, 0), max(along, 0)), across < 0 and along < 0


@settings(max_examples=50, deadline=None)
@given(lists, lists)
def test_nearest_is_that_of_brute_force(one, two):
    found = nearest(places(one), places(two))
    for i, a in enumerate(one):
        pairs = [gap(a, b) for b in two]
        assert found.metres[i] == pytest.approx(min(d for d, _ in pairs))
        assert found.overlap[i] == any(o for _, o in pairs)
        named = gap(a, two[found.index[i]])
        assert named == (pytest.approx(found.metres[i]), found.overlap[i])


@settings(max_examples=50, deadline=None)
@given(lists, lists, st.integers(-10_000, 10_000))
def test_nearest_is_mutual_and_does_not_depend_on_the_origin(one, two, shift):
    there, back = nearest(places(one), places(two)), nearest(places(two), places(one))
    assert there.metres.min() == pytest.approx(back.metres.min())
    assert there.overlap.any() == back.overlap.any()
    moved = nearest(places(one, shift=shift), places(two, shift=shift))
    assert moved.metres == pytest.approx(there.metres, abs=1e-6)
    assert (moved.overlap == there.overlap).all()


def test_neighbours_that_share_an_edge_touch_and_do_not_overlap():
    tile, right = (0.0, 0.0, 640.0, 640.0), (640.0 - 1e-7, 0.0, 1280.0, 640.0)  # 1e-7: rounding of a transform
    found = nearest(places([tile], pixel=1), places([right], pixel=1))
    assert found.metres[0] == 0
    assert not found.overlap[0]
    assert nearest(places([tile], pixel=1), places([(639.0, 0.0, 1279.0, 640.0)], pixel=1)).overlap[0]


def test_feet_are_metres_times_0_3048():
    feet = nearest(places([(0, 0, 10, 10)], "EPSG:2277"), places([(110, 0, 120, 10)], "EPSG:2277"))  # Texas, US feet
    assert feet.metres[0] == pytest.approx(100 * 12 / 39.37)


def test_degrees_are_shorter_towards_the_poles_and_go_round():
    def east(latitude, a=10.0, b=11.0):
        box = (a - 0.1, latitude - 0.1, a, latitude + 0.1), (b, latitude - 0.1, b + 0.1, latitude + 0.1)
        return nearest(places([box[0]], "EPSG:4326"), places([box[1]], "EPSG:4326")).metres[0]

    assert east(0) == pytest.approx(111_195, rel=1e-3)  # 2 pi 6371 km / 360
    assert east(60) == pytest.approx(111_195 / 2, rel=1e-3)
    assert east(0, 179.5, -179.5) == pytest.approx(111_195, rel=1e-3)
    line = places([(179.9, 0, -179.9, 0.2)], "EPSG:4326")  # across the date line
    assert nearest(line, places([(-179.95, 0.1, -179.8, 0.3)], "EPSG:4326")).overlap[0]


def test_places_in_two_crs_are_compared_on_the_ground():
    utm = Place("a", (500_000.0, 5_600_000.0, 500_640.0, 5_600_640.0), UTM, 10.0)  # 3 E, on the central meridian
    same = Place("b", (3.0, 50.5506, 3.009, 50.5564), "EPSG:4326", 1e-4)
    assert nearest([utm], [same]).overlap[0]
    apart = Place("c", (500_000.0 + 640 + 1000, 5_600_000.0, 500_000.0 + 2280, 5_600_640.0), UTM, 10.0)
    other = Place("d", utm.box, CRS.from_epsg(32631).to_wkt(), 10.0)
    assert nearest([apart], [other]).metres[0] == pytest.approx(1000, rel=1e-6)  # the same CRS written otherwise
    mixed = nearest([apart], [other, Place("far", (10.0, 10.0, 10.1, 10.1), "EPSG:4326", 1e-4)])
    assert not mixed.overlap[0]
    assert mixed.metres[0] == pytest.approx(1000, rel=0.02)


def test_a_place_is_the_box_around_a_turned_raster_and_nothing_without_a_crs():
    turned = Affine(0, -10, 1000, 10, 0, 2000)
    assert place_of("a", Grid(3, 5, CRS.from_epsg(32631), turned)).box == (970, 2000, 1000, 2050)
    assert place_of("a", Grid(3, 5)) is None
    local = CRS.from_wkt('LOCAL_CS["site", UNIT["metre", 1]]')  # no degrees, and nowhere on Earth
    assert place_of("a", Grid(3, 5, local, turned)) is None


def test_a_small_overlap_in_one_crs_is_found_beside_places_in_another():
    mine = [Place("32", (0.0, 0.0, 100.0, 100.0), "EPSG:32632", 1.0), Place("31", (0.0, 0.0, 100.0, 100.0), UTM, 1.0)]
    theirs = [Place("far", (9000.0, 0.0, 9100.0, 100.0), UTM, 1.0), Place("5 %", (95.0, 0.0, 195.0, 100.0), UTM, 1.0)]
    found = nearest(mine, [*theirs, Place("far too", (9000.0, 0.0, 9100.0, 100.0), "EPSG:32632", 1.0)])
    assert found.overlap.tolist() == [False, True]
    assert (found.index[1], found.metres[1]) == (1, 0)


def test_a_box_that_is_nowhere_on_earth_is_infinitely_far_and_hides_no_other():
    disk = "+proj=geos +h=35785831 +lon_0=128.2 +sweep=y +units=m"
    space = Place("corner", (-5_500_000.0, 5_400_000.0, -5_400_000.0, 5_500_000.0), disk, 2000.0)
    near = Place("near", (1000.0, 0.0, 1100.0, 100.0), UTM, 10.0)
    found = nearest([Place("a", (0.0, 0.0, 100.0, 100.0), UTM, 10.0)], [space, near])
    assert found.index[0] == 1
    assert found.metres[0] == pytest.approx(900, rel=0.02)
    assert np.isinf(nearest([near], [space]).metres).all()


# -- how near is too near ---------------------------------------------------------------------------------------------

SIDE = 64  # pixels of a patch


def raster(name, x, y, pixel=10.0, crs=UTM, turn=0.0, side=SIDE):
    """A patch whose top left corner is (x, y)."""
    transform = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(pixel, -pixel)
    return place_of(name, Grid(side, side, CRS.from_user_input(crs), transform))


def shares(one, two):
    there, back = nearest([one], [two]).overlap[0], nearest([two], [one]).overlap[0]
    assert there == back
    return bool(there)


@pytest.mark.parametrize(
    ("pixels", "shared"), [(-1.0, False), (0.0, False), (0.1, False), (0.4, False), (0.6, True), (1, True), (64, True)]
)
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("turn", [0.0, 90.0, 30.0])
def test_more_than_half_a_pixel_is_the_same_ground(pixels, shared, crs, turn):
    """Patches side by side, pushed ``pixels`` into one another: then pixel centres are 1 - ``pixels`` px apart."""
    assert NEAR == 0.5
    pixel = 1e-4 if crs == "EPSG:4326" else 10.0
    x, y = (3.0, 50.0) if crs == "EPSG:4326" else (500_000.0, 5_600_000.0)
    step = (SIDE - pixels) * pixel
    along = step * math.cos(math.radians(turn)), step * math.sin(math.radians(turn))
    one, two = raster("a", x, y, pixel, crs, turn), raster("b", x + along[0], y + along[1], pixel, crs, turn)
    assert shares(one, two) == shared


def test_the_smaller_pixel_counts_and_the_corner_too():
    coarse = raster("b", 640 - 6, 0, 30.0)
    assert shares(raster("a", 0, 0), coarse)  # 6 m: 0.6 of 10 m
    assert not shares(raster("a", 0, 0, 30.0), raster("b", SIDE * 30 - 6, 0, 30.0))  # 0.2 of 30 m
    assert not shares(
        raster("a", 0, 0), raster("b", 640 - 300, -640 + 4)
    )  # 30 px along one side, 0.4 px along the other


def test_a_turned_patch_fills_less_than_its_box_in_degrees_too():
    """Turned by 45 degrees about its top left corner, it leaves the corners of its box to others."""
    turned = raster("a", 3.0, 0.0, 1e-4, "EPSG:4326", turn=45.0)
    left, bottom, _, _ = turned.box
    assert not shares(turned, raster("b", left, bottom + 20e-4, 1e-4, "EPSG:4326", side=20))
    assert shares(turned, raster("b", left, bottom + 60e-4, 1e-4, "EPSG:4326", side=60))


def test_points_share_a_footprint_from_half_of_it_on():
    def shot(x):
        return Place("shot", (x - 12.5, -12.5, x + 12.5, 12.5), UTM, 25.0)

    assert [shares(shot(0), shot(x)) for x in (0, 12, 13, 25)] == [True, True, False, False]


def moved(crs, x, y, to):
    (east,), (north,) = transform(crs, to, [x], [y])
    return east, north


@pytest.mark.parametrize(("metres", "shared"), [(-2560, True), (-8, True), (-2, False), (0, False), (30, False)])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_the_same_ground_in_two_crs_is_known_to_half_a_pixel(metres, shared, crs):
    """At 6 E, where zones meet, a patch of zone 31 is turned 4.6 degrees against one of zone 32.

    The second patch begins ``metres`` east of the easternmost corner of the first, or ends it over 2560 m before.
    """
    x, y = moved("EPSG:4326", 6.0, 50.0, UTM)
    one = raster("31", x, y, side=256)
    right = max(moved(UTM, *corner, crs) for corner in ((x + 2560, y), (x + 2560, y - 2560)))
    unit = 1 if crs == "EPSG:32632" else 1 / (111_195 * math.cos(math.radians(50)))
    pixel = 10.0 if crs == "EPSG:32632" else 1e-4
    tall = {"EPSG:32632": 1280.0, "EPSG:4326": 0.0128}[crs]
    left = right[0] + metres * unit
    two = Place("other", (left, right[1] - tall, left + 2 * tall, right[1] + tall), crs, pixel)
    # A corner of 10 m pixels: what enters it is less deep than far, so half a pixel is met a little later.
    assert shares(one, two) == shared
    if metres == 30:
        assert nearest([one], [two]).metres[0] == pytest.approx(30, rel=0.1)


def test_a_copy_in_another_zone_and_in_degrees_is_the_same_ground():
    x, y = moved("EPSG:4326", 6.0, 50.0, UTM)
    one = raster("31", x, y)
    zone = raster("32", *moved(UTM, x, y, "EPSG:32632"), crs="EPSG:32632")
    degrees = raster("lonlat", *moved(UTM, x, y, "EPSG:4326"), 1e-4, "EPSG:4326")
    far = raster("far", *moved(UTM, x + 1000, y, "EPSG:32632"), crs="EPSG:32632")
    assert [shares(one, other) for other in (zone, degrees, far)] == [True, True, False]


def test_the_antimeridian_parts_nothing():
    west = Place("west", (179.99, 0.0, -179.99, 0.02), "EPSG:4326", 1e-4)
    assert shares(west, Place("b", (-179.9901, 0.0, -179.97, 0.02), "EPSG:4326", 1e-4))
    assert not shares(west, Place("b", (-179.99, 0.0, -179.97, 0.02), "EPSG:4326", 1e-4))
    x, y = moved("EPSG:4326", 179.999, 0.01, "EPSG:32660")
    utm = raster("60", x, y, crs="EPSG:32660")  # goes on behind the line
    assert shares(utm, west)
    over = moved("EPSG:4326", -179.998, 0.01, "EPSG:32601")
    assert shares(utm, raster("1", *over, crs="EPSG:32601"))
    assert not shares(utm, raster("1", over[0] + 1000, over[1], crs="EPSG:32601"))


def test_a_map_of_the_world_holds_every_patch():
    world = Place("world", (-180.0, -90.0, 180.0, 90.0), "EPSG:4326", 0.1)
    assert shares(world, raster("a", 500_000, 5_600_000))


def test_of_one_list_no_place_is_its_own_neighbour():
    found = nearest(*[[raster("a", 0, 0), raster("b", 640, 0), raster("c", 1270, 0)]] * 2, same=True)
    assert found.overlap.tolist() == [False, True, True]
    assert found.index.tolist() == [1, 2, 1]


@settings(max_examples=60, deadline=None)
@given(st.floats(-90, 90), st.floats(-90, 90), st.floats(-700, 700), st.floats(-700, 700))
def test_of_turned_patches_the_pixel_centres_decide(one_turn, two_turn, dx, dy):
    """A patch is on its own ground; one that holds a pixel's centre 1 px inside the other is on the same ground, and
    one that holds no point of a fine raster of the other is not."""
    one, two = raster("a", 0, 0, turn=one_turn), raster("b", dx, dy, turn=two_turn)
    assert shares(one, one)
    col, row = np.mgrid[0:SIDE:0.25, 0:SIDE:0.25].reshape(2, -1) + 0.125
    into = ~(Affine.translation(dx, dy) @ Affine.rotation(two_turn) @ Affine.scale(10, -10))
    t = into @ Affine.rotation(one_turn) @ Affine.scale(10, -10)
    u, v = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f  # pixels of two
    inside = np.minimum(np.minimum(u, SIDE - u), np.minimum(v, SIDE - v))
    edge = np.minimum(np.minimum(col, SIDE - col), np.minimum(row, SIDE - row))
    if ((inside > 1) & (edge > 1)).any():
        assert shares(one, two)
    if not (inside > 0).any():
        assert not shares(one, two)


def test_turned_neighbours_across_the_antimeridian_touch_and_do_not_overlap():
    """Their boxes overlap, they do not: so it is their corners that decide, and longitudes that go round."""
    x, y = moved("EPSG:4326", 179.9999, 0.01, "EPSG:32660")
    one = raster("60", x, y, crs="EPSG:32660", turn=30.0)
    beside = moved(
        "EPSG:32660", x + 680 * math.cos(math.radians(30)), y + 680 * math.sin(math.radians(30)), "EPSG:32601"
    )
    found = nearest([one], [raster("1", *beside, crs="EPSG:32601", turn=30.0)])
    assert not found.overlap[0]
    assert found.metres[0] == pytest.approx(40, rel=0.05)
    inside = moved(
        "EPSG:32660", x + 600 * math.cos(math.radians(30)), y + 600 * math.sin(math.radians(30)), "EPSG:32601"
    )
    assert shares(one, raster("1", *inside, crs="EPSG:32601", turn=30.0))
