"""Tiles: what is read, what is refused in one line, degradation, windows, splits and stage-1 outputs."""

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.task.registered import Registered
from eozoo_core.train.loading import Draw
from eozoo_prithvi_refine.data import ImagePairs, RefineTiles, find_tiles, refine_tiles, split_files
from eozoo_prithvi_refine.degradation import AIRLIGHT, degrade, draw_strengths
from eozoo_prithvi_refine.demo.landscape import landscape
from eozoo_prithvi_refine.given_tiles import GivenTiles
from eozoo_prithvi_refine.plugin import PAIR
from eozoo_prithvi_refine.prepare.stage1 import write_stage1_outputs
from eozoo_prithvi_refine.settings import DataSettings, DegradationSettings
from eozoo_prithvi_refine.tile_files import read_tile, tile_arrays, write_npz


def image(size=20, seed=0):
    return landscape(seed, size, size, 6, 4)


def arrays(**changes):
    found = tile_arrays(image(), 6, 4) | changes
    return {k: v for k, v in found.items() if v is not None}


@pytest.fixture
def tile(tmp_path):
    def write(meta=None, **changes):
        return write_npz(tmp_path / "train" / "tile.npz", arrays(**changes), meta)

    return write


@pytest.mark.parametrize("form", [int, np.int64, np.float32, lambda v: np.full((20, 20), v, float)])
def test_month_and_biome_in_every_form(tile, form):
    plane = form(16)
    if np.ndim(plane):
        plane[0, 0], plane[1, :5] = np.nan, 3  # some missing, a few of another biome: the commonest counts
    read = read_tile(tile(month=form(12), biome_code=plane))
    assert (read.month, read.biome) == (12, 16)
    assert read.image.dtype == np.float32
    np.testing.assert_array_equal(read.image, image())
    assert read.radar is None


def test_month_and_biome_from_sidecar_and_defaults(tile):
    file = tile({"date_s2": "2017-06-13", "biome_code": 3}, month=None, biome_code=None)
    assert (read_tile(file).month, read_tile(file).biome) == (6, 3)
    file = tile({}, month=None, biome_code=None)
    assert (read_tile(file, 2, 0).month, read_tile(file, 2, 0).biome) == (2, 0)


