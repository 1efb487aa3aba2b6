import pickle

import eozoo_gedi_sparse.data
import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import open_reader
from eozoo_core.task.data import Batched, as_is
from eozoo_core.train.loading import Draw
from eozoo_gedi_sparse.data import Patches, sparse_tiles
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS, DataSettings
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from torch.utils.data import DataLoader

WHOLE = DataSettings(crop=None, flips=False)


def patch(bands=3, height=20, width=24, offset=0.0):
    """Every value tells its own place: band * 10,000 + row * 100 + column."""
    b, r, c = np.mgrid[:bands, :height, :width]
    return (b * 10_000 + r * 100 + c + offset).astype(np.float32)


def label(height=20, width=24, places=((3, 4), (15, 20))):
    array = np.full((1, height, width), np.nan, np.float32)
    for row, col in places:
        array[0, row, col] = row * 100 + col
    return array


def save(root, kind, split, name, array):
    path = root / kind / split / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def save_tif(root, kind, split, name, array, **profile):
    path = root / kind / split / f"{name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    names = profile.pop("names", None)
    base = {"crs": "EPSG:32647", "transform": from_origin(500_000, 2_000_000, 20, 20), "dtype": array.dtype}
    with rasterio.open(path, "w", "GTiff", width, height, count, **(base | profile)) as out:
        out.write(array)
        if names:
            out.descriptions = names
    return path


@pytest.fixture
def root(tmp_path):
    for name in ("b", "a", "c"):
        save(tmp_path, "input", "train", name, patch())
        save(tmp_path, "label", "train", name, label())
    return tmp_path


def open_tiles(root, data=WHOLE, split="train"):
    return sparse_tiles(root / "input", root / "label", split, data)


def open_windows(root, data, seed=0):
    return Patches(root / "input", root / "label", "train", data, seed)


def count(sample):
    return int(np.isfinite(sample["target"]).sum())


def names(tiles):
    return [file.stem for file in tiles.input_files]


def one_line(root, data=WHOLE, split="train"):
    with pytest.raises(ZooError) as caught:
        list(open_tiles(root, data, split))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_whole_patches_in_the_order_of_their_names(root):
    tiles = open_tiles(root)
    assert names(tiles) == ["a", "b", "c"]
    sample = tiles[1]
    np.testing.assert_array_equal(sample["image"], patch())
    assert sample["target"].shape == (1, 20, 24)
    assert sample["target"][0, 15, 20] == 1520
    assert {name: array.dtype for name, array in sample.items()} == dict.fromkeys(("image", "target"), np.float32)
    assert len(list(tiles)) == 3


def test_a_torch_loader_takes_the_data_set_as_it_is(root):
    (batch,) = DataLoader(open_tiles(root), batch_size=3)
    assert batch["image"].shape == (3, 3, 20, 24)
    assert batch["image"][1, 2, 0, 0] == 20_000


def test_column_major_files_read_the_same(root):
    save(root, "input", "train", "a", np.asfortranarray(patch()))
    np.testing.assert_array_equal(open_tiles(root)[0]["image"], open_tiles(root)[1]["image"])


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i2", "|u1"])
def test_any_number_type_becomes_float32(tmp_path, dtype):
    save(tmp_path, "input", "train", "a", np.arange(12).reshape(3, 2, 2).astype(dtype))
    save(tmp_path, "label", "train", "a", np.ones((1, 2, 2)))
    assert open_tiles(tmp_path)[0]["image"].flatten().tolist() == list(range(12))


def test_bands_by_index_and_name_in_the_asked_order(root):
    assert open_tiles(root, DataSettings(bands=(2, 0), crop=None))[0]["image"][:, 0, 0].tolist() == [20_000, 0]
    data = DataSettings(band_names=("red", "nir", "vh"), bands=("vh", "red", 1), crop=None)
    tiles = open_tiles(root, data)
    assert tiles[0]["image"][:, 0, 0].tolist() == [20_000, 0, 10_000]
    assert tiles.bands == ("vh", "red", "nir")


def test_fourteen_bands_have_their_documented_names(tmp_path):
    save(tmp_path, "input", "train", "a", patch(14, 4, 4))
    save(tmp_path, "label", "train", "a", np.ones((1, 4, 4)))
    tiles = open_tiles(tmp_path, DataSettings(bands=("VH", "B8A"), crop=None))
    assert tiles[0]["image"][:, 0, 0].tolist() == [130_000, 80_000]
    assert open_tiles(tmp_path).bands == DOCUMENTED_BANDS


