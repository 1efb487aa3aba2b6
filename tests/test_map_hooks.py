"""What a task may say about its maps: its own blocks and layers, arrays for all windows, maps that are left alone."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from eozoo_core import Port, Run, ZooError
from eozoo_core.raster.cog import Band
from eozoo_core.raster.files import Layer, MapFiles, Shown
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.tiles import Tiling
from eozoo_core.settings.maps import MapInfer, MaskSettings
from eozoo_core.task import Survey, Task, maps
from eozoo_core.task.infer import Unfinished, infer
from eozoo_core.task.made_from import MadeWith, are_there
from eozoo_core.task.maps import draw_maps, layers_of, outputs_of
from eozoo_core.task.passes import Passes
from eozoo_core.task.scenes import Block, Scene
from eozoo_core.task.spread import combine, output_ports
from eozoo_core.task.windows import Drawn, map_raster

GRID = Grid(3, 4, rasterio.CRS.from_epsg(32616), rasterio.Affine(10, 0, 500000, 0, -10, 1400000))
HEIGHT = Port("height", "B H W", "m", spread="moments", quantity="canopy height")
WIDTH = Port("std", "B H W", "m", spread="deviation", of="height")
SHARES = Port("shares", "B C H W", "1", ("tree", "water"), spread="probabilities")
KIND = Port("kind", "B H W", spread="class", of="shares", legend=((10, "tree"), (20, "water")))


class Two:
    """Stands for a `Predictor` of two members: what they say follows from the image."""

    folder, multiple, most = None, 1, 4

    def __init__(self, inputs, declared, *says):
        self.survey, self.inputs, self.declared, self.says, self.seen = Survey(), inputs, declared, says, []
        self.names = [f"member {i}" for i in range(len(says))]
        self.outputs, self.factor, self.factor_source = output_ports(declared, len(says)), 1.0, "not fitted"

    def at_once(self, pixels):
        return self.most

    def quantities(self, arrays, members=""):
        self.seen.append(arrays)
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
        found = [say(tensors) for say in self.says]
        each = {name: one[members] for name, one in zip(self.names, found, strict=True)} if members else {}
        return combine(found, self.declared) | each


class Heights(Task):
    """A task whose maps come from nowhere: row r of a scene is r metres, its second member says two more."""

    def __init__(self, **infer):
        options = {"picture": False, **infer}
        runtime = type("Runtime", (), {"quiet": True, "device": "cpu"})()
        self.settings = type("Settings", (), {"infer": MapInfer(**options), "runtime": runtime})()

    def map(self, drawn, scene):
        for row in range(0, scene.grid.height, 2):
            count = min(2, scene.grid.height - row)
            rows = np.arange(row, row + count, dtype="float32")[None, :, None] * np.ones(
                (1, 1, scene.grid.width), "float32"
            )
            found = drawn({"image": rows})
            yield Block(row, {name: values[0] for name, values in found.items()})


def heights():
    image = Port("image", "B H W", "m")
    return Two((image,), (HEIGHT,), lambda a: {"height": a["image"]}, lambda a: {"height": a["image"] + 2})


def map_scene(task, predictor, scene, dest):
    steps = maps.map_scene(task, None, predictor, scene, dest)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value.files)


def read(file):
    with rasterio.open(file) as data:
        return data.read(), data.tags(), data.nodata, data.units


def test_blocks_of_a_tasks_own_become_maps_with_spread_members_and_tags(tmp_path):
    scene = Scene(tmp_path / "x.anything", GRID, name="2024/x", tags={"TIME": "noon"})
    files = map_scene(Heights(member_maps=True), heights(), scene, tmp_path)
    assert [f.relative_to(tmp_path).as_posix() for f in files] == [
        "2024/x_height.tif", "2024/x_epistemic_height_std.tif", "2024/x_members.tif",
    ]  # fmt: skip
    height, tags, nodata, units = read(files[0])
    np.testing.assert_array_equal(height[0], np.array([1, 2, 3])[:, None] * np.ones(4))  # means of r and r + 2
    assert (units, np.isnan(nodata), tags["TIME"], tags["SOURCE"]) == (("m",), True, "noon", "x.anything")
    assert (tags["QUANTITY"], tags["DRAWS"]) == ("canopy height", "2")
    np.testing.assert_array_equal(read(files[1])[0], np.ones((1, 3, 4)))
    np.testing.assert_array_equal(read(files[2])[0][:, :, 0], [[0, 1, 2], [2, 3, 4]])


def test_masked_pixels_are_missing_in_every_layer(tmp_path):
    clouds = np.zeros((1, 3, 4), "float32")
    clouds[0, 2, 1] = 80
    options = {"driver": "GTiff", "count": 1, "height": 3, "width": 4, "dtype": "float32"}
    with rasterio.open(tmp_path / "c.tif", "w", crs=GRID.crs, transform=GRID.transform, **options) as data:
        data.write(clouds)
    task = Heights(mask=MaskSettings(clouds=tmp_path / "c.tif"))
    for file in map_scene(task, heights(), Scene(tmp_path / "s.tif", GRID), tmp_path / "out"):
        assert np.argwhere(np.isnan(read(file)[0])).tolist() == [[0, 2, 1]]


def test_layers_of_a_tasks_own_name_type_and_nodata(tmp_path):
    class Rounded(Heights):
        def layers(self, outputs, run):
            code = lambda strip: np.where(strip["height"] > 2, np.float32(np.nan), strip["height"])[None]  # noqa: E731
            return [Layer("height_int8", (Band("height", "m"),), "int8", -128, code)]

    (file,) = map_scene(Rounded(), heights(), Scene(tmp_path / "s.tif", GRID), tmp_path)
    values, _, nodata, _ = read(file)
    assert (file.name, values.dtype, nodata) == ("s_height_int8.tif", np.int8, -128)
    assert values[0, :, 0].tolist() == [1, 2, -128]


def test_an_output_that_does_not_say_how_many_bands_it_has_gets_them_from_the_first_block(tmp_path):
    class Features(Heights):
        def map(self, drawn, scene):
            yield Block(0, {"features": np.arange(3, dtype="float32")[:, None, None] * np.ones((3, 4), "float32")})

    two = Two((Port("image", "B H W"),), (Port("features", "B D H W", "1"),), None)
    task = Features(picture=True)
    (file,) = map_scene(task, two, Scene(tmp_path / "s.tif", GRID), tmp_path)  # and no picture of one of them
    with rasterio.open(file) as data:
        assert data.descriptions == ("features 0", "features 1", "features 2")
        assert data.read()[:, 0, 0].tolist() == [0, 1, 2]


def test_maps_of_the_same_stamp_are_left_and_of_another_are_made_again(tmp_path):
    scene = Scene(tmp_path / "s.tif", GRID, stamp="a")
    (file, other) = map_scene(Heights(), heights(), scene, tmp_path)
    before = file.stat().st_mtime_ns
    again = heights()
    assert map_scene(Heights(), again, scene, tmp_path) == [file, other]
    assert (file.stat().st_mtime_ns, again.seen) == (before, [])
    other.unlink()
    map_scene(Heights(), again, scene, tmp_path)
    assert other.exists()
    assert again.seen  # one of them was missing: all are made
    again.seen.clear()
    map_scene(Heights(), again, dataclasses.replace(scene, stamp="b"), tmp_path)
    assert again.seen
    assert read(file)[1]["EOZOO_STAMP"] == "b"


def test_a_picture_is_of_the_maps_that_are_there_and_drawn_once(tmp_path, monkeypatch):
    file, picture = tmp_path / "s_height.tif", tmp_path / "s.png"
    ports, drawn = [Port("height", "B H W", "m")], []
    monkeypatch.setattr("eozoo_core.task.maps.quicklook", lambda panels, path, **_: drawn.append(panels[0].values))
    with MapFiles([(file, Layer("height", (Band("height", "m"),)))], GRID, {}) as files:
        rows = np.arange(GRID.height * GRID.width, dtype=np.float32).reshape(GRID.height, GRID.width)
        files.write_rows(0, {"height": rows}, np.eye(GRID.height, GRID.width, dtype=bool))
    shown = Shown({"height": file})
    draw_maps(ports, shown, picture)
    shown.in_memory = files.shown
    draw_maps(ports, shown, picture)
    np.testing.assert_array_equal(*drawn)  # from the file, and from memory
    assert np.isnan(drawn[0][0, 0])
    picture.touch()
    assert draw_maps(ports, shown, picture) == [picture]
    assert len(drawn) == 2
    os.utime(picture, ns=(0, file.stat().st_mtime_ns - 1))
    draw_maps(ports, shown, picture)
    assert len(drawn) == 3


def test_a_stamp_behind_a_long_head_is_found_too(tmp_path):
    scene = Scene(tmp_path / "s.tif", GRID, stamp="a", tags={"A_LONG": "x" * 30_000})
    files = map_scene(Heights(), heights(), scene, tmp_path)
    assert (are_there(files, "a"), are_there(files, "b"), are_there(files, "")) == (True, False, False)


def test_classes_follow_from_blended_probabilities():
    shares = np.array([[[0.2, 0.7, np.nan]], [[0.8, 0.3, np.nan]]], "float32")
    found = outputs_of(Block(0, {"shares": shares}), (SHARES, KIND))
    np.testing.assert_array_equal(found["kind"], [[20, 10, np.nan]])
    layer = next(layer for layer in layers_of((SHARES, KIND)) if layer.name == "kind")
    assert {value: c.name for value, c in layer.bands[0].classes.items()} == {10: "tree", 20: "water"}
    assert [band.name for band in layers_of((SHARES,))[0].bands] == ["shares tree", "shares water"]


def test_only_what_measures_the_quantity_is_tagged_with_it(tmp_path):
    labelled = [dataclasses.replace(layer, quantity="") for layer in layers_of((KIND,))]
    for layer in [*layers_of((HEIGHT, WIDTH)), *labelled]:
        with layer.writer(tmp_path / f"{layer.name}.tif", GRID, {"SOURCE": "x"}) as writer:
            writer.write_rows(0, np.full((1, 3, 4), 10, "float32"))
    tags = {name: read(tmp_path / f"{name}.tif")[1] for name in ("height", "std", "kind")}
    assert [tags[name].get("QUANTITY") for name in tags] == ["canopy height", None, None]
    assert tags["height"]["UNIT"] == "m"
    assert tags["kind"]["SOURCE"] == "x"


def test_a_missing_class_is_255_and_declared_so(tmp_path):
    codes = np.array([[10, 20, np.nan, 10]] * 3, "float32")
    (layer,) = layers_of((KIND,))
    with layer.writer(tmp_path / "kind.tif", GRID, {}) as writer:
        writer.write_rows(0, codes[None])
    values, _, nodata, _ = read(tmp_path / "kind.tif")
    assert (values.dtype, nodata, values[0, 0].tolist()) == (np.uint8, 255, [10, 20, 255, 10])


def test_every_window_gets_the_scenes_other_arrays_and_values_in_the_networks_unit(tmp_path):
    stored = np.arange(2 * 5 * 7).reshape(2, 5, 7).astype("float32") * 100
    np.save(tmp_path / "s.npy", stored)
    ports = (Port("image", "B C H W"), Port("month", "B", dtype="int64"))
    say = lambda a: {"height": a["image"].sum(1) + 10 * a["month"][:, None, None]}  # noqa: E731
    two = Two(ports, (HEIGHT,), say)
    two.survey, two.at_once = Survey(bands=Survey().bands[:2]), lambda pixels: 3
    arrays = {"month": np.int64(6)}
    scene = Scene(tmp_path / "s.npy", Grid(5, 7), (2, 1), arrays=arrays, values=lambda v: (v - 100) * np.float32(0.01))
    blocks = list(map_raster(Drawn(two, "", lambda *_: None), scene, Tiling(4, 2)))
    found = np.concatenate([block.values["height"] for block in blocks], axis=0)
    np.testing.assert_allclose(found, ((stored - 100) * 0.01).sum(0) + 60, rtol=1e-6)
    assert [block.row for block in blocks] == np.cumsum([0, *(len(b.values["height"]) for b in blocks[:-1])]).tolist()


def test_a_window_that_the_network_does_not_take_is_refused_in_one_line(tmp_path):
    np.save(tmp_path / "s.npy", np.ones((1, 90, 90), "float32"))
    scene, two = Scene(tmp_path / "s.npy", Grid(90, 90), (1,)), Two((Port("image", "B C H W"),), (HEIGHT,))
    with pytest.raises(ZooError, match=r"infer.window: 100 px is no multiple of 32 px.*--set infer.window=128$"):
        list(map_raster(Drawn(two, "", lambda *_: None), scene, Tiling(100, 8, 32)))
    assert not two.seen


def test_one_scene_that_does_not_open_hides_no_other(tmp_path, monkeypatch):
    class Picky(Heights):
        def find_scenes(self, source):
            return ["good", "bad"]

        def open_scene(self, found, survey):
            if found == "bad":
                raise ZooError("bad: does not open")
            return Scene(tmp_path / found, GRID)

    monkeypatch.setattr("eozoo_core.task.mapper.Predictor", lambda task, run: heights())
    monkeypatch.setattr("eozoo_core.task.mapper.MadeWith.of", lambda *_: MadeWith({}, [], {}))
    run = Run(tmp_path / "run", "heights", None)
    with pytest.raises(
        Unfinished, match=r"1 of 2 scenes failed, .*scenes.jsonl says why.*first: bad: does not"
    ) as told:
        infer(Picky(), run, tmp_path, tmp_path / "out")
    names = ["good_height.tif", "good_epistemic_height_std.tif", "scenes.jsonl"]
    assert [file.name for file in told.value.written] == names
    with pytest.raises(ZooError, match=r"^bad: does not open$"):
        infer(Picky(strict=True), run, tmp_path, tmp_path / "strict")


def test_without_an_image_there_is_no_map_and_one_line_says_so():
    series = (Port("bands", "B T C"), Port("doys", "B T"))
    drawn = Drawn(Two(series, (HEIGHT,)), "", lambda done, total: None)
    with pytest.raises(
        ZooError, match=r"^a\.tif: cannot be mapped: the task takes bands \(B, T, C\), doys \(B, T\), which"
    ):
        Task.map(Heights(), drawn, Scene(Path("a.tif"), GRID))


class Sums(Heights):
    """Maps rasters with the windows of core; a height is the sum of two bands."""

    map = Task.map

    def find_scenes(self, source):
        return sorted(source.glob("*.npy"))

    def open_scene(self, found, survey):
        return Scene(found, Grid(*np.load(found, mmap_mode="r").shape[1:]), (1, 2), missing=())


def sums():
    return Two((Port("image", "B 2 H W", "m"),), (HEIGHT,), lambda a: {"height": a["image"].sum(1)})


@pytest.fixture
def five(tmp_path, monkeypatch):
    """Five scenes, the fourth of another size, and a predictor that keeps what it is asked for."""
    for number in range(5):
        scene = np.random.default_rng(number).normal(size=(2, 20, 24 if number == 3 else 20))
        np.save(tmp_path / f"{number}.npy", scene.astype(np.float32))
    predictor = sums()
    predictor.survey = Survey(bands=Survey().bands[:2])

    def opened(task, run):
        predictor.most = task.settings.infer.batch_size
        return predictor

    monkeypatch.setattr("eozoo_core.task.mapper.Predictor", opened)
    monkeypatch.setattr("eozoo_core.task.mapper.MadeWith.of", lambda *_: MadeWith({}, [], {}))
    return tmp_path, predictor.seen, Run(tmp_path / "run", "heights", None)


def assert_right(folder, numbers):
    for number in numbers:
        expected = np.load(folder / f"{number}.npy").sum(0)
        np.testing.assert_allclose(read(folder / "out" / f"{number}_height.tif")[0][0], expected, rtol=1e-6)
        assert not (folder / "out" / f".{number}_maps.writer.json").exists()


@pytest.mark.parametrize(("batch", "passes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 1, 1, 1]), (4, [3, 1, 1]), (9, [3, 1, 1])])
def test_windows_of_small_scenes_share_a_pass_where_they_are_of_one_size(five, batch, passes):
    folder, seen, run = five
    files = infer(Sums(batch_size=batch), run, folder, folder / "out")
    assert [len(arrays["image"]) for arrays in seen] == passes
    assert [file.name for file in files] == [*[f"{number}_height.tif" for number in range(5)], "scenes.jsonl"]
    assert_right(folder, range(5))


def test_what_was_read_before_a_damaged_scene_is_mapped_and_nothing_of_it_is_left(five):
    folder, _, run = five
    whole = (folder / "2.npy").read_bytes()

    class Cut(Sums):
        def open_scene(self, found, survey):
            (folder / "2.npy").write_bytes(whole)
            scene = super().open_scene(found, survey)
            (folder / "2.npy").write_bytes(whole[:-100])  # cut short after its header was looked at
            return scene

    task = Cut(batch_size=9, strict=True)
    with pytest.raises(ZooError, match=r"2\.npy"):
        infer(task, run, folder, folder / "out")
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["0_height.tif", "1_height.tif", "scenes.jsonl"]
    assert_right(folder, range(2))
    with pytest.raises(Unfinished, match=r"1 of 5 scenes failed"):
        infer(Cut(batch_size=9), run, folder, folder / "out")
    assert_right(folder, [0, 1, 3, 4])


def test_who_is_stopped_while_scenes_wait_leaves_neither_parts_nor_leases(five, monkeypatch):
    folder, _, run = five
    monkeypatch.setattr("eozoo_core.task.passes.Passes._run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        infer(Sums(batch_size=4), run, folder, folder / "out")
    assert [file.name for file in (folder / "out").iterdir()] == ["scenes.jsonl"]


def test_only_the_scene_at_fault_fails_of_those_that_share_a_pass():
    def predict(arrays):
        if (arrays["x"] < 0).any():
            raise ZooError("below zero")
        return arrays

    passes = Passes(predict, lambda arrays: 9)
    good, bad, late = (passes.ask({"x": np.full((2, 1), value)}) for value in (1, -1, 2))
    assert late()["x"].tolist() == [[2], [2]]
    with pytest.raises(ZooError, match="below zero"):
        bad()
    assert good()["x"].tolist() == [[1], [1]]
