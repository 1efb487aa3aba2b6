"""What core has for tasks of images and for data of any kind: splits, surveys, samples cut from a made world."""

import math

import numpy as np
import pytest
import rasterio
import torch
from eozoo_core import ZooError
from eozoo_core.images.data import ImageData, image_port, survey_classes, survey_images
from eozoo_core.images.sample import LABELLED, SPLITS, write_world
from eozoo_core.images.settings import ImageDataSettings
from eozoo_core.raster.cog import Band
from eozoo_core.raster.read import read_info
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.settings import TrainSettings
from eozoo_core.task import Survey
from eozoo_core.task.baselines import constant, most_frequent
from eozoo_core.task.data import Batched, Data, as_is, in_groups, stack, tensors
from eozoo_core.task.graph import example
from eozoo_core.task.loss import called_with
from eozoo_core.task.reading import reading_notes
from eozoo_core.task.scenes import choose_bands
from eozoo_core.task.survey import Carried, surveyed
from eozoo_core.train.loading import Draw
from eozoo_core.train.schedule import plan_steps
from eozoo_core.train.timetable import passes

PROFILE = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32647", "nodata": -9999.0}
PLACE = rasterio.Affine(10, 0, 480_000, 0, -10, 2_000_000)


def write(file, values, names=(), units=()):
    file.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    options = {**PROFILE, "count": count, "height": height, "width": width, "transform": PLACE}
    with rasterio.open(file, "w", **options) as out:
        out.write(values.astype("float32"))
        if names:
            out.descriptions, out.units = names, units
    return file


def crop(side):
    return ImageDataSettings(crop=side)


@pytest.fixture
def folder(tmp_path):
    """Two images of 4 x 6 px with two bands: 0..23 and their tens; labels are 100 more than the first band."""
    for i in range(2):
        image = np.stack([np.arange(24).reshape(4, 6) + i, 10 * np.arange(24).reshape(4, 6)])
        image[0, 0, 0] = -9999
        write(tmp_path / f"train/image/{i}.tif", image, ("red", "nir"), ("1", "1"))
        write(tmp_path / f"train/label/{i}.tif", np.where(image[:1] < 0, 7, image[:1] + 100))
    return tmp_path


def test_items_are_whole_and_labels_are_missing_where_a_band_is(folder):
    data = ImageData(folder, "train", crop(4), 0)
    assert (len(data), data.bands, data.units, len(data.files)) == (2, ("red", "nir"), ("1", "1"), 4)
    item = data.item(0)
    assert item["image"].shape == (2, 4, 6)
    assert np.argwhere(np.isnan(item["target"])).tolist() == [[0, 0, 0]]
    assert data.grid(0).transform == PLACE
    assert data.name(1).endswith("train/image/1.tif")


def test_a_draw_is_a_turned_window_of_image_and_label_alike_and_the_same_each_time(folder):
    data = ImageData(folder, "train", crop(3), 0)
    seen = set()
    for epoch in range(8):
        one, again = data.draw(Draw(1, epoch)), data.draw(Draw(1, epoch))
        np.testing.assert_array_equal(one["image"], again["image"])
        assert one["image"].shape == (2, 3, 3)
        there = np.isfinite(one["target"])
        np.testing.assert_array_equal(one["target"][there], one["image"][:1][there] + 100)
        seen.add(one["image"].tobytes())
    assert len(seen) > 4
    with pytest.raises(ZooError, match=r"image/1.tif: is smaller than data.crop=5"):
        ImageData(folder, "train", crop(5), 0).draw(Draw(1, 0))


def test_what_does_not_go_together_is_named(folder):
    with pytest.raises(ZooError, match=r"runtime.data_dir is not set"):
        ImageData(None, "train", crop(4), 0)
    with pytest.raises(ZooError, match=r"val/image: holds no .tif"):
        ImageData(folder, "val", crop(4), 0)
    write(folder / "train/label/1.tif", np.zeros((1, 3, 6)))
    with pytest.raises(ZooError, match=r"label/1.tif: is 3 x 6 px, its image .*1.tif 4 x 6"):
        ImageData(folder, "train", crop(4), 0).item(1)
    for moved, words in (({"crs": "EPSG:32648"}, "has CRS EPSG:32648"), ({"at": 5}, r"lies \+5.00 columns and")):
        label = write(folder / "train/label/1.tif", np.zeros((1, 4, 6)))
        with rasterio.open(label, "r+") as out:
            out.crs = moved.get("crs", out.crs)
            out.transform = out.transform * rasterio.Affine.translation(moved.get("at", 0), 0)
        with pytest.raises(ZooError, match=rf"label/1.tif: {words}.*its image .*1.tif"):
            ImageData(folder, "train", crop(4), 0).item(1)
    write(folder / "train/image/1.tif", np.zeros((1, 4, 6)))
    with pytest.raises(ZooError, match=r"image/1.tif: has 1 bands, 0.tif 2"):
        ImageData(folder, "train", crop(4), 0).item(1)
    (folder / "train/label/1.tif").unlink()
    with pytest.raises(ZooError, match=r"label/1.tif: no label for this image"):
        ImageData(folder, "train", crop(4), 0)
    assert "target" not in ImageData(folder, "train", crop(4), 0, labelled=False).item(0)