def test_geotiff_bands_are_found_by_name_in_every_file(tmp_path):
    save_tif(tmp_path, "input", "train", "a", patch(2, 4, 4), names=("B4", "B8"))
    save_tif(tmp_path, "input", "train", "b", patch(2, 4, 4), names=("B8", "B4"))
    for name in ("a", "b"):
        save_tif(tmp_path, "label", "train", name, patch(2, 4, 4, 1.0), names=("cover", "rh95"))
    tiles = open_tiles(tmp_path, DataSettings(bands=("B8",), target="rh95", crop=None))
    assert [tiles[i]["image"][0, 0, 0].item() for i in range(2)] == [10_000, 0]
    assert tiles[0]["target"][0, 0, 0] == 10_001


def test_target_band_by_index_and_name(tmp_path):
    save(tmp_path, "input", "train", "a", patch(1, 4, 4))
    save(tmp_path, "label", "train", "a", patch(3, 4, 4))
    names = ("cover", "fhd", "rh95")
    assert open_tiles(tmp_path, DataSettings(target=2, crop=None))[0]["target"][0, 0, 0] == 20_000
    named = DataSettings(target="fhd", target_names=names, crop=None)
    assert open_tiles(tmp_path, named)[0]["target"][0, 0, 0] == 10_000


def test_missing_bands_take_the_label_away(root):
    image = patch()
    image[2, 3, 4] = np.nan
    image[1, 15, 20] = np.inf
    save(root, "input", "train", "a", image)
    assert count(open_tiles(root)[0]) == 0
    assert np.isnan(open_tiles(root)[0]["image"]).sum() == 2
    # Only chosen bands count.
    assert count(open_tiles(root, DataSettings(bands=(0,), crop=None))[0]) == 2
    assert count(open_tiles(root, DataSettings(bands=(0, 2), crop=None))[0]) == 1


def test_an_infinite_label_is_no_label(root):
    target = label()
    target[0, 3, 4] = -np.inf
    save(root, "label", "train", "a", target)
    sample = open_tiles(root)[0]
    assert count(sample) == 1
    assert np.isnan(sample["target"][0, 3, 4])


def test_declared_nodata_values(root):
    image, target = patch(), label()
    image[0, 15, 20] = -9999
    target[np.isnan(target)] = -1
    save(root, "input", "train", "a", image)
    save(root, "label", "train", "a", target)
    sample = open_tiles(root, DataSettings(input_nodata=-9999, label_nodata=-1, crop=None))[0]
    assert count(sample) == 1
    assert sample["target"][0, 3, 4] == 304
    assert np.isnan(sample["image"][0, 15, 20])


def test_zero_in_one_band_masks_the_pixel(root):
    image = patch(offset=1.0)
    image[2, 3, 4] = 0
    image[0, 15, 20] = 0  # an honest zero in another band stays
    save(root, "input", "train", "a", image)
    sample = open_tiles(root, DataSettings(zero_is_nodata_in=2, bands=(0, 1), crop=None))[0]
    assert np.isnan(sample["image"][:, 3, 4]).all()
    assert sample["image"].shape[0] == 2
    assert count(sample) == 1
    assert sample["image"][0, 15, 20] == 0


def test_integer_raster_with_nodata(tmp_path):
    image = np.array([[[1, 2], [3, 0]]], np.uint16)
    save_tif(tmp_path, "input", "train", "a", image, nodata=0)
    save_tif(tmp_path, "label", "train", "a", np.array([[[7, 7], [255, 7]]], np.uint8), nodata=255)
    sample = open_tiles(tmp_path)[0]
    assert np.isnan(sample["image"]).tolist() == [[[False, False], [False, True]]]
    assert np.isnan(sample["target"]).tolist() == [[[False, False], [True, True]]]


# --- training windows ------------------------------------------------------------------------------------------------