@pytest.mark.parametrize("scale", [1, 10000])
def test_joint_scaling_is_undone(tile, scale):
    true = image() * scale
    low, high = float(true.min()), float(true.max())
    scaled = dict(zip(("s2_b2", "s2_b3", "s2_b4", "s2_b8"), (true - low) / (high - low)))
    read = read_tile(tile({"s2_normalization": {"min": low, "max": high}}, **scaled))
    np.testing.assert_allclose(read.image, image(), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s2_b8": None}, "has no band 's2_b8'"),
        ({"s2_b8": np.ones((10, 10))}, "one shape"),
        ({"s2_b8": np.ones((20, 20, 1))}, "one shape"),
        ({"s2_b8": np.full((20, 20), "x")}, "expected numbers"),
        ({"s2_b8": np.full((20, 20), 3000.0)}, "not reflectance"),
        ({"s2_b8": np.full((20, 20), np.nan)}, "no pixel is valid"),
        ({"month": np.int64(13)}, "month 13 is not a whole number from 1 to 12"),
        ({"month": np.int64(0)}, "month 0"),
        ({"month": np.float64(6.5)}, r"month 6\.5"),
        ({"month": np.array("June")}, "expected a number"),
        ({"month": None}, "has no 'month'.*default_month"),
        ({"biome_code": np.int64(17)}, "biome_code 17 is not a whole number from 0 to 16"),
        ({"biome_code": np.int64(-1)}, "biome_code -1"),
        ({"biome_code": None}, "has no 'biome_code'"),
    ],
)
def test_bad_tiles_are_one_clear_line(tile, changes, message):
    with pytest.raises(ZooError, match=message) as error:
        read_tile(tile(**changes))
    assert "tile.npz" in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    file = tmp_path / "t.npz"
    with pytest.raises(ZooError, match="no such file"):
        read_tile(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(ZooError, match="cannot be read as an NPZ"):
        read_tile(file)
    write_npz(file, arrays())
    file.with_suffix(".json").write_text("[1]")
    with pytest.raises(ZooError, match="expected an object"):
        read_tile(file)
    np.savez(file, s2_b2=np.array([{}], dtype=object))
    with pytest.raises(ZooError, match="cannot be read"):
        read_tile(file)


def test_degradation_is_seeded_and_missing_stays_missing():
    target = image(40)
    target[:, :7, :9] = np.nan
    made = [degrade(target, DegradationSettings(), np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert np.nanmean(np.abs(made[0] - made[2])) > 1e-3
    np.testing.assert_array_equal(np.isnan(made[0]), np.isnan(target))
    assert np.nanmin(made[0]) >= 0


def test_each_part_of_the_degradation_alone():
    off = {"blur_px": 0, "noise": 0, "colour_gain": 0, "colour_offset": 0, "haze": 0}
    target = image(60)

    def only(**on):
        return degrade(target, DegradationSettings(**(off | on)), np.random.default_rng(3))

    np.testing.assert_allclose(only(), target, atol=1e-6)
    assert only(blur_px=3).std() < target.std()
    np.testing.assert_allclose(only(blur_px=3).mean(), target.mean(), rtol=0.02)
    gain = only(colour_gain=0.2) / target
    np.testing.assert_allclose(gain, np.broadcast_to(gain[:, :1, :1], gain.shape), rtol=1e-4)
    assert 0.8 < gain.min() < gain.max() < 1.2
    assert only(haze=0.4)[0].mean() > target[0].mean()
    difference = only(noise=0.05) - target
    assert difference.std(axis=(1, 2)).max() < 0.06
    flat = degrade(
        np.where(np.arange(60) < 30, target, np.nan),
        DegradationSettings(**off | {"blur_px": 3}),
        np.random.default_rng(3),
    )
    np.testing.assert_allclose(flat[:, :, :15], only(blur_px=3)[:, :, :15], atol=1e-3)  # the hole does not bleed


def test_the_drawn_strengths_are_those_of_the_image():
    target, settings = image(40), DegradationSettings(blur_px=0, noise=0)
    strengths = draw_strengths(target.shape, settings, np.random.default_rng(5))
    made = degrade(target, settings, np.random.default_rng(5))
    colour = target * strengths.gain + strengths.offset
    np.testing.assert_allclose(made, colour * (1 - strengths.haze) + AIRLIGHT * strengths.haze, atol=1e-6)
    assert strengths.blur == 0
    assert (strengths.noise == 0).all()
    assert (np.diff(strengths.haze.mean(axis=(1, 2))) < 0).all()  # blue most


def dataset(tmp_path, count=3, stage1=None, **data):
    for i in range(count):
        write_npz(tmp_path / "train" / f"tile_{i}.npz", tile_arrays(image(seed=i), 6, 4))
    settings = DataSettings(**{"tile_size": 16} | data)
    return RefineTiles(find_tiles(tmp_path, "train"), settings, stage1)


def test_samples_depend_on_tile_and_epoch_only(tmp_path):
    tiles, again = dataset(tmp_path), dataset(tmp_path)
    for read in (lambda d: d[1], lambda d: d.draw(Draw(1, 0)), lambda d: d.draw(Draw(1, 5))):
        a, b = read(tiles), read(again)
        assert all(np.array_equal(a[k], b[k]) for k in ("opt_v1", "target"))
    assert not np.array_equal(tiles.draw(Draw(1, 0))["opt_v1"], tiles.draw(Draw(1, 1))["opt_v1"])
    assert tiles[1]["opt_v1"].shape == (4, 20, 20)
    batch = tiles.batch([Draw(i, 0) for i in range(3)])
    assert batch["opt_v1"].shape == (3, 4, 16, 16)
    assert tiles.count(batch) == 3
    assert batch["month"].tolist() == [6, 6, 6]


def test_the_registered_dataset_has_the_roles_of_images(tmp_path):
    tiles, pairs = dataset(tmp_path), refine_tiles(str(tmp_path / "train"))
    assert isinstance(pairs, ImagePairs)
    np.testing.assert_array_equal(pairs[2]["image"], tiles[2]["opt_v1"])
    assert set(pairs[2]) == {"image", "target", "month", "biome", "time", "location"}


def test_windows_turn_input_and_target_alike(tmp_path):
    off = DegradationSettings(blur_px=0, noise=0, colour_gain=0, colour_offset=0, haze=0)
    tiles = dataset(tmp_path, 1, degradation=off, tile_size=20)
    seen = set()
    for epoch in range(60):
        sample = tiles.draw(Draw(0, epoch))
        np.testing.assert_allclose(sample["opt_v1"], sample["target"], atol=1e-6)
        seen.add(sample["target"].tobytes())
    assert len(seen) == 8
    still = dataset(tmp_path, 1, degradation=off, tile_size=20, use_augmentation=False)
    np.testing.assert_array_equal(still.draw(Draw(0, 3))["target"], image())
    with pytest.raises(ZooError, match="lower"):
        dataset(tmp_path, 1, tile_size=21).draw(Draw(0, 0))


def test_missing_in_either_image_is_missing_in_both(tmp_path):
    holed, partner = image(), image(seed=5)
    holed[:, 0, 0], partner[2, 3, 3] = np.nan, np.inf
    write_npz(tmp_path / "train" / "tile_0.npz", tile_arrays(holed, 6, 4))
    write_npz(tmp_path / "s1" / "tile_0.npz", {"opt_v1": partner})
    sample = RefineTiles(find_tiles(tmp_path, "train"), DataSettings(tile_size=16), tmp_path / "s1")[0]
    for key in ("opt_v1", "target"):
        missing = ~np.isfinite(sample[key]).all(axis=0)
        assert sorted(map(tuple, np.argwhere(missing).tolist())) == [(0, 0), (3, 3)]


def test_stage1_outputs_by_split_or_flat_and_their_mistakes(tmp_path):
    tiles = dataset(tmp_path, 1, None)
    with pytest.raises(ZooError, match="no output for 1 of 1 tiles"):
        RefineTiles(tiles.files, DataSettings(), tmp_path / "s1")
    write_npz(tmp_path / "s1" / "tile_0.npz", {"opt_v1": image(seed=7)})
    given = RefineTiles(tiles.files, DataSettings(), tmp_path / "s1")
    np.testing.assert_array_equal(given[0]["opt_v1"], image(seed=7))
    write_npz(tmp_path / "s1" / "train" / "tile_0.npz", {"opt_v1": image(seed=8)})
    np.testing.assert_array_equal(given[0]["opt_v1"], image(seed=8))
    for bad, message in (
        ({"x": np.ones(1)}, "has no 'opt_v1'"),
        ({"opt_v1": np.ones((12, 20, 20))}, "opt_v1 has shape"),
    ):
        write_npz(tmp_path / "s1" / "train" / "tile_0.npz", bad)
        with pytest.raises(ZooError, match=message):
            given[0]


def test_any_callable_is_a_stage_1(tmp_path):
    radar = {"s1_vv": np.full((20, 20), -10.0), "s1_vh": np.full((20, 20), -17.0)}
    write_npz(tmp_path / "data" / "train" / "a.npz", arrays(**radar))

    def generator(sar):
        return np.repeat((sar[:1] + 20) / 100, 4, axis=0)

    (file,) = write_stage1_outputs(generator, tmp_path / "data", tmp_path / "s1")
    files = find_tiles(tmp_path / "data", "train")
    sample = RefineTiles(files, DataSettings(), tmp_path / "s1")[0]
    np.testing.assert_allclose(sample["opt_v1"], np.full((4, 20, 20), 0.1), atol=1e-6)
    assert file == tmp_path / "s1" / "train" / "a.npz"
    with pytest.raises(ZooError, match="the generator returned"):
        write_stage1_outputs(lambda sar: sar, tmp_path / "data", tmp_path / "s1")
    write_npz(tmp_path / "data" / "train" / "a.npz", arrays())
    with pytest.raises(ZooError, match="no s1_vv and s1_vh"):
        write_stage1_outputs(generator, tmp_path / "data", tmp_path / "s1")


def test_splits_are_folders_and_max_samples_shortens_train_and_val(tmp_path):
    for split, seed in (("train", 0), ("train", 1), ("val", 2), ("test", 3)):
        write_npz(tmp_path / split / f"t{seed}.npz", tile_arrays(image(seed=seed), 6, 4), {"place": f"p{seed}"})
    data = DataSettings(max_samples=1)
    assert [len(split_files(tmp_path, name, data)) for name in ("train", "val", "test")] == [1, 1, 1]
    with pytest.raises(ZooError, match="is not set"):
        split_files(None, "train", data)
    with pytest.raises(ZooError, match=r"has no split 'nowhere'"):
        find_tiles(tmp_path, "nowhere")
    with pytest.raises(ZooError, match="holds no NPZ tile"):
        find_tiles(tmp_path / "no" / "folder", "train")


def given(samples, **data):
    """Somebody's samples (image, target and what else) as the task takes them."""
    made = Registered([dict(zip(("image", "target"), pair)) | more for *pair, more in samples], "somebody", PAIR)
    return GivenTiles(made, DataSettings(**{"tile_size": 16} | data), 0, False, None)


def test_somebodys_pairs_are_tiles_with_their_own_input():
    rough, fine = image(seed=1), image(seed=2)
    rough[1, 2, 3] = np.inf
    tiles = given([(rough, fine, {"month": 7}), (rough, fine, {"biome": 2, "month": 8})], default_biome=5)
    sample = tiles[0]
    assert [float(sample[name]) for name in ("month", "biome")] == [7, 5]
    assert float(tiles[1]["biome"]) == 2
    assert np.isnan(sample["time"]).all()
    missing = np.zeros((20, 20), bool)
    missing[2, 3] = True
    for name, values in (("opt_v1", rough), ("target", fine)):
        np.testing.assert_array_equal(np.isnan(sample[name]), np.broadcast_to(missing, (4, 20, 20)))
        np.testing.assert_array_equal(sample[name][:, ~missing], values[:, ~missing])
    drawn = tiles.batch([Draw(0, 1), Draw(1, 1)])
    assert drawn["opt_v1"].shape == (2, 4, 16, 16)
    assert not np.array_equal(drawn["target"][0], drawn["target"][1], equal_nan=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"month": 7}, r"somebody, sample 0: has no 'biome'; set data\.default_biome"),
        ({"month": 13, "biome": 1}, "somebody, sample 0: month 13 is not a whole number from 1 to 12"),
        ({"month": 7, "biome": 1, "image": image() * 1e4}, "somebody, sample 0: values up to .* are not reflectance"),
    ],
)
def test_what_somebodys_pairs_lack_is_one_line(more, message):
    with pytest.raises(ZooError, match=message):
        given([(image(), image(), more)])[0]