def test_the_survey_knows_bands_label_and_classes(folder):
    data = ImageData(folder, "train", crop(4), 0)
    found = survey_images(data, "m")
    assert (found.names, found.label.unit) == (("red", "nir"), "m")
    assert found.bands[0].count == 46  # of 48, two are missing
    assert found.bands[0].low == 1
    assert found.mean[1] == pytest.approx(115)
    port = image_port(found)
    assert (port.unit, port.bands, port.std) == ("1", ("red", "nir"), found.std)
    assert image_port(Survey()).bands == ()
    for i in range(2):
        write(folder / f"train/label/{i}.tif", np.array([[[0, 1, 1, 2, -9999, 1]] * 4]))
    assert survey_classes(ImageData(folder, "train", crop(4), 0), ("a", "b", "c")).counts == (
        6,
        24,
        8,
    )  # (0, 0) has no band
    with pytest.raises(ZooError, match=r"label/0.tif: holds the label 2, data.classes names 0 a, 1 b"):
        survey_classes(ImageData(folder, "train", crop(4), 0), ("a", "b"))
    for i in range(2):
        write(folder / f"train/label/{i}.tif", np.full((1, 4, 6), -9999))
    with pytest.raises(ZooError, match="every label is missing"):
        survey_images(ImageData(folder, "train", crop(4), 0))


def test_statistics_become_a_survey_and_come_back_from_a_checkpoint():
    statistics = ChannelStatistics(["a", "b"])
    statistics.update(np.array([[1.0, 3.0, np.nan], [5.0, 5.0, 8.0]]))
    a, b = surveyed(statistics, ("m", "K"))
    assert (a.name, a.unit, a.mean, a.std, a.low, a.high, a.count) == ("a", "m", 2.0, 1.0, 1.0, 3.0, 2)
    assert (b.mean, b.count) == (6.0, 3)
    survey = Survey(bands=(a, b))
    assert Survey.model_validate(Carried(survey).state_dict()) == survey


class Numbers(Data):
    together = 3

    def __len__(self):
        return 7

    def item(self, index):
        return {"x": np.full(2, index, "float32"), "target": np.array([np.nan if index % 2 else index], "float32")}


def test_data_of_single_items_become_batches():
    data = Numbers()
    assert [list(group) for group in in_groups(data, range(len(data)))] == [[0, 1, 2], [3, 4, 5], [6]]
    assert sorted(data.order(0, 1)) == list(range(7))
    batch = as_is(Batched(data).__getitems__([Draw(3, 0), Draw(4, 0), Draw(6, 0)]))
    assert batch["x"].tolist() == [[3, 3], [4, 4], [6, 6]]
    assert batch["count"] == 2  # one label of three is missing
    assert data.count({"x": np.zeros((5, 2))}) == 5
    assert stack([{"a": 1}, {"a": 2}])["a"].tolist() == [1, 2]
    assert tensors({"a": np.ones((2, 3))[:, ::-1]})["a"].dtype == torch.float64
    assert data[6]["x"].tolist() == [6, 6]
    with pytest.raises(IndexError):
        data[7]


def test_a_registered_loss_gets_arrays_by_role_from_network_and_batch():
    loss = called_with(lambda a, b: ((a - b).sum(), 2), "mine", "y", "target")
    raw, batch = {"y": torch.ones(2)}, {"target": torch.zeros(2), "y": torch.full((2,), 9.0)}
    assert loss(raw, batch) == {"loss": (torch.tensor(2.0), 2)}  # the network's "y" is first
    with pytest.raises(ZooError, match=r"model.loss.name: mine is called with 'target', which is neither among y"):
        loss(raw, {})