@given(crop=st.integers(1, 40), index=st.integers(0, 50), epoch=st.integers(0, 3), seed=st.integers(0, 2**40))
def test_windows_are_true_pieces_and_hold_a_label(tmp_path_factory, crop, index, epoch, seed):
    root = tmp_path_factory.getbasetemp() / "windows"
    if not root.exists():
        save(root, "input", "train", "a", patch())
        save(root, "label", "train", "a", label())
    sample = open_windows(root, DataSettings(crop=crop), seed=seed).draw(Draw(index, epoch))
    image, target = sample["image"], sample["target"]
    crop = min(crop, 24)  # no larger than the largest patch
    assert image.shape == (3, crop, crop)
    assert count(sample) >= 1
    inside = np.isfinite(image[0])
    assert inside.sum() == min(crop, 20) * min(crop, 24)
    # Bands moved together, and the label of a pixel is still row * 100 + column, which is what band 0 holds.
    assert np.array_equal(image[2][inside], image[0][inside] + 20_000)
    labelled = np.isfinite(target[0])
    assert np.array_equal(target[0][labelled], image[0][labelled])
    values = np.unique(image[0][inside])
    assert values.size == inside.sum()


def test_all_eight_orientations_occur(tmp_path):
    save(tmp_path, "input", "train", "a", patch(1, 2, 2))
    save(tmp_path, "label", "train", "a", np.ones((1, 2, 2)))
    tiles = open_windows(tmp_path, DataSettings(crop=2))
    seen = {tuple(tiles.draw(Draw(0, epoch))["image"].flatten().tolist()) for epoch in range(80)}
    assert len(seen) == 8


def test_whole_oblong_patches_keep_their_shape(root):
    tiles = open_windows(root, DataSettings(crop=None))
    samples = [tiles.draw(Draw(0, epoch))["image"] for epoch in range(30)]
    assert {tuple(s.shape) for s in samples} == {(3, 20, 24)}
    assert len({s[0, 0, 0].item() for s in samples}) == 4


def test_a_window_reads_each_file_once(root, monkeypatch):
    tiles = open_windows(root, DataSettings(crop=8, crops_per_patch=1))
    opened = []
    monkeypatch.setattr(
        eozoo_gedi_sparse.data, "open_reader", lambda file: opened.append(file.parent.parent.name) or open_reader(file)
    )
    assert np.isfinite(tiles.draw(Draw(0, 3))["target"]).any()
    assert sorted(opened) == ["input", "label"]


def test_windows_reach_every_pixel(root):
    tiles = open_windows(root, DataSettings(crop=7, crop_on_label=False, flips=False))
    seen = np.concatenate([tiles.draw(Draw(0, epoch))["image"][0].flatten() for epoch in range(600)])
    assert np.unique(seen).size == 20 * 24


def test_without_labels_a_window_still_comes(tmp_path):
    save(tmp_path, "input", "train", "a", patch())
    save(tmp_path, "label", "train", "a", label(places=()))
    assert count(open_windows(tmp_path, DataSettings(crop=5)).draw(Draw(0, 0))) == 0


def test_draws_follow_from_seed_epoch_and_index_alone(root):
    data = DataSettings(crop=6, crops_per_patch=2)
    tiles, other = (open_windows(root, data, seed) for seed in (3, 4))
    assert tiles.draws == 6
    draws = [Draw(i, epoch) for epoch in range(2) for i in range(6)]
    alone = [tiles.draw(d) for d in draws]
    loaded = DataLoader(
        Batched(open_windows(root, data, 3)), batch_size=2, sampler=draws, num_workers=2, collate_fn=as_is
    )
    batches = list(loaded)
    for name in ("image", "target"):
        np.testing.assert_array_equal(np.concatenate([b[name] for b in batches]), np.stack([s[name] for s in alone]))
    images = [s["image"] for s in alone]
    assert any((images[0] != image).any() for image in (images[3], images[6]))  # same patch, next draw or epoch
    assert any((other.draw(d)["image"] != image).any() for d, image in zip(draws, images))


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_missing_partners_are_listed_or_counted(root):
    save(root, "input", "train", "lonely", patch())
    save(root, "label", "train", "orphan", label())
    message = one_line(root)
    assert "lonely.npy: has no label" in message
    assert "orphan.npy: has no input" in message
    tiles = open_tiles(root, DataSettings(skip_unpaired=True))
    assert len(tiles) == 3
    assert len(tiles.skipped) == 2


