"""Stacks, mosaics and patches: scaling by hand, bands by name, splits that never share a place, and bad input."""

import csv
import json

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import apply
from eozoo_core.raster.read import open_reader, read_info
from eozoo_core.raster.tiles import Window
from eozoo_core.task.splits import open_splits
from eozoo_gedi_sparse.pairs import patch_grids
from eozoo_gedi_sparse.prepare.patches import make_patches
from eozoo_gedi_sparse.prepare.scaling import backscatter, make_scale
from eozoo_gedi_sparse.prepare.settings import LayerSettings, PatchesSettings, StackSettings
from eozoo_gedi_sparse.prepare.splits import Placed, assign_blocks, make_blocks, require_disjoint
from eozoo_gedi_sparse.prepare.stack import make_stack
from eozoo_gedi_sparse.settings import DataSettings, GediRuntimeSettings, GediSettings
from eozoo_gedi_sparse.task import GediSparse
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from worker_jobs import Elsewhere

CRS = "EPSG:32647"


def write(path, values, names=None, col=0, row=0, pixel=10.0, nodata=None, crs=CRS):
    values = np.asarray(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(pixel, 0, 500_000.0 + col * pixel, 0, -pixel, 2_000_000.0 - row * pixel)
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"dtype": values.dtype.name, "crs": crs, "transform": place, "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        if names:
            file.descriptions = names
    return path


def test_backscatter_by_hand():
    np.testing.assert_allclose(
        backscatter(np.float32([-30.1, -30, -15, 0, 0.1]), False), [np.nan, 0, 0.5, 1, np.nan], rtol=1e-6
    )
    np.testing.assert_allclose(backscatter(np.float32([0.1, 0, -1]), True), [2 / 3, np.nan, np.nan], rtol=1e-6)


def scale_of(file, **layer):
    with open_reader(file) as reader:
        return make_scale(LayerSettings(source=file, **layer), reader, reader.info.bands)


def test_a_layer_of_sentinel_2_is_scaled_by_what_its_file_says_or_asked_for(tmp_path):
    file = write(tmp_path / "x_N0400_.tif", np.ones((1, 2, 2), np.uint16))
    scale, told = scale_of(file, scale="s2")
    np.testing.assert_allclose(scale(np.float32([0, 1000, 2500])), [np.nan, 0, 0.15], rtol=1e-6)
    assert "baseline 04.00 in its name" in told
    plain = write(tmp_path / "plain.tif", np.ones((1, 2, 2), np.uint16))
    with pytest.raises(ZooError, match="set s2_offset of its layer to -1000"):
        scale_of(plain, scale="s2")
    assert scale_of(plain, scale="s2", s2_offset=0)[0](np.float32([1000])) == pytest.approx(0.1)
    floats = write(tmp_path / "float_N0400_.tif", np.full((1, 2, 2), 0.3, "f4"))
    with pytest.raises(ZooError, match="reflectance as floats already; set scale: none"):
        scale_of(floats, scale="s2")


@pytest.mark.parametrize(
    ("scale", "most", "rest", "unit", "message"),
    [
        ("s1_linear", -12.0, -8.0, "", "are no linear power; set scale: s1_db"),
        ("s1_linear", 0.1, 0.2, "dB", "in dB are no linear power"),
        ("s1_linear", 120.0, 900.0, "", "calibrate it first"),
        ("s1_db", 0.1, 0.2, "", "are not dB.*set scale: s1_linear"),
        ("s1_db", 120.0, 900.0, "", "are not dB.*calibrate"),
        ("s1_db", -22.0, 3.0, "dB", None),
        ("s1_linear", 0.1, -0.001, "", None),  # noise removal leaves some below 0
    ],
)
def test_db_and_linear_power_are_told_apart(tmp_path, scale, most, rest, unit, message):
    file = write(tmp_path / "s1.tif", np.float32([[[most, most, most, rest]]]))
    with rasterio.open(file, "r+") as out:
        out.set_band_unit(1, unit)
    if message is None:
        assert scale_of(file, scale=scale)[1].startswith("backscatter")
    else:
        with pytest.raises(ZooError, match=message):
            scale_of(file, scale=scale)


def test_one_band_in_db_among_bands_of_power_is_named(tmp_path):
    power, db = np.full((2, 4), 0.1), np.full((2, 4), -12.0)
    file = write(tmp_path / "s1.tif", np.float32([power, power, db]), ["HH", "HV", "VV"])
    with pytest.raises(ZooError, match=r"s1\.tif: band VV: values -12 to -12 are no linear power"):
        scale_of(file, scale="s1_linear")


def layers(tmp_path):
    """Two Sentinel-2 tiles that overlap in column 3, of different baselines, and Sentinel-1 over all 6 columns."""
    west = np.arange(1, 9, dtype=np.uint16).reshape(1, 2, 4) * 100
    west[0, 0, 3] = 0
    east = np.full((1, 2, 3), 3000, np.uint16)
    write(tmp_path / "s2" / "a_N0300_.tif", west, ["B4"])
    write(tmp_path / "s2" / "b_N0400_.tif", east, ["B4"], col=3)
    write(tmp_path / "s1.tif", np.stack([np.full((2, 6), -15.0), np.full((2, 6), -6.0)]).astype("f4"), ["VV", "VH"])
    return [{"source": tmp_path / "s2", "scale": "s2"}, {"source": tmp_path / "s1.tif", "scale": "s1_db"}]


def test_a_stack_joins_tiles_and_orders_bands_by_name(tmp_path):
    some = StackSettings(layers=layers(tmp_path), bands=("VH", "B4"), dest=tmp_path / "stack.tif")
    make_stack(some)
    with rasterio.open(tmp_path / "stack.tif") as out:
        assert out.descriptions == ("VH", "B4")
        assert out.bounds == rasterio.coords.BoundingBox(500_000, 1_999_980, 500_060, 2_000_000)
        vh, b4 = out.read()
    np.testing.assert_allclose(vh, 0.8, rtol=1e-6)
    # overlap: the first tile where it has data, the second (with its own offset) where it has none
    expected = [[0.01, 0.02, 0.03, 0.2, 0.2, 0.2], [0.05, 0.06, 0.07, 0.08, 0.2, 0.2]]
    np.testing.assert_allclose(b4, expected, rtol=1e-5)
    before = (tmp_path / "stack.tif").stat().st_mtime_ns
    make_stack(some)
    assert (tmp_path / "stack.tif").stat().st_mtime_ns == before
    write(tmp_path / "s2" / "c_N0400_.tif", np.full((1, 2, 1), 4000, np.uint16), ["B4"], col=6)
    make_stack(some.model_copy(update={"layers": some.layers[:1], "bands": None}))
    with rasterio.open(tmp_path / "stack.tif") as out:
        assert out.width == 7


def test_files_of_several_bands_are_no_mosaic(tmp_path):
    """C08: of a product's folder the first band would be read, and nothing said of the others."""
    for band in ("B02", "B03"):
        write(tmp_path / "s2_N0509_" / f"T31_{band}_20m.tif", np.ones((1, 2, 2), np.uint16))
    layer = {"source": tmp_path / "s2_N0509_", "scale": "s2", "names": ["B2"]}
    with pytest.raises(ZooError, match=r"several bands \(B02, B03\).* give each band a layer of its own"):
        make_stack(StackSettings(layers=[layer], dest=tmp_path / "stack.tif"))


def test_resampling_leaves_missing_pixels_out(tmp_path):
    fine = np.full((1, 4, 4), 1000, np.uint16)
    fine[0, 0, 0], fine[0, :, 2:] = 0, 2000
    fine[0, 2:, :2] = 0
    source = write(tmp_path / "fine_N0300_.tif", fine, ["B4"], pixel=10)
    like = write(tmp_path / "coarse.tif", np.zeros((1, 2, 2), "f4"), pixel=20)
    layer = {"source": source, "scale": "s2", "resampling": "average"}
    make_stack(StackSettings(layers=[layer], grid={"like": like}, dest=tmp_path / "stack.tif"))
    with rasterio.open(tmp_path / "stack.tif") as out:
        np.testing.assert_allclose(out.read(1), [[0.1, 0.2], [np.nan, 0.2]], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": []}, "layers is empty"),
        ({"bands": ("VH", "B5")}, "no layer gives 'B5'"),
        ({"names": ["VV", "VV"]}, "two bands are called 'VV'"),
        ({"names": ["VV"]}, "2 bands are taken, 'names' of the layer has 1"),
        ({"place": {"col": 0.5}}, "do not lie on the grid's pixels"),
        ({"place": {"crs": "EPSG:32648"}}, "has CRS EPSG:32648, the grid EPSG:32647"),
        ({"place": {"pixel": 20.0}}, "do not lie on the grid's pixels"),
        ({"nameless": True}, "band 1 has no name"),
    ],
)
def test_bad_layers_are_one_line(tmp_path, change, message):
    found = layers(tmp_path)
    if "place" in change or "nameless" in change:
        names = None if "nameless" in change else ["VV", "VH"]
        write(tmp_path / "s1.tif", np.zeros((2, 2, 6), "f4"), names, **change.get("place", {}))
    if "names" in change:
        found[1]["names"] = change["names"]
    some = {
        "layers": found,
        "dest": tmp_path / "stack.tif",
        **{k: change[k] for k in ("layers", "bands") if k in change},
    }
    with pytest.raises(ZooError, match=message) as caught:
        make_stack(StackSettings(**some))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "stack.tif").exists()