def test_a_made_world_becomes_splits_that_do_not_touch(tmp_path):
    rows, columns = np.mgrid[:400, :336]
    world = np.stack([rows, columns, rows, columns]).astype("float32")
    bands = tuple(Band(name, "px") for name in "abcd")
    scene, batch = write_world(tmp_path, world, bands, rows * 1000 + columns, Band("number", "m"))
    assert batch["image"].shape == (2, 4, 32, 32)
    corners = []
    for split in ("train", "val", "test"):
        data = ImageData(tmp_path, split, crop(32), 0)
        assert len(data) == SPLITS.count(split)
        for i in range(len(data)):
            image, label = data.arrays(i)
            there = np.isfinite(label)
            np.testing.assert_array_equal(label[there], (image[0] * 1000 + image[1])[None][there])
            assert math.isclose(there.mean(), LABELLED, abs_tol=0.04)
            corners.append((image[0].min(), image[1].min()))
    assert all(max(abs(a - c), abs(b - d)) >= 56 for i, (a, b) in enumerate(corners) for c, d in corners[:i])
    with rasterio.open(scene) as data:
        assert (data.shape, data.descriptions, data.units[0]) == ((96, 144), tuple("abcd"), "px")
    with pytest.raises(ValueError, match="too small"):
        write_world(tmp_path, world[:, :300], bands)


def test_simple_predictors_give_the_same_everywhere():
    batch = {"target": np.zeros((2, 3, 4, 5), "float32")}
    assert most_frequent((3, 9, 1))["most frequent class"](batch)["class"].tolist() == np.ones((2, 3, 4, 5)).tolist()
    found = constant({"values": np.array([1, 2, 3])[:, None, None]})(batch)["values"]
    assert (found.shape, found[1, :, 3, 4].tolist()) == ((2, 3, 4, 5), [1, 2, 3])


def test_an_example_without_rows_and_columns_has_two_samples():
    """Else a missing value would leave nothing to compare."""
    from eozoo_core import Port

    assert example(Port("x", "B 2", "m"), 32).shape == (2, 2)
    assert example(Port("image", "B C H W", "m", ("a", "b", "c")), 32).shape == (1, 3, 32, 32)


def test_bands_are_found_by_name_in_every_file_and_values_that_mean_missing_are_set(folder):
    image = np.stack([np.full((4, 6), 5.0), np.arange(24).reshape(4, 6)])  # nir first
    write(folder / "train/image/1.tif", image, ("nir", "red"), ("1", "1"))
    how = ImageDataSettings(crop=4, bands=("B8", "B4"), nodata=(230,), label_nodata=(123,))
    data = ImageData(folder, "train", how, 0)
    assert data.bands == ("nir", "red")
    first, label = data.arrays(0)
    assert np.argwhere(np.isnan(first[0])).tolist() == [[3, 5]]
    assert np.isnan(label[0, 3, 5])
    np.testing.assert_array_equal(data.arrays(1)[0], image)
    assert choose_bands(read_info(write(folder / "x.tif", np.ones((5, 4, 6)))), ("band 4", "band 2")) == (4, 2)
    with pytest.raises(ZooError, match=r"0\.tif: no band is called 'B11'"):
        ImageData(folder, "train", ImageDataSettings(bands=("B11",)), 0)


def test_what_was_decided_while_reading_is_told(folder):
    with rasterio.open(folder / "train/image/0.tif", "r+") as file:
        file.scales, file.offsets = (0.5, 1.0), (0.0, 0.0)
    data = ImageData(folder, "train", crop(4), 0)
    assert data.arrays(0)[0][0, 0, 1:4].tolist() == [0.5, 1, 1.5]
    assert reading_notes(data) == ["0.tif: values by the file's scale and offset tags: stored x 0.5"]


def test_few_samples_are_passed_several_times_an_epoch():
    """Five draws in batches of two, three steps at least: passes in full, each drawn as an epoch by itself would be."""

    class Five(Data):
        def __len__(self):
            return 5

        def order(self, seed, epoch):
            return np.roll(np.arange(5), epoch)

        def batch(self, draws):
            assert len({draw.epoch for draw in draws}) == 1
            return {"x": np.array([(draw.index, draw.epoch) for draw in draws])}

    train = TrainSettings(epoch_steps=4, batch_size=2)
    assert passes(train, 5) == 2
    assert passes(train, 9) == 1
    drawn = Batched(Five(), 2)
    order = drawn.order(0, 3)
    seen = drawn.__getitems__([Draw(number, 3) for number in order])["x"]
    assert seen.tolist() == [[(i - e) % 5, e] for e in (6, 7) for i in range(5)]
    assert plan_steps(train, 5).per_epoch == len(drawn) // 2 == 5