def test_no_folder_no_pair_and_twins(root):
    assert "has no split 'tarin'. Did you mean 'train'?" in one_line(root, split="tarin")
    assert "nowhere/input/test: is no folder" in one_line(root / "nowhere", split="test")
    (root / "input" / "val").mkdir()
    (root / "label" / "val").mkdir()
    assert "no input has a label" in one_line(root, split="val")
    save_tif(root, "input", "train", "a", patch())
    assert "a.npy and a.tif share a name" in one_line(root)


def broken(path, kind):
    good = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(good[:-100])
    elif kind == "cut in the header":
        path.write_bytes(good[:40])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not an array")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind == "objects":
        np.save(path, np.array([[[{"a": 1}]]], object), allow_pickle=True)
    elif kind == "archive":
        with path.open("wb") as out:
            np.savez(out, a=np.zeros(3))
    else:
        np.save(path, {"complex": patch().astype(complex), "flat": np.zeros(5), "no pixels": np.zeros((3, 0, 4))}[kind])


BROKEN = [
    "truncated",
    "cut in the header",
    "empty",
    "text",
    "pickle",
    "objects",
    "archive",
    "complex",
    "flat",
    "no pixels",
]


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("side", ["input", "label"])
def test_a_broken_array_is_one_line_that_names_it(root, kind, side):
    path = root / side / "train" / "b.npy"
    broken(path, kind)
    assert one_line(root).startswith(str(path))
    tiles = open_tiles(root, DataSettings(on_unreadable="skip"))
    assert names(tiles) == ["a", "c"]
    assert tiles.skipped[0].startswith(str(path))


def test_a_raster_cut_off_after_its_header(tmp_path):
    for name in ("a", "b"):
        save_tif(tmp_path, "input", "train", name, np.random.default_rng(0).random((3, 200, 200)).astype(np.float32))
        save_tif(tmp_path, "label", "train", name, np.ones((1, 200, 200), np.float32))
    path = tmp_path / "input" / "train" / "a.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert str(path) in one_line(tmp_path)
    assert len(open_tiles(tmp_path, DataSettings(on_unreadable="skip"))) == 1


def test_a_window_is_no_larger_than_the_largest_patch(root):
    windows = open_windows(root, DataSettings(crop=5000))
    assert windows.draw(Draw(0, 0))["image"].shape == (3, 24, 24)  # patches of 20 x 24 px, filled up to a square


def test_wrong_band_counts(root):
    path = save(root, "input", "train", "b", patch(4))
    assert f"{path}: has 4 bands" in one_line(root)
    assert "band_names" in one_line(root, DataSettings(band_names=("x", "y")))
    assert "index 3" in one_line(root, DataSettings(bands=(0, 3)))
    assert "no names" in one_line(root, DataSettings(bands=("B4",)))
    assert "Did you mean 'red'" in one_line(root, DataSettings(bands=("rad",), band_names=("red", "nir", "vh")))
    assert "data.target asks for index 1" in one_line(root, DataSettings(target=1))


def test_labels_of_several_bands_need_a_choice_and_no_band_is_input_and_label(root):
    path = save(root, "label", "train", "b", np.concatenate([label(), label()]))
    assert one_line(root) == f"{path}: has 2 bands; choose one with data.target"
    one = DataSettings(bands=(0, 1), target=2)
    assert len(sparse_tiles(root / "input", root / "input", "train", one)) == 3
    with pytest.raises(ZooError, match=r"a.npy: its band 2 is input and label at once"):
        sparse_tiles(root / "input", root / "input", "train", DataSettings(bands=(0, 1), target=1))


def test_label_of_other_size_crs_or_place(tmp_path):
    save_tif(tmp_path, "input", "train", "a", patch(2, 8, 8))

    def with_label(array, **profile):
        save_tif(tmp_path, "label", "train", "a", array, **profile)
        return one_line(tmp_path)

    assert "is 8 x 9 px" in with_label(np.ones((1, 8, 9), np.float32))
    assert "has CRS EPSG:32648" in with_label(np.ones((1, 8, 8), np.float32), crs="EPSG:32648")
    shifted = from_origin(500_010, 2_000_000, 20, 20)
    assert "+0.50 columns" in with_label(np.ones((1, 8, 8), np.float32), transform=shifted)
    nearly = from_origin(500_000 + 1e-4, 2_000_000, 20, 20)
    save_tif(tmp_path, "label", "train", "a", np.ones((1, 8, 8), np.float32), transform=nearly)
    assert len(open_tiles(tmp_path)) == 1