def scene(tmp_path, height=70, width=90, labels=600, seed=0):
    """A stack of 2 bands with a missing corner, labels, and classes; every value tells its row and column."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    stack = np.stack([y, x]).astype("f4")
    stack[:, :10, :10] = np.nan
    label = np.full((height, width), np.nan, "f4")
    pick = rng.choice(height * width, labels, replace=False)
    label.flat[pick] = pick
    stack[0].flat[pick[:40]] = np.nan  # labels where a band is missing: they must not count
    classes = np.where(x % 7 == 0, 50, 10).astype(np.uint8)
    write(tmp_path / "stack.tif", stack, ["y", "x"], nodata=np.nan)
    write(tmp_path / "labels.tif", label[None], ["agbd"], nodata=np.nan)
    write(tmp_path / "classes.tif", classes[None])
    return stack, label, classes


def patches(tmp_path, **more):
    some = {"stack": tmp_path / "stack.tif", "labels": tmp_path / "labels.tif", "dest": tmp_path / "out", "size": 10}
    return PatchesSettings(**{**some, **more})


def read_index(dest):
    with (dest / "patches.csv").open() as file:
        return list(csv.DictReader(file))


def read_patch(dest, row, kind):
    return np.load(dest / kind / row["split"] / f"{row['name']}.npy", allow_pickle=False)


def test_patches_hold_what_the_rasters_hold_and_no_split_shares_a_pixel(tmp_path):
    stack, label, classes = scene(tmp_path)
    make_patches(patches(tmp_path, mask=tmp_path / "classes.tif", gap=2, block=20))
    owner, seen = np.full(label.shape, "", dtype=object), {"train": 0, "val": 0, "test": 0}
    for row in read_index(tmp_path / "out"):
        window = Window(int(row["row"]), int(row["col"]), 10, 10)
        image, target = (read_patch(tmp_path / "out", row, kind) for kind in ("input", "label"))
        assert (image.shape, target.shape, image.dtype) == ((2, 10, 10), (1, 10, 10), np.float32)
        np.testing.assert_array_equal(image, stack[(slice(None), *window.slices)])
        expected = np.where(classes[window.slices] == 50, np.nan, label[window.slices])
        np.testing.assert_array_equal(target[0], np.where(np.isnan(image).any(axis=0), np.nan, expected))
        assert int(row["labels"]) == np.isfinite(target).sum() > 0
        assert set(owner[window.slices].ravel()) <= {"", row["split"]}
        owner[window.slices] = row["split"]
        seen[row["split"]] += int(row["labels"])
    shares = np.array(list(seen.values())) / sum(seen.values())
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.05)
    # the gap: no two splits within 2 px of each other
    for split in seen:
        mine = owner == split
        grown = np.zeros_like(mine)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                grown |= np.roll(mine, (dy, dx), (0, 1))
        assert set(owner[grown].ravel()) <= {"", split}


def test_a_value_that_means_no_label_is_none(tmp_path):
    _, label, _ = scene(tmp_path)
    make_patches(patches(tmp_path))
    write(tmp_path / "labels.tif", np.where(np.isnan(label), -1, label)[None], ["agbd"], nodata=-9999)
    make_patches(patches(tmp_path, label_nodata=-1, dest=tmp_path / "again"))
    assert read_index(tmp_path / "again") == read_index(tmp_path / "out")


def test_random_training_windows_stay_in_their_blocks_and_are_the_same_each_time(tmp_path):
    scene(tmp_path)
    some = patches(tmp_path, train_windows=40, block=30, shares={"train": 0.85, "val": 0.15})
    make_patches(some)
    index = read_index(tmp_path / "out")
    assert sum(row["split"] == "train" for row in index) == 40
    make_patches(some.model_copy(update={"dest": tmp_path / "again"}))
    assert read_index(tmp_path / "again") == index


def test_tif_patches_keep_their_place_and_pass_the_training_check(tmp_path):
    scene(tmp_path)
    make_patches(patches(tmp_path, suffix="tif", size=16, max_missing=0.5))
    data = DataSettings(unit="Mg/ha")
    out = tmp_path / "out"
    runtime = GediRuntimeSettings(input_dir=out / "input", label_dir=out / "label")
    task = GediSparse(GediSettings(data=data, runtime=runtime), Registry.discover())
    splits = open_splits(task)
    assert list(splits) == ["train", "val", "test"]
    assert splits["train"].bands == ("y", "x")
    row = next(row for row in read_index(tmp_path / "out") if row["split"] == "val")
    with rasterio.open(tmp_path / "out" / "input" / "val" / f"{row['name']}.tif") as file:
        assert apply(file.transform, 8, 8) == pytest.approx((float(row["x"]), float(row["y"])))
    about = json.loads((tmp_path / "out" / "patches.json").read_text())
    assert about["crs"] == CRS


def test_npy_patches_lie_where_tif_patches_do_and_their_labels_too(tmp_path):
    scene(tmp_path)
    make_patches(patches(tmp_path, max_missing=0.5))
    make_patches(patches(tmp_path, max_missing=0.5, suffix="tif", dest=tmp_path / "tif"))
    grids = patch_grids(tmp_path / "out")
    assert len(grids) == len(read_index(tmp_path / "out")) > 5
    for (split, name), grid in grids.items():
        expected = read_info(tmp_path / "tif" / "input" / split / f"{name}.tif").grid
        assert (grid.height, grid.width, grid.crs) == (expected.height, expected.width, expected.crs)
        assert tuple(grid.transform) == pytest.approx(tuple(expected.transform))
    places = []
    for folder in ("out", "tif"):
        settings = GediSettings(runtime=GediRuntimeSettings(data_dir=tmp_path / folder))
        val = GediSparse(settings, Registry.discover()).data("val")
        places.append([tuple(val.grid(i).transform) for i in range(len(val))])
    np.testing.assert_allclose(places[0], places[1])


def test_a_second_call_writes_only_what_is_missing(tmp_path):
    scene(tmp_path)
    some = patches(tmp_path)
    make_patches(some)
    files = sorted((tmp_path / "out").glob("input/*/*.npy"))
    times = {f: f.stat().st_mtime_ns for f in files}
    content = files[3].read_bytes()
    files[3].unlink()
    make_patches(some)
    assert files[3].read_bytes() == content
    assert all(f.stat().st_mtime_ns == times[f] for f in files if f != files[3])
    with pytest.raises(ZooError, match="made from other rasters or settings"):
        make_patches(some.model_copy(update={"seed": 1}))


def test_a_patch_of_another_preparation_is_refused(tmp_path):
    scene(tmp_path)
    make_patches(patches(tmp_path))
    stranger = tmp_path / "out" / "input" / "test" / "r000000_c000000.npy"
    stranger.write_bytes(b"")
    with pytest.raises(ZooError, match=r"r000000_c000000\.npy: is not of this preparation"):
        make_patches(patches(tmp_path))


def test_overlap_is_loud():
    placed = [Placed("train", Window(0, 0, 10, 10)), Placed("train", Window(0, 5, 10, 10))]
    require_disjoint([*placed, Placed("val", Window(10, 0, 10, 10))], 30, 30)
    with pytest.raises(ZooError, match="r000009_c000014 of val overlaps a patch of train by 1 px"):
        require_disjoint([*placed, Placed("val", Window(9, 14, 10, 10))], 30, 30)


@given(
    st.lists(st.integers(0, 50), min_size=20, max_size=60),
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.3, 0.2), (0.85, 0.15)]),
    st.integers(0, 5),
)
@settings(max_examples=20)
def test_every_labelled_block_has_one_split_and_shares_are_near(labels, shares, seed):
    asked = dict(zip(("train", "val", "test"), shares))
    if sum(n > 0 for n in labels) < 12 or max(labels) > 0.1 * sum(labels):
        return
    owner = assign_blocks(labels, asked, seed)
    assert [o is None for o in owner] == [n == 0 for n in labels]
    for split, share in asked.items():
        got = sum(n for n, o in zip(labels, owner) if o == split) / sum(labels)
        assert abs(got - share) < 0.1


@given(st.integers(20, 90), st.integers(20, 90), st.integers(8, 40), st.integers(0, 5))
def test_blocks_do_not_touch_and_hold_a_patch(height, width, block, gap):
    size = min(block, 12, height, width)
    owner = np.zeros((height, width), int)
    for i, b in enumerate(make_blocks(height, width, max(block, size), gap, size), 1):
        assert min(b.height, b.width) >= size
        assert (owner[b.slices] == 0).all()
        owner[b.slices] = i
        assert owner[b.slices].shape == (b.height, b.width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 80}, "a patch of 80 px does not fit"),
        ({"size": 60}, "1 blocks hold labels, 3 splits need one each"),
        ({"max_missing": 0.0, "train_windows": 300}, "windows found with a label"),
        ({"mask": "classes.tif", "mask_classes": (10, 50)}, "has no label where"),
        ({"labels": "other.tif"}, "is not on the grid of"),
    ],
)
def test_impossible_patches_are_one_line(tmp_path, change, message):
    scene(tmp_path)
    write(tmp_path / "other.tif", np.ones((1, 70, 90), "f4"), col=1)
    change = {k: tmp_path / v if k in ("mask", "labels") else v for k, v in change.items()}
    some = patches(tmp_path, **change)
    with pytest.raises(ZooError, match=message) as caught:
        make_patches(some)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("input/*/*"))


def test_shares_that_blocks_cannot_give_are_refused():
    with pytest.raises(ZooError, match=r"would get 1\.0% of the labels instead of 40\.0%"):
        assign_blocks([98, 1, 1], {"train": 0.2, "val": 0.4, "test": 0.4}, 0)


@pytest.mark.parametrize("shares", [{"train": 1.0}, {"train": 0.5, "val": 0.4}, {"train": 0.9, "val": 0.1, "extra": 0}])
def test_shares_are_checked(shares):
    with pytest.raises(ValueError, match="shares"):
        PatchesSettings(shares=shares)


def test_workers_make_the_same_stack_and_patches_and_a_stopped_stack_goes_on(tmp_path, monkeypatch):
    from eozoo_gedi_sparse.prepare import stack

    monkeypatch.setattr(stack, "STRIP", 1)
    some = StackSettings(layers=layers(tmp_path), dest=tmp_path / "one.tif")
    make_stack(some)
    call, done = stack._Strips.__call__, []

    def stopping(self, row):
        if row:
            raise KeyboardInterrupt
        call(self, row)

    monkeypatch.setattr(stack._Strips, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        make_stack(some.model_copy(update={"dest": tmp_path / "two.tif"}))
    assert len(list(tmp_path.glob(".two.tif.*.unfinished/*.npy"))) == 1
    monkeypatch.setattr(stack._Strips, "__call__", lambda self, row: done.append(row) or call(self, row))
    make_stack(some.model_copy(update={"dest": tmp_path / "two.tif"}))
    assert done == [1]
    monkeypatch.undo()
    scene(tmp_path)
    make_patches(patches(tmp_path))
    make_stack(some.model_copy(update={"dest": tmp_path / "three.tif"}), pool=Elsewhere())
    make_patches(patches(tmp_path, dest=tmp_path / "shared"), pool=Elsewhere())
    read = [rasterio.open(tmp_path / f"{name}.tif").read() for name in ("one", "two", "three")]
    assert np.isfinite(read[0]).any()
    np.testing.assert_array_equal(read[0], read[1])
    np.testing.assert_array_equal(read[0], read[2])
    files = {file.relative_to(tmp_path / "out"): file.read_bytes() for file in (tmp_path / "out").rglob("*.*")}
    assert files == {f.relative_to(tmp_path / "shared"): f.read_bytes() for f in (tmp_path / "shared").rglob("*.*")}
    assert len(files) > 4
    assert not list(tmp_path.glob(".*"))