def test_small_pairs_give_their_largest_square_and_must_be_of_one_size_in_a_batch():
    small, smaller = image()[:, :12, :14], image()[:, :10, :10]
    tiles = given([(one, one, {"month": 7, "biome": 1}) for one in (small, smaller)])
    assert [tiles.draw(Draw(i, 0))["target"].shape for i in (0, 1)] == [(4, 12, 12), (4, 10, 10)]
    with pytest.raises(
        ZooError, match=r"10 x 10 and 12 x 12 px in one batch; set data\.tile_size to the smallest side"
    ):
        tiles.batch([Draw(0, 0), Draw(1, 0)])


def test_the_registered_tiles_fit_the_slot_of_their_task(tmp_path):
    for split in ("train", "val"):
        write_npz(tmp_path / split / "tile.npz", tile_arrays(image(seed=len(split)), 6, 4))
    made = Registered(refine_tiles(str(tmp_path), split="val"), "refine_tiles", PAIR)
    tiles = GivenTiles(made, DataSettings(tile_size=16), 0, False, None)
    assert tiles.files == [tmp_path / "val" / "tile.npz"]
    np.testing.assert_array_equal(tiles[0]["target"], image(seed=3))
    first, second = (tiles.draw(Draw(0, epoch)) for epoch in (0, 1))
    assert first["opt_v1"].shape == (4, 16, 16)
    assert not np.array_equal(first["opt_v1"], second["opt_v1"])
