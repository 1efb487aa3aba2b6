"""Images as people hold them: a raster under polygons or a label raster, folders of patches, several dates."""

import json
import pickle

import numpy as np
import pytest
import rasterio
from eozoo.builtin.image_settings import RegressionData, SegmentationData
from eozoo_core import ZooError
from eozoo_core.checking import Findings
from eozoo_core.errors import NoSplit
from eozoo_core.images.data import ImageData, survey_classes, survey_images
from eozoo_core.images.settings import ImageRuntime
from eozoo_core.raster.stack import Stack, by_date, date_of
from eozoo_core.raster.tiles import Window
from eozoo_core.run.directory import Run
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.schema import InferSettings
from eozoo_core.task.classes import ClassSurvey
from eozoo_core.task.evaluate import require_division
from eozoo_core.task.scenes import by_dates, open_dates
from eozoo_core.train.loading import Draw
from rasterio import Affine
from test_vector import pixels

shapely = pytest.importorskip("shapely")
PLACE = Affine(10, 0, 500_000, 0, -10, 5_600_000)
SIDE = 40
SPLITS = ("train", "val", "test")


def raster(path, values, crs="EPSG:32631", place=PLACE, names=(), nodata=0, kind="uint16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, dtype=kind, crs=crs,
                       transform=place, nodata=nodata) as out:  # fmt: skip
        out.write(values.astype(kind))
        if names:
            out.descriptions = names
    return path


@pytest.fixture
def scene(tmp_path):
    """40 x 36 px: band 1 is 1 + row, band 2 is 1 + column."""
    return raster(tmp_path / "scene.tif", np.mgrid[:SIDE, : SIDE - 4] + 1, names=("row", "col"))


