"""What two splits share: measured against brute force, hand-worked numbers and properties."""

import math

import numpy as np
import pytest
from eozoo_core.checking.leakage import (
    Place,
    copies,
    fingerprints,
    nearest,
    nearest_time,
    place_of,
    same_files,
    shared_pixels,
)
from eozoo_core.raster.georeference import Grid
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.crs import CRS

UTM = "EPSG:32631"
sides = st.integers(1, 50)
corners = st.integers(-200, 200)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corners, corners, sides, sides)
lists = st.lists(boxes, min_size=1, max_size=6)


def places(many, crs=UTM, shift=0):
    return [Place(f"{i}.tif", tuple(float(v + shift) for v in box), crs) for i, box in enumerate(many)]


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
    found = nearest(places([tile]), places([right]))
    assert found.metres[0] == 0
    assert not found.overlap[0]
    assert nearest(places([tile]), places([(639.0, 0.0, 1279.0, 640.0)])).overlap[0]


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
    utm = Place("a", (500_000.0, 5_600_000.0, 500_640.0, 5_600_640.0), UTM)  # 3 E, on the central meridian
    same = Place("b", (3.0, 50.5506, 3.009, 50.5564), "EPSG:4326")
    assert nearest([utm], [same]).overlap[0]
    apart = Place("c", (500_000.0 + 640 + 1000, 5_600_000.0, 500_000.0 + 2280, 5_600_640.0), UTM)
    other = Place("d", utm.box, CRS.from_epsg(32631).to_wkt())
    assert nearest([apart], [other]).metres[0] == pytest.approx(1000, rel=1e-6)  # the same CRS written otherwise
    mixed = nearest([apart], [other, Place("far", (10.0, 10.0, 10.1, 10.1), "EPSG:4326")])
    assert not mixed.overlap[0]
    assert mixed.metres[0] == pytest.approx(1000, rel=0.02)


def test_a_place_is_the_box_around_a_turned_raster_and_nothing_without_a_crs():
    turned = Affine(0, -10, 1000, 10, 0, 2000)
    assert place_of("a", Grid(3, 5, CRS.from_epsg(32631), turned)).box == (970, 2000, 1000, 2050)
    assert place_of("a", Grid(3, 5)) is None
    local = CRS.from_wkt('LOCAL_CS["site", UNIT["metre", 1]]')  # no degrees, and nowhere on Earth
    assert place_of("a", Grid(3, 5, local, turned)) is None


def test_a_small_overlap_in_one_crs_is_found_beside_places_in_another():
    mine = [Place("32", (0.0, 0.0, 100.0, 100.0), "EPSG:32632"), Place("31", (0.0, 0.0, 100.0, 100.0), UTM)]
    theirs = [Place("far", (9000.0, 0.0, 9100.0, 100.0), UTM), Place("5 %", (95.0, 0.0, 195.0, 100.0), UTM)]
    found = nearest(mine, [*theirs, Place("far too", (9000.0, 0.0, 9100.0, 100.0), "EPSG:32632")])
    assert found.overlap.tolist() == [False, True]
    assert (found.index[1], found.metres[1]) == (1, 0)


def test_a_box_that_is_nowhere_on_earth_is_infinitely_far_and_hides_no_other():
    disk = "+proj=geos +h=35785831 +lon_0=128.2 +sweep=y +units=m"
    space = Place("corner", (-5_500_000.0, 5_400_000.0, -5_400_000.0, 5_500_000.0), disk)
    near = Place("near", (1000.0, 0.0, 1100.0, 100.0), UTM)
    found = nearest([Place("a", (0.0, 0.0, 100.0, 100.0), UTM)], [space, near])
    assert found.index[0] == 1
    assert found.metres[0] == pytest.approx(900, rel=0.02)
    assert np.isinf(nearest([near], [space]).metres).all()


stamps = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(stamps, stamps)
def test_nearest_time_is_that_of_brute_force(one, two):
    index, between = nearest_time(np.array(one, "datetime64[s]"), np.array(two, "datetime64[s]"))
    for i, t in enumerate(one):
        assert between[i].astype(int) == min(abs(t - u) for u in two)
        assert abs(t - two[index[i]]) == between[i].astype(int)


