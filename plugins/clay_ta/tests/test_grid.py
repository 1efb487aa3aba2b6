"""Georeference and solar angles against independent numbers."""

import numpy as np
import pytest
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.solar import zenith
from eozoo_core import ZooError
from hypothesis import given
from hypothesis import strategies as st

# UTC time, latitude, longitude, zenith in degrees: NREL's SPA as in pvlib 0.16.1 (spa_python, "zenith")
REFERENCE = [
    ("2024-10-31T16:06", 44.553, 132.616, 146.1162),
    ("2023-11-16T11:30", 33.129, 121.204, 122.8251),
    ("2022-11-09T03:33", 29.39, 133.709, 47.4270),
    ("2024-08-14T12:59", 42.85, 125.23, 111.6916),
    ("2024-06-13T00:42", 34.033, 120.117, 44.2567),
    ("2022-11-28T19:41", 36.866, 126.109, 122.7787),
    ("2023-09-30T21:13", 46.224, 133.024, 89.5189),
    ("2023-08-30T01:54", 39.877, 137.735, 33.1686),
    ("2023-05-26T12:32", 32.024, 128.701, 113.0363),
    ("2022-08-24T18:18", 30.047, 114.856, 130.5549),
    ("2022-06-05T00:07", 37.226, 136.012, 38.7780),
    ("2023-07-18T19:16", 39.997, 126.339, 101.1236),
    ("2022-10-19T13:34", 33.508, 114.283, 137.6995),
    ("2023-06-29T01:50", 32.571, 130.609, 22.0876),
    ("2024-08-23T14:50", 35.582, 114.09, 128.0621),
    ("2022-02-16T02:45", 30.855, 126.987, 45.6572),
    ("2024-01-22T04:38", 39.469, 115.422, 59.2987),
    ("2023-01-31T14:01", 35.89, 121.753, 146.6481),
    ("2022-06-14T11:14", 45.939, 128.16, 90.1146),
]


@pytest.mark.parametrize(
    ("row", "col", "lat", "lon"),
    [
        (0, 0, 45.728965, 113.996418),
        (0, 899, 45.728965, 138.003582),
        (899, 0, 29.312252, 116.753260),
        (899, 899, 29.312252, 135.246740),
    ],
)
def test_corners(row, col, lat, lon):
    assert KoGrid().place_of(col, row) == (pytest.approx(lat, abs=2e-6), pytest.approx(lon, abs=2e-6))


@pytest.mark.parametrize(
    ("lat", "lon", "col", "row"),
    [
        (37.57142, 126.9658, 491.096, 472.430),  # Seoul 108
        (38.25085, 128.56473, 558.768, 434.191),  # Sokcho 90
        (35.10468, 129.03203, 585.128, 603.984),  # Busan 159
        (33.51411, 126.52969, 473.774, 693.275),  # Jeju 184
    ],
)
def test_columns_and_rows_of_stations(lat, lon, col, row):
    assert KoGrid().pixel_of(lat, lon) == (pytest.approx(col, abs=1e-3), pytest.approx(row, abs=1e-3))


@given(st.integers(0, 899), st.integers(0, 899))
def test_places_come_back(col, row):
    grid = KoGrid()
    assert grid.pixel_of(*grid.place_of(col, row)) == (pytest.approx(col, abs=1e-4), pytest.approx(row, abs=1e-4))


def test_a_part_of_the_grid_has_the_same_places():
    whole, part = KoGrid(), KoGrid(30, 20, left=-900_000 + 2000 * 100, top=900_000 - 2000 * 50)
    for a, b in zip(part.places, whole.places):
        np.testing.assert_allclose(a, b[50:70, 100:130], atol=1e-9)


@pytest.mark.parametrize(
    ("col", "row", "inside"),
    [(4, 4, True), (895, 895, True), (3, 4, False), (4, 3, False), (896, 4, False), (4, 896, False)],
)
def test_windows_inside(col, row, inside):
    assert bool(KoGrid().holds_window(np.int64(col), np.int64(row))) is inside


def test_wrong_size():
    with pytest.raises(ZooError, match=r"x.nc: has 900 x 800 pixels, the grid needs 900 x 900"):
        KoGrid().check_shape((900, 800), "x.nc")


@pytest.mark.parametrize(("time", "lat", "lon", "expected"), REFERENCE)
def test_zenith_within_two_hundredths_of_a_degree(time, lat, lon, expected):
    assert zenith(np.datetime64(time), lat, lon) == pytest.approx(expected, abs=0.02)


def test_zenith_of_no_place():
    found = zenith(np.datetime64("2022-07-01T03:00"), np.array([np.nan, 37.0]), np.array([127.0, 127.0]))
    assert np.isnan(found[0])
    assert found[1] < 40