def polygons(path, shapes, column, values):
    import pyogrio

    kind = np.array(values, object if isinstance(values[0], str) else None)
    pyogrio.raw.write(path, shapely.to_wkb(shapes), [kind, np.arange(len(shapes)) // 4], [column, "farm"],
                      geometry_type="Polygon", crs="EPSG:32631", driver="GPKG")  # fmt: skip
    return path


@pytest.fixture
def fields(tmp_path):
    """36 fields of 5 x 5 px in a grid of 6 px, so that windows of 8 px cut them; classes by turns."""
    shapes = [pixels(6 * c, 6 * r, 6 * c + 5, 6 * r + 5) for r in range(6) for c in range(6)]
    return polygons(tmp_path / "fields.gpkg", shapes, "crop", [("wheat", "beet", "maize")[i % 3] for i in range(36)])


def how(kind=SegmentationData, **more):
    return kind(window=8, crop=4, **more)


def opened(images, labels, settings, split):
    return ImageData(ImageRuntime(images=images, labels=labels), split, settings, 0)


def painted(data):
    """Labels of all windows on the whole raster, and how many windows show each pixel."""
    out, seen = np.full((SIDE, SIDE), np.nan), np.zeros((SIDE, SIDE), int)
    for i in range(len(data)):
        window, label = data.source.window(i), data.arrays(i)[1][0]
        out[window.slices] = np.where(np.isfinite(label), label, out[window.slices])
        seen[window.slices] += 1
    return out, seen


def test_a_field_is_in_one_split_whole_and_windows_hide_the_others(scene, fields):
    settings = how(label="crop", split={"block": 60.0, "val": 0.25, "test": 0.25})
    maps = {split: painted(opened(scene, fields, settings, split))[0] for split in (*SPLITS, "all")}
    labelled = np.stack([np.isfinite(maps[split]) for split in SPLITS])
    assert (labelled.sum(axis=0) <= 1).all()
    assert (labelled.any(axis=0) == np.isfinite(maps["all"])).all()
    assert labelled.sum() == 36 * 25
    for r in range(6):
        for c in range(6):
            field = np.s_[:, 6 * r : 6 * r + 5, 6 * c : 6 * c + 5]
            owner = [i for i in range(3) if labelled[field][i].any()]
            assert len(owner) == 1
            assert labelled[field][owner[0]].all()
            code = maps["all"][field[1:]]
            assert (code == (2, 0, 1)[(6 * r + c) % 3]).all()  # beet, maize, wheat: sorted
    data = opened(scene, fields, settings, "train")
    assert data.source.names == {0: "beet", 1: "maize", 2: "wheat"}
    window, (image, _) = data.source.window(0), data.arrays(0)
    assert (window.row, window.col) == (0, 0)
    np.testing.assert_array_equal(image[0], np.mgrid[1:9, 1:9][0])
    found = survey_classes(data, None)
    assert found.legend == ((0, "beet"), (1, "maize"), (2, "wheat"))
    assert sum(found.counts) == labelled[0].sum()


def test_fields_in_the_gap_are_in_no_split(scene, fields):
    settings = how(label="crop", split={"block": 60.0, "gap": 15.0})
    division = opened(scene, fields, settings, "train").division
    lost = np.flatnonzero(division.split == 3)
    assert 0 < len(lost) < 36
    for split in SPLITS:
        label = painted(opened(scene, fields, settings, split))[0]
        assert all(np.isnan(label[6 * (i // 6) : 6 * (i // 6) + 5, 6 * (i % 6) : 6 * (i % 6) + 5]).all() for i in lost)


def test_edges_are_padded_with_nothing(scene, fields):
    data = opened(scene, fields, how(label="crop", split={"block": 60.0}), "all")
    i = next(i for i in range(len(data)) if data.source.window(i).col == 32)
    image, label = data.arrays(i)
    assert image.shape == (2, 8, 8)
    assert np.isfinite(image[:, :, :4]).all()
    assert np.isnan(image[:, :, 4:]).all()
    assert np.isnan(label[:, :, 4:]).all()
    assert data.grid(i).transform.c == 500_320


def test_draws_hold_a_label_and_are_the_same_each_time_also_in_other_processes(scene, fields):
    from torch.utils.data import DataLoader

    data = opened(scene, fields, how(label="crop", split={"block": 60.0}), "train")
    draws = [Draw(i % len(data), e) for i in range(12) for e in (1, 2)]
    mine = [data.draw(draw) for draw in draws]
    whole = painted(opened(scene, fields, how(label="crop", split={"block": 60.0}), "train"))[0]
    for one in mine:
        there = np.isfinite(one["target"])[0]
        assert there.any()
        row, col = (one["image"][k][there].astype(int) - 1 for k in (0, 1))
        np.testing.assert_array_equal(one["target"][0][there], whole[row, col])
    assert len({one["image"].tobytes() for one in mine}) > 12

    class Drawn:
        def __len__(self):
            return len(draws)

        def __getitem__(self, k):
            return data.draw(draws[k])

    loaded = list(DataLoader(Drawn(), batch_size=None, num_workers=2))
    for one, other in zip(mine, loaded, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"].numpy())
        np.testing.assert_array_equal(one["target"], other["target"].numpy())


def test_a_label_raster_is_divided_by_whole_windows_and_those_without_label_are_left_out(scene, tmp_path):
    label = np.mgrid[:SIDE, : SIDE - 4][0][None] // 10 * 11 + 11
    label[:, :8, :16] = 0  # two windows without any
    path = raster(tmp_path / "label.tif", label)
    settings = how(split={"block": 80.0, "val": 0.2, "test": 0.2})
    parts = {split: painted(opened(scene, path, settings, split)) for split in (*SPLITS, "all")}
    assert (sum(parts[split][1] for split in SPLITS) == parts["all"][1]).all()
    assert parts["all"][1].max() == 1
    assert (parts["all"][1][:8, :16] == 0).all()
    seen = parts["all"][0][:, : SIDE - 4]
    np.testing.assert_array_equal(np.nan_to_num(seen), label[0])
    data = opened(scene, path, settings, "train")
    assert data.class_names == {11: "11", 22: "22", 33: "33", 44: "44"}
    assert data.division.labels.sum() == (label > 0).sum()
    assert [data.division.units.counts.sum(axis=0).tolist(), data.division.names] == [
        [10 * 36 - 128, 360, 360, 360], ("11", "22", "33", "44"),
    ]  # fmt: skip
    values = opened(scene, path, how(RegressionData, split={"block": 80.0}), "train").division.units
    assert values.weight[[0, 5]].tolist() == [0, 64]  # row 8: two rows of 11, six of 22
    assert values.values[5] == (2 * 11 + 6 * 22) / 8
    assert np.isnan(values.values[0])
    raster(tmp_path / "half.tif", label + 0.5, kind="float32")
    with pytest.raises(ZooError, match=r"half.tif: holds 0.5; classes are whole numbers"):
        opened(scene, tmp_path / "half.tif", settings, "train")


def test_labels_on_another_grid_are_those_of_the_nearest_pixel_and_it_is_said(scene, tmp_path):
    coarse = np.arange(1, 21).reshape(1, 5, 4)
    path = raster(tmp_path / "coarse.tif", coarse, place=PLACE @ Affine.scale(8, 9))
    data = opened(scene, path, how(split={"block": 80.0}), "all")
    expected = np.kron(coarse[0], np.ones((9, 8)))[:40]
    seen = painted(data)[0][:40, :32]
    np.testing.assert_array_equal(seen, expected)
    assert data.notes == (
        "coarse.tif: is on another grid (5 x 4 px, EPSG:32631) than the images: pixels get the label of its nearest "
        "pixel",
    )
    fine = np.repeat(np.repeat(np.arange(1, 81).reshape(1, 1, 80), 80, 1), 1, 2)
    path = raster(tmp_path / "fine.tif", fine, place=PLACE @ Affine.scale(0.5), kind="float32")
    values = painted(opened(scene, path, how(RegressionData, split={"block": 80.0}), "all"))[0]
    assert values[5, :4].tolist() == [1.5, 3.5, 5.5, 7.5]  # means of two columns of pixels
    far = raster(tmp_path / "far.tif", coarse, place=PLACE @ Affine.translation(1000, 0))
    with pytest.raises(ZooError, match=r"far.tif: does not touch the images"):
        opened(scene, far, how(), "train")
    moved = raster(tmp_path / "moved.tif", coarse, crs=None, place=PLACE)
    with pytest.raises(ZooError, match=r"moved.tif: .*cannot be placed without CRS"):
        opened(scene, moved, how(), "train")


def test_windows_of_small_rasters_are_smaller_and_one_window_cannot_be_divided(scene, tmp_path):
    path = raster(tmp_path / "label.tif", np.mgrid[:SIDE, : SIDE - 4][0][None] + 1)
    data = opened(scene, path, RegressionData(crop=4, split={"block": 40.0}), "all")
    assert data.source.window(0).height == 4  # 256, 128, ... 8 give fewer than 64
    assert data.together == 4096
    assert opened(scene, path, RegressionData(crop=16, split={"block": 40.0}), "all").source.window(0).height == 16
    with pytest.raises(ZooError, match=r"label.tif: 1 windows of 40 px hold labels, and 3 splits need one each"):
        opened(scene, path, RegressionData(window=64), "train")
    assert len(opened(scene, path, RegressionData(window=64), "all")) == 1


def test_splits_by_a_column_of_groups_and_by_words(scene, fields):
    by_farm = opened(scene, fields, how(label="crop", split={"column": "farm"}), "train").division
    farm = np.arange(36) // 4
    assert all(len(set(by_farm.split[farm == f])) == 1 for f in range(9))
    together = opened(scene, fields, how(label="crop", group="farm", split={"block": 60.0}), "train").division
    assert all(len(set(together.split[farm == f])) == 1 for f in range(9))
    shapes = [pixels(6 * c, 0, 6 * c + 5, 5) for c in range(6)]
    names = ["train", "val", "test", "train", "train", "train"]
    words = polygons(fields.with_name("words.gpkg"), shapes, "crop", names)
    by_words = opened(scene, words, how(label="crop", split={"column": "crop"}), "train").division
    assert by_words.split.tolist() == [0, 1, 2, 0, 0, 0]
    assert (by_words.given, by_farm.given) == (True, False)


def test_there_is_no_split_of_share_0_and_no_data_are_named(scene, fields):
    with pytest.raises(NoSplit, match=r"no window is in test"):
        opened(scene, fields, how(label="crop", split={"block": 60.0, "test": 0}), "test")
    with pytest.raises(NoSplit, match="no split 'tset'"):
        opened(scene, fields, how(label="crop", split={"block": 60.0}), "tset")
    with pytest.raises(ZooError, match=r"runtime.labels is not set"):
        opened(scene, None, how(), "train")
    with pytest.raises(ZooError, match=r"both set"):
        ImageData(ImageRuntime(images=scene, data_dir=scene.parent, labels=fields), "train", how(), 0)
    with pytest.raises(ZooError, match=r"gone.tif: no such file"):
        opened(scene.with_name("gone.tif"), fields, how(), "train")
    plain = raster(scene.with_name("plain.tif"), np.ones((2, 9, 9)), crs=None, place=Affine.identity())
    with pytest.raises(ZooError, match=r"cannot be laid over images without CRS"):
        opened(plain, fields, how(label="crop"), "train")
    away = raster(scene.with_name("away.tif"), np.ones((2, 9, 9)), crs="EPSG:32640")
    with pytest.raises(ZooError, match=r"none of its 36 labels lies on the images, which are at 57"):
        opened(away, fields, how(label="crop"), "train")


def test_names_of_classes_and_what_is_ignored(scene, fields):
    blocks = {"block": 60.0}
    given = opened(scene, fields, how(label="crop", classes={7: "wheat", 3: "beet", 5: "maize"}, split=blocks), "all")
    assert set(np.unique(painted(given)[0][:35, :35]).tolist()[:3]) == {3, 5, 7}
    with pytest.raises(ZooError, match=r"column crop: holds maize, which data.classes does not name"):
        opened(scene, fields, how(label="crop", classes=("wheat", "beet"), split=blocks), "train")
    two = how(label="crop", classes=("wheat", "beet"), label_nodata=("maize",), split=blocks)
    assert np.isfinite(painted(opened(scene, fields, two, "all"))[0]).sum() == 24 * 25
    with pytest.raises(ZooError, match=r"holds 'wheat', which is no number"):
        opened(scene, fields, how(RegressionData, label="crop", split=blocks), "train")
    # another place, where a class is missing, keeps the codes of training
    survey = ClassSurvey(legend=((0, "apple"), (1, "beet"), (2, "maize"), (3, "wheat")))
    settled = opened(scene, fields, how(label="crop", split=blocks), "all").settled(survey)
    assert painted(settled)[0][0, 0] == 3


def test_a_file_that_changes_is_opened_again(scene, tmp_path):
    settings = how(split={"block": 80.0})
    path = raster(tmp_path / "label.tif", np.full((1, SIDE, SIDE - 4), 3))
    first = opened(scene, path, settings, "train")
    assert opened(scene, path, settings, "val").source._layout is first.source._layout
    raster(tmp_path / "label.tif", np.full((1, SIDE, SIDE - 4), 123) + np.eye(SIDE)[:, 4:] * 500)
    assert opened(scene, path, settings, "train").class_names == {123: "123", 623: "623"}


def test_check_says_what_touches_and_finds_no_leak_in_windows_that_share_ground(scene, fields):
    from eozoo.builtin.image_settings import SegmentationSettings
    from eozoo.builtin.semantic_segmentation import SemanticSegmentation

    settings = SegmentationSettings(runtime={"images": scene, "labels": fields},
                                    data=how(label="crop", split={"block": 60.0}).model_dump())  # fmt: skip
    findings = Findings()
    SemanticSegmentation(settings).check(findings)
    said = {(one.level, one.subject): one.measured for one in findings.found}
    assert not findings.count("error")
    assert "show labels" in said["ok", "windows"]
    assert "each split sees its own" in said["ok", "windows"]
    assert ("warning", "splits") not in said  # 10 m apart
    assert not [subject for _, subject in said if subject.startswith("leakage")]
    label = raster(scene.with_name("label.tif"), np.mgrid[:SIDE, : SIDE - 4][0][None] // 10 + 1)
    settings = SegmentationSettings(
        runtime={"images": scene, "labels": label}, data=how(split={"block": 80.0}).model_dump()
    )
    findings = Findings()
    SemanticSegmentation(settings).check(findings)
    assert ("warning", "splits") in {(one.level, one.subject) for one in findings.found}


def test_dates_become_channels_and_a_scene_of_other_dates_has_them_in_their_order(tmp_path):
    values = np.ones((2, 8, 8))
    for month, scale in ((7, 300), (5, 100), (6, 200)):
        raster(
            tmp_path / f"dates/s2_2020-{month:02}-09_x.tif",
            scale * np.stack([values[0], 2 * values[1]]),
            names=("B4", "B8"),
        )
        raster(
            tmp_path / f"later/s2_2021{month:02}30.tif",
            scale * np.stack([2 * values[1], values[0]]),
            names=("B8", "B4"),
        )
    label = raster(tmp_path / "label.tif", np.arange(64).reshape(1, 8, 8) + 1)
    settings = RegressionData(window=4, crop=4, split={"block": 40.0})
    data = opened(tmp_path / "dates", label, settings, "all")
    assert data.bands == tuple(f"20200{m}09_{b}" for m in (5, 6, 7) for b in ("B4", "B8"))
    assert data.arrays(0)[0][:, 0, 0].tolist() == [100, 200, 200, 400, 300, 600]
    some = RegressionData(window=4, crop=4, bands=("20200709_B4", "20200509_B8"), split={"block": 40.0})
    assert opened(tmp_path / "dates", label, some, "all").arrays(0)[0][:, 0, 0].tolist() == [300, 200]
    files = sorted((tmp_path / "later").iterdir())
    (found,) = by_dates(files[::-1], data.bands)
    assert list(found) == files
    scene = open_dates(found, ("20200709_B4", "20200509_B8", "20200609_B4"), InferSettings())
    with scene.open() as reader:
        assert reader.read(Window(0, 0, 1, 1), scene.bands)[:, 0, 0].tolist() == [300, 200, 200]
    assert scene.notes == tuple(f"20210{m}30 stands for 20200{m}09" for m in (5, 6, 7))
    assert (scene.path, scene.reads) == (tmp_path / "later", tuple(files))
    with pytest.raises(ZooError, match="holds 2 rasters, and the run was trained on 3 dates"):
        by_dates(files[:2], data.bands)
    assert by_dates(files, ("B4", "B8")) == files


def test_a_process_reads_through_files_that_it_opened_itself(scene, monkeypatch):
    stack = Stack([scene])
    mine = stack._readers()[0]
    assert stack._readers()[0] is mine
    monkeypatch.setattr("eozoo_core.raster.stack.os.getpid", lambda: -1)  # as in a process that was forked
    assert stack._readers()[0] is not mine
    sent = pickle.loads(pickle.dumps(stack))  # to a process that was not
    np.testing.assert_array_equal(sent.read(Window(3, 4, 2, 2)), stack.read(Window(3, 4, 2, 2)))


def test_what_are_no_dates_is_said(tmp_path):
    one, two = (raster(tmp_path / f"{name}.tif", np.ones((1, 4, 4))) for name in ("20200101", "x"))
    assert (date_of(one), date_of(two), date_of(tmp_path / "T31_20201301")) == ("20200101", "", "")
    with pytest.raises(ZooError, match=r"x.tif: has no date in its name"):
        by_date([one, two])
    twice = raster(tmp_path / "a_2020-01-01.tif", np.ones((1, 4, 4)))
    with pytest.raises(ZooError, match=r"is of the date of"):
        by_date([one, twice])
    other = raster(tmp_path / "20200202.tif", np.ones((1, 4, 5)))
    with pytest.raises(ZooError, match=r"20200202.tif: is 4 x 5 px, .*20200101.tif 4 x 4; dates lie on one grid"):
        Stack([one, other])


@pytest.fixture
def patches(tmp_path):
    for i in range(12):
        (tmp_path / "all").mkdir(exist_ok=True)
        image = np.full((3, 8, 8), float(i)) + np.arange(3)[:, None, None]
        np.save(tmp_path / f"all/X_tile_{i}.npy", image)
        np.save(
            tmp_path / f"all/y_tile_{i}.npy",
            np.stack([np.full((8, 8), 100.0 + i), np.full((8, 8), np.nan if i == 5 else i)]),
        )
    return tmp_path / "all"


def test_patches_of_one_folder_are_paired_by_what_is_their_own_and_divided(patches):
    where = ImageRuntime(images=patches / "X_*", labels=patches / "y_*")
    settings = RegressionData(label=2, crop=4, split={"val": 0.25, "test": 0.25})
    seen = {}
    for split in SPLITS:
        data = ImageData(where, split, settings, 0)
        for i in range(len(data)):
            image, label = data.arrays(i)
            assert (label == image[0]).all()
            assert data.name(i) not in seen
            seen[data.name(i)] = split
    assert len(seen) == 11  # patch 5 has no label
    assert [list(seen.values()).count(split) for split in SPLITS] == [5, 3, 3]
    assert len(ImageData(where, "all", settings, 0)) == 12
    assert survey_images(ImageData(where, "train", settings, 0), "m").label.unit == "m"
    (patches / "y_tile_3.npy").unlink()
    with pytest.raises(ZooError, match=r"no label for this image"):
        ImageData(where, "train", settings, 0)


def test_npy_patches_lie_in_folders_of_splits_too(tmp_path):
    for split in SPLITS:
        for kind, value in (("image", 1.0), ("label", 2.0)):
            (tmp_path / split / kind).mkdir(parents=True)
            np.save(tmp_path / split / kind / "a.npy", np.full((1, 6, 6), value))
    data = ImageData(tmp_path, "train", RegressionData(crop=4), 0)
    assert data.item(0)["target"].shape == (1, 6, 6)
    assert len(ImageData(tmp_path, "all", RegressionData(crop=4), 0)) == 3


def test_georeferenced_patches_are_divided_by_place(tmp_path):
    for i in range(16):
        at = PLACE @ Affine.translation(8 * (i % 4), 8 * (i // 4))
        raster(tmp_path / f"image/{i}.tif", np.full((1, 8, 8), i + 1), place=at)
        raster(tmp_path / f"label/{i}.tif", np.full((1, 8, 8), 1 + i % 2), place=at)
    where = ImageRuntime(images=tmp_path / "image", labels=tmp_path / "label")
    data = ImageData(where, "train", SegmentationData(crop=4, split={"block": 160.0}), 0)
    split = dict(
        zip(range(16), data.division.split[np.argsort([int(f.stem) for f in sorted((tmp_path / "image").iterdir())])])
    )
    assert all(split[i] == split[i + 1] == split[i + 4] == split[i + 5] for i in (0, 2, 8, 10))
    assert data.division.names == ("1", "2")
    assert sorted(data.division.units.x[:2].tolist())[0] == 500_040


def test_a_registered_dataset_takes_the_place_of_files():
    from eozoo.builtin.image_settings import SegmentationSettings
    from eozoo.builtin.semantic_segmentation import SemanticSegmentation

    class Made:
        def create(self, kind, name, options):
            assert (kind, name, options) == ("dataset", "made", {"split": "train", "n": 3})
            return [
                {"image": np.full((2, 6, 6), i, "float32"), "target": np.full((1, 6, 6), i, "float32")}
                for i in range(3)
            ]

    settings = SegmentationSettings(data={"dataset": {"name": "made", "options": {"n": 3}}, "crop": 4})
    data = SemanticSegmentation(settings, Made()).data("train")
    assert (len(data), data.bands, data.class_names) == (3, ("band 1", "band 2"), {0: "0", 1: "1", 2: "2"})
    drawn = data.draw(Draw(2, 0))
    assert (drawn["image"].shape, drawn["target"].max()) == ((2, 4, 4), 2)


def test_settings_of_data_are_written_and_read_again():
    data = SegmentationData(label="crop", label_nodata=(99, "other"), classes={3: "a", 4: "b"})
    assert SegmentationData.model_validate_json(data.model_dump_json()) == data
    assert json.loads(data.model_dump_json())["split"]["by"] == "auto"


def test_splits_of_rasters_in_degrees_are_apart_along_both_axes(tmp_path):
    place = Affine(0.0001, 0, 179.999, 0, -0.0001, 60)  # 5.6 m x 11.1 m, across the antimeridian
    scene = raster(tmp_path / "s.tif", np.ones((1, 64, 64)), "EPSG:4326", place)
    label = raster(tmp_path / "l.tif", np.ones((1, 64, 64)), "EPSG:4326", place)
    data = opened(scene, label, how(RegressionData, split={"block": 250.0, "gap": 30.0}), "train")
    split = data.division.split.reshape(8, 8)
    for one, two in ((split[1:], split[:-1]), (split[:, 1:], split[:, :-1]), (split[1:, 1:], split[:-1, :-1])):
        assert ((one == two) | (one == 3) | (two == 3)).all()
    assert min(data.division.nearest.values()) >= 30
    assert data.division.units.size == pytest.approx((8 * 5.58, 8 * 11.14), rel=0.01)


def test_a_gap_is_measured_from_the_edges_of_polygons_of_any_size(scene, tmp_path):
    shapes = [pixels(0, 0, 20, 20), *(pixels(c, r, c + 1, r + 1) for r in (22, 30, 38) for c in (1, 9, 17, 25, 33))]
    file = polygons(tmp_path / "f.gpkg", shapes, "crop", [i % 2 for i in range(len(shapes))])
    division = opened(scene, file, how(label="crop", split={"block": 60.0, "gap": 45.0}), "train").division
    for s in range(3):
        mine, others = division.split == s, (division.split != s) & (division.split != 3)
        for shape in np.array(shapes)[mine]:
            assert shapely.distance(shape, np.array(shapes)[others]).min() >= 45


def test_long_codes_of_crops_are_names(scene, tmp_path):
    shapes = [pixels(6 * c, 6 * r, 6 * c + 5, 6 * r + 5) for r in range(6) for c in range(6)]
    file = polygons(tmp_path / "f.gpkg", shapes, "code", [3301010101 + i % 3 for i in range(36)])
    found = survey_classes(opened(scene, file, how(label="code", split={"block": 60.0}), "train"), None)
    assert found.legend == ((0, "3301010101"), (1, "3301010102"), (2, "3301010103"))


def test_255_that_nobody_named_is_asked_about(scene, tmp_path):
    label = np.arange(SIDE * (SIDE - 4)).reshape(1, SIDE, -1) % 3
    label[:, :, ::4] = 255
    path = raster(tmp_path / "l.tif", label, kind="uint8", nodata=None)
    with pytest.raises(ZooError, match="the labels hold 255, which often means no label"):
        survey_classes(opened(scene, path, how(), "train"), None)
    found = survey_classes(opened(scene, path, how(label_nodata=(255,)), "train"), None)
    assert [code for code, _ in found.legend] == [0, 1, 2]
    named = {0: "a", 1: "b", 2: "c", 255: "d"}
    assert len(survey_classes(opened(scene, path, how(classes=named), "train"), named).counts) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "farm"}, r"data\.group 'farm': the label raster l\.tif has no columns"),
        ({"layer": "a"}, r"data\.layer 'a': the label raster"),
        ({"label": 0}, "no band 0"),
        ({"label_nodata": tuple(range(300))}, "no window shows a label"),
        ({}, "holds 300 different labels: those are values, not 256 classes"),
    ],
)
def test_what_a_label_raster_cannot_be_asked_is_refused(scene, tmp_path, settings, message):
    path = raster(tmp_path / "l.tif", np.arange(SIDE * (SIDE - 4)).reshape(1, SIDE, -1) % 300, nodata=None)
    with pytest.raises((ZooError, NoSplit), match=message):
        opened(scene, path, how(**settings), "all")


def test_a_split_that_was_divided_otherwise_than_in_training_is_not_scored(scene, fields, tmp_path, capsys):
    run = Run(tmp_path / "run", "any", TaskSettings())
    settings = how(label="crop", split={"block": 60.0})
    opened(scene, fields, settings, "train").division.keep(run)
    for split in (*SPLITS, "all"):
        require_division(run, split, opened(scene, fields, settings, split), "refuse")
    shapes = [pixels(6 * c, 6 * r, 6 * c + 5, 6 * r + 5) for r in range(6) for c in range(6)][1:]
    polygons(fields, shapes, "crop", [("wheat", "beet", "maize")[i % 3] for i in range(35)])
    require_division(run, "all", opened(scene, fields, settings, "all"), "refuse")
    other = opened(scene, fields, how(label="crop", split={"block": 60.0, "seed": 1}), "train").division
    assert other.digest != opened(scene, fields, settings, "train").division.digest
    with pytest.raises(ZooError, match="test split: the data are divided otherwise than in training"):
        require_division(run, "test", opened(scene, fields, settings, "test"), "refuse")
    require_division(run, "test", opened(scene, fields, settings, "test"), "warn")
    assert "it may hold what was trained on" in capsys.readouterr().err


def test_classes_that_training_did_not_know_are_no_labels_of_another_place(scene, fields, tmp_path):
    survey = ClassSurvey(bands=(), counts=(1, 1), legend=((5, "beet"), (7, "maize")))
    data = opened(scene, fields, how(label="crop", split={"block": 60.0}), "all").settled(survey)
    assert set(np.unique(painted(data)[0][:35, :35]).tolist()[:2]) == {5, 7}
    assert "training knew no wheat: labels of it are not scored" in data.notes[-1]
    label = raster(tmp_path / "l.tif", np.arange(SIDE * (SIDE - 4)).reshape(1, SIDE, -1) % 4 + 4, nodata=None)
    data = opened(scene, label, how(), "all").settled(survey)
    assert np.unique(painted(data)[0][:, :36]).tolist()[:2] == [5, 7]
    assert "training knew no 4, 6: labels" in data.notes[-1]
