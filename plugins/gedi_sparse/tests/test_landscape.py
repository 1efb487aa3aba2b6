import numpy as np
import pytest
import rasterio
from eozoo_gedi_sparse.data import sparse_tiles
from eozoo_gedi_sparse.demo.landscape import shots, write_landscape
from eozoo_gedi_sparse.demo.random_fields import noise, unit
from eozoo_gedi_sparse.demo.spectra import World
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS, DataSettings

SMALL = {"tiles": (9, 2, 2), "size": 48, "scene": (96, 128)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_landscape(tmp_path_factory.mktemp("landscape"), seed=1, **SMALL)


@pytest.fixture(scope="module")
def scene(written):
    with rasterio.open(written.scene) as dataset:
        return dataset.read(masked=True).filled(np.nan)


def test_it_is_the_documented_hierarchy(written):
    for split, count in zip(("train", "val", "test"), SMALL["tiles"], strict=True):
        tiles = sparse_tiles(written.input_dir, written.label_dir, split, DataSettings(crop=None))
        assert len(tiles) == count
        assert tiles.bands == DOCUMENTED_BANDS
        assert tiles[0]["image"].shape == (14, 48, 48)
        labelled = np.mean([np.isfinite(patch["target"]) for patch in tiles])
        assert 0.01 < labelled < 0.06  # four passes of a shot per 60 m x 600 m, in pixels of 20 m


def test_the_scene_is_a_georeferenced_raster_with_gaps(written, scene):
    with rasterio.open(written.scene) as dataset:
        assert (dataset.crs.to_epsg(), dataset.nodata, dataset.res) == (32647, -9999, (20, 20))
        assert dataset.descriptions == DOCUMENTED_BANDS
    assert scene.shape == (14, 96, 128)
    assert written.height.shape == (96, 128)
    assert np.isnan(scene[:, -1, -1]).all()  # outside the swath
    cloud = np.isnan(scene[0]) & np.isfinite(scene[13])
    assert 0 < cloud.mean() < 0.15
    assert np.isfinite(written.height).all()


def test_values_are_physical(written, scene):
    assert 0 <= np.nanmin(scene) <= np.nanmax(scene) <= 1
    assert written.height.min() >= 0
    assert 25 < written.height.max() <= 60


def test_bands_follow_height_with_the_right_signs_and_saturate(written, scene):
    clear = np.isfinite(scene).all(axis=0)
    height, bands = written.height[clear], dict(zip(DOCUMENTED_BANDS, scene[:, clear], strict=True))
    ndvi = (bands["B8"] - bands["B4"]) / (bands["B8"] + bands["B4"])
    for name, values, sign in (
        ("VH", bands["VH"], 1),
        ("NDVI", ndvi, 1),
        ("B4", bands["B4"], -1),
        ("B12", bands["B12"], -1),
    ):
        assert sign * np.corrcoef(values, height)[0, 1] > 0.3, name
    strata = ((1, 5), (15, 20), (30, 60))
    low, middle, high = (np.median(bands["VH"][(height > a) & (height <= b)]) for a, b in strata)
    assert middle - low > 1.8 * (high - middle) > 0  # little is left to see above 20 m


def test_same_seed_same_bytes(tmp_path, written):
    again = write_landscape(tmp_path, seed=1, **SMALL)
    other = write_landscape(tmp_path / "other", seed=2, **SMALL)
    for name in ("input/train/place_000.npy", "label/test/place_001.npy", "scene.tif"):
        assert (tmp_path / name).read_bytes() == (written.input_dir.parent / name).read_bytes()
    assert np.array_equal(again.height, written.height)
    assert not np.array_equal(other.height, written.height)


def test_no_two_patches_are_of_the_same_place(written):
    patches = [np.load(p) for p in sorted(written.input_dir.glob("*/*.npy"))]
    assert len(patches) == 13
    flat = np.stack([p[13].ravel() - p[13].mean() for p in patches])
    alike = flat @ flat.T / np.outer(np.linalg.norm(flat, axis=1), np.linalg.norm(flat, axis=1))
    assert np.abs(alike - np.eye(13)).max() < 0.9


def flat_world(height, slope=0.0):
    zeros = np.zeros((300, 300), np.float32)
    hill = np.arange(300, dtype=np.float32)[None] * 20 * slope + zeros
    return World(zeros + height, zeros, zeros, zeros, zeros, zeros, hill)


def test_shots_lie_on_parallel_tracks_600_m_apart():
    label = shots(np.random.default_rng(0), flat_world(20.0), pixel=20.0, passes=1)
    rows, cols = np.nonzero(np.isfinite(label))
    angles = np.deg2rad(np.arange(-60, 60, 0.25))
    # Across the track the shots gather in lines: at the right angle the distances modulo 600 m have one phase.
    phase = [np.abs(np.exp(2j * np.pi * (rows * np.cos(a) - cols * np.sin(a)) * 20 / 600).mean()) for a in angles]
    assert max(phase) > 0.95
    assert 36 <= abs(np.rad2deg(angles[int(np.argmax(phase))])) <= 44
    density = rows.size / (300 * 300 * 400) * 60 * 600
    assert density == pytest.approx(0.88, abs=0.05)  # 12 % of the shots are lost


def test_shot_noise_grows_with_height_and_slope():
    def errors(height, slope):
        label = shots(np.random.default_rng(3), flat_world(height, slope), pixel=20.0)
        return np.nanstd(label), np.nanmean(label)

    (low, mean_low), (high, _), (steep, _) = errors(10, 0), errors(30, 0), errors(10, 0.4)
    assert mean_low == pytest.approx(10, abs=0.1)
    # Some pixels average two shots, which makes the spread of labels a little smaller than that of shots.
    assert low == pytest.approx(1.4, rel=0.1)
    assert high == pytest.approx(2.8, rel=0.1)
    assert steep == pytest.approx(3.0, rel=0.1)


def test_noise_is_standardised_and_smooth():
    field = noise(np.random.default_rng(0), (120, 90), 20, 3.0)
    assert field.shape == (120, 90)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.2
    ranks = unit(field)
    assert (ranks.min(), ranks.max()) == (0, 1)
    assert np.array_equal(np.argsort(ranks, axis=None), np.argsort(field, axis=None))