def test_unknown_times_are_near_to_nothing():
    times = np.array(["2020-01-02", "NaT"], "datetime64[s]")
    index, between = nearest_time(times, np.array(["NaT", "2020-01-01T12:00"], "datetime64[s]"))
    assert index[0] == 1
    assert between[0] == np.timedelta64(12, "h")
    assert np.isnat(between[1])
    assert np.isnat(nearest_time(times, np.array(["NaT"], "datetime64[s]"))[1]).all()


def image(seed, bands=3, side=40):
    return np.random.default_rng(seed).normal(size=(bands, side, side)).astype("float32")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3), st.booleans(), st.integers(0, 15), st.integers(0, 15))
def test_the_same_ground_is_known_turned_mirrored_and_cut(seed, turns, mirrored, row, col):
    whole = image(seed, bands=1 + seed % 3)
    part = whole[:, row : row + 25, col : col + 25]
    part = np.rot90(part, turns, axes=(1, 2))
    part = part[:, ::-1] if mirrored else part
    mine = fingerprints(part)
    assert len(mine) > 24 * 24 / 8 / 2
    assert np.isin(mine, fingerprints(whole)).all()
    assert shared_pixels([fingerprints(whole)], [mine]) == [(0, 0, 1.0)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000))
def test_other_ground_shares_nothing(seed):
    assert shared_pixels([fingerprints(image(seed))], [fingerprints(image(seed + 1))]) == []


def test_bands_in_another_order_and_other_values_are_other_ground():
    one = image(0)
    assert shared_pixels([fingerprints(one)], [fingerprints(one[::-1])]) == []
    assert shared_pixels([fingerprints(one)], [fingerprints(one * np.float32(1.01))]) == []


def test_missing_even_and_repeated_squares_say_nothing():
    assert len(fingerprints(np.full((3, 40, 40), np.nan, "float32"))) == 0
    assert len(fingerprints(np.zeros((3, 40, 40), "float32"))) == 0
    stripes = np.tile(np.array([0.0, 1.0], "float32"), (3, 40, 20))
    assert len(fingerprints(stripes)) == 0
    for part, rest in ((np.s_[:, :, :20], np.s_[:, :, 20:]), (np.s_[:, 20:], np.s_[:, :20])):
        hole = image(0)
        hole[:1][part] = np.nan
        assert (fingerprints(hole) == fingerprints(image(0)[rest])).all()


def test_half_an_image_is_half_shared_and_the_largest_share_comes_first():
    one = image(0)
    half = np.concatenate([one[:, :20], image(1)[:, 20:]], axis=1)
    found = shared_pixels([fingerprints(image(5)), fingerprints(one)], [fingerprints(half), fingerprints(one)])
    assert [(i, j) for i, j, _ in found] == [(1, 1), (1, 0)]
    assert found[0][2] == 1.0
    assert found[1][2] == pytest.approx(0.5, abs=0.1)


def test_few_grey_levels_are_no_leak():
    random = np.random.default_rng(0)
    for levels in (3, 12):  # 15 and 1,365 different squares, of 3,969 in each image
        dark = [random.integers(0, levels, (1, 64, 64)).astype("float32") for _ in range(2)]
        assert shared_pixels(*([fingerprints(a)] for a in dark)) == []


def test_same_files_are_found_by_content_not_by_name(tmp_path):
    content = np.random.default_rng(0).bytes(100_000)
    for name, data in {"a": content, "b": content[:-1] + b"x", "c": content, "d": content[::-1]}.items():
        (tmp_path / name).write_bytes(data)
    middle = bytearray(content)
    middle[50_000] ^= 1  # both ends are the same
    (tmp_path / "e").write_bytes(middle)
    train, test = [tmp_path / "a", tmp_path / "b"], [tmp_path / "d", tmp_path / "c", tmp_path / "e"]
    assert same_files(train, test) == [(tmp_path / "a", tmp_path / "c")]
    assert same_files(train, [tmp_path / "b"]) == [(tmp_path / "b", tmp_path / "b")]


def test_copies_are_those_of_the_first(tmp_path):
    files = [tmp_path / f"{i}.bin" for i in range(5)]
    for file, content in zip(files, (b"a", b"b", b"a", b"c", b"a"), strict=True):
        file.write_bytes(content * 100)
    assert copies(files) == {2: 0, 4: 0}
    assert same_files(files[:2], files[2:]) == [(files[0], files[2]), (files[0], files[4])]
