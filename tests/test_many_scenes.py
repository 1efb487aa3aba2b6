"""A list of scenes: what became of each, what is left to do, and the same maps whoever makes them."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo_core import Port, Run, ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.predict import parts_of
from eozoo_core.raster.tiles import Tiling
from eozoo_core.run.pool import Here
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task import Survey, sharing
from eozoo_core.task import mapper as mapping
from eozoo_core.task.infer import Unfinished, infer
from eozoo_core.task.made_from import MadeWith
from eozoo_core.task.mapper import GROUP, GROUP_BYTES, Mapper, groups
from eozoo_core.task.sharing import Job
from eozoo_core.task.survey import BandSurvey
from eozoo_core.task.windows import NotShared
from eozoo_core.task.worklist import WorkList, names_of, require_own_names
from test_map_hooks import HEIGHT, Sums, Two, read
from test_turns import MADE, work  # noqa: F401 - a fixture
from test_workers import cluster  # noqa: F401 - a fixture


def lines(out):
    return [json.loads(line) for line in (out / "scenes.jsonl").read_text().splitlines()]


def states(out):
    return {line["scene"]: line["state"] for line in lines(out)}


# -- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_says_what_became_of_each(work, monkeypatch):  # noqa: F811
    opening = work.task.open_scene

    def picky(found, survey):
        if found.name == "b.bin":
            raise ZooError(f"{found}: is bad; mend it")
        return opening(found, survey)

    monkeypatch.setattr(work.task, "open_scene", picky)
    with pytest.raises(Unfinished, match=r"^\S+source: 1 of 3 scenes failed, \S+scenes.jsonl says why") as told:
        work()
    assert len(told.value.written) == 5
    assert states(work.out) == {"a.bin": "done", "b.bin": "failed", "c.bin": "done"}
    done, failed = (next(line for line in lines(work.out) if line["state"] == state) for state in ("done", "failed"))
    assert failed["why"] == f"{work.source / 'b.bin'}: is bad; mend it"
    assert done["files"] == {name: (work.out / name).stat().st_size for name in done["files"]}
    assert list(done["files"]) == ["a_height.tif", "a_epistemic_height_std.tif"]
    assert (done["masked"], done["seconds"] > 0, len(done["stamp"])) == (0.0, True, 64)
    monkeypatch.setattr(work.task, "open_scene", opening)
    assert len(work()) == 7
    assert states(work.out)["b.bin"] == "done"


def test_what_is_finished_is_not_even_opened(work, monkeypatch):  # noqa: F811
    opened, opening = [], work.task.open_scene
    monkeypatch.setattr(
        work.task, "open_scene", lambda found, survey: opened.append(found.name) or opening(found, survey)
    )

    def again():
        opened.clear()
        assert len(work()) == 7
        return opened

    assert again() == ["a.bin", "b.bin", "c.bin"]
    assert again() == []
    (work.source / "b.bin").write_text("another")
    assert again() == ["b.bin"]
    (work.out / "c_height.tif").unlink()
    assert again() == ["c.bin"]
    (work.out / "a_height.tif").write_bytes((work.out / "a_height.tif").read_bytes() + b"x")  # somebody's overviews
    assert again() == ["a.bin"]
    assert again() == []
    work.task.settings.infer = work.task.settings.infer.model_copy(update={"overlap": 3})
    assert again() == ["a.bin", "b.bin", "c.bin"]
    monkeypatch.setattr(mapping.MadeWith, "of", lambda *_: replace(MADE, parts=["other weights"]))
    assert again() == ["a.bin", "b.bin", "c.bin"]
    monkeypatch.setattr(mapping.MadeWith, "of", lambda *_: MADE)
    work.task.settings.infer = work.task.settings.infer.model_copy(update={"workers": 1, "batch_size": 3, "overlap": 3})
    before = {file: file.stat().st_mtime_ns for file in work.out.glob("*.tif")}
    again()
    assert again() == []
    assert before != {file: file.stat().st_mtime_ns for file in work.out.glob("*.tif")}


def test_lines_of_others_and_lines_that_are_cut(tmp_path):
    (tmp_path / "scenes.jsonl").write_text(
        '{"scene": "a", "state": "failed", "why": "x"}\n{"scene": "a", "sta\n[1]\n\n{"scene": "b", "state": "open"}\n'
        '{"scene": "a", "state": "open"}\n{"scene": "z", "state": "done", "files": []}\n'
    )
    one = WorkList(tmp_path, ["a", "b", "c"])
    assert one.counts() == {"done": 0, "failed": 1, "open": 2}
    one.begin()
    assert (tmp_path / "scenes.jsonl").read_text().splitlines()[-1] == '{"scene": "c", "state": "open"}'


def test_names_in_the_list(tmp_path):
    files = [tmp_path / "a" / "x.tif", tmp_path / "x.tif", Path("/vsizip/x.tif")]
    assert names_of(files, tmp_path) == ["a/x.tif", "x.tif", "/vsizip/x.tif"]
    assert names_of([("2024", 1), ("2024", 2)], tmp_path) == ["2024", "2024 (2)"]
    with pytest.raises(ZooError, match=r"a/x.tif and \S+x.tif: their maps would have one name"):
        require_own_names(files)
    require_own_names([tmp_path / "x.csv", tmp_path / "x.tif"])


def test_a_disk_that_is_full_ends_the_work(work, monkeypatch):  # noqa: F811
    def full(handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ZooError, match=r"cannot be written .No space left"):
        work()
    assert not work.out.exists()


# -- workers ----------------------------------------------------------------------------------------------------------


def test_how_a_list_is_cut_depends_on_it_alone(tmp_path):
    for number in range(GROUP + 6):
        (tmp_path / f"{number:02d}").write_text("x")
    named = [(file.name, file) for file in sorted(tmp_path.iterdir())]
    os.truncate(tmp_path / "03", GROUP_BYTES + 1)
    sizes = [len(group) for group in groups([*named, ("url", Path("https:/x/y.tif")), ("own", object())])]
    assert sizes == [3, 1, GROUP, 2, 1, 1]
    assert [one for group in groups(named) for one in group] == named


def test_parts_of_a_scene_are_whole_rows_of_windows():
    tiling, grid = Tiling(10, 0, 1), Grid(100, 60)
    for batch in (1, 4, 9):
        parts = parts_of(tiling, grid, batch)
        assert [one for part in parts for one in part] == tiling.windows(100, 60)
        assert all(len(part) % 6 == 0 and len(part) >= 8 * batch for part in parts[:-1])
    assert len(parts_of(tiling, grid, 1)) == 5


def counting():
    """A network that betrays with how many others a window was predicted: a sum, and the size of its batch."""
    two = Two((Port("image", "B 2 H W", "m"),), (HEIGHT,), lambda a: {"height": a["image"].sum(1) + len(a["image"])})
    seen = (-2.0, -1.8, -1.6, -0.7, 0.0, 0.7, 1.6, 1.8, 2.0)
    two.survey = Survey(bands=[BandSurvey(name=name, count=1000, quantiles=seen) for name in ("east", "north")])
    two.most = 3
    return two


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A scene of many windows with a hole, a mapper of it, and what was predicted."""
    values = np.random.default_rng(1).normal(size=(2, 200, 90)).astype("float32")
    values[:, 10:60, 20:70] = np.nan
    np.save(tmp_path / "s.npy", values)
    two = counting()
    monkeypatch.setattr(mapping, "Predictor", lambda task, run: two)
    monkeypatch.setattr(mapping.MadeWith, "of", lambda *_: MadeWith({}, [], {}))
    task, run = Sums(window=16, overlap=4), Run(tmp_path / "run", "sums", None)
    return lambda name: Mapper(task, run, tmp_path / name), tmp_path / "s.npy", two


def test_shared_windows_are_predicted_in_the_batches_of_one_process(counted, tmp_path):
    made, scene, two = counted
    (alone,) = made("alone").group([("s", scene)])
    passes = [arrays["image"].shape for arrays in two.seen]
    two.seen.clear()
    job = Job(Sums, None, None, tmp_path / "shared", str(Path.cwd()), "x")
    driver = made("shared")
    sharing._mapper.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "_mapper", lambda job: made("shared"))
        (shared,) = driver.group([("s", scene)], share=job.over(Here(), "s", scene))
    assert (alone.state, shared.state) == ("done", "done")
    assert (alone.masked, alone.outside) == (shared.masked, shared.outside)
    assert 0.04 < alone.outside < 0.05  # of a standard normal distribution, 0.0455 beyond 2
    guards = [(tmp_path / name / "s_guard.json").read_text() for name in ("alone", "shared")]
    assert guards[0] == guards[1]
    first, second = (read(tmp_path / name / "s_height.tif")[0] for name in ("alone", "shared"))
    np.testing.assert_array_equal(first, second)
    assert np.isnan(first).any()
    of = [arrays["image"].shape for arrays in two.seen]
    assert [shape for shape in of if shape[0] > 1] == [shape for shape in passes if shape[0] > 1]


def test_small_scenes_and_maps_of_a_tasks_own_are_not_shared(counted, tmp_path, monkeypatch):
    made, scene, _ = counted
    never = lambda cuts: pytest.fail("asked")  # noqa: E731
    np.save(tmp_path / "small.npy", np.ones((2, 20, 20), "float32"))
    with pytest.raises(NotShared):
        made("out").group([("small", tmp_path / "small.npy")], share=never)
    monkeypatch.setattr(Sums, "map", lambda self, drawn, scene: iter([drawn({"image": np.ones((1, 2, 3, 3))})]))
    with pytest.raises(NotShared):
        made("out").group([("s", scene)], share=never)
    with suppress(FileNotFoundError):
        assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A trained run, nine scenes of which the fifth is damaged, and their maps as one process makes them."""
    root, name = tmp_path_factory.mktemp("many"), "pixelwise_regression"
    registry = Registry.discover().within(name)
    cls = registry.get("task", name)
    sample = cls.sample(root / "data")
    small = ["model.options={width: 4, depth: 2}", "train.epochs=1", "runtime={device: cpu, quiet: true}",
             "infer={picture: false, on_unlike: warn, window: 16, overlap: 4, batch_size: 2}",
             "eval.baselines=[]"]  # fmt: skip
    run = Run.create(root / "run", name, load_settings(cls.Settings, overrides=small, base=to_dict(sample.settings)))
    cls(run.settings, registry).train(run)
    run.release()
    (root / "in").mkdir()
    with rasterio.open(sample.source) as data:
        profile = {key: data.profile[key] for key in ("driver", "dtype", "count", "crs", "nodata", "transform")}
        for number in range(9):
            values = data.read(window=((number, number + 30), (0, 40)))
            with rasterio.open(root / "in" / f"{number}.tif", "w", height=30, width=40, **profile) as out:
                out.write(values)
                out.descriptions, out.units = data.descriptions, data.units
        (root / "in" / "4.tif").write_bytes(b"II*\0 no more")
        values = np.tile(data.read(), (1, 2, 1))
        with rasterio.open(root / "large.tif", "w", height=values.shape[1], width=values.shape[2], **profile) as out:
            out.write(values)
            out.descriptions, out.units = data.descriptions, data.units

    def mapped(source, dest, *overrides):
        opened = Run.open(run.path, cls.Settings, name, overrides)
        return infer(cls(opened.settings, registry), opened, root / source, root / dest)

    with pytest.raises(Unfinished, match="1 of 9"):
        mapped("in", "one")
    mapped("large.tif", "one")
    return root, mapped


def require_same(root, dest, more=""):
    files = [file for file in (root / "one").iterdir() if more or not file.name.startswith("large")]
    assert {file.name for file in (root / dest).iterdir()} == {file.name for file in files}
    for file in files:
        if file.suffix == ".json":
            assert file.read_text() == (root / dest / file.name).read_text()
        elif file.suffix == ".tif":
            first, second = read(file), read(root / dest / file.name)
            np.testing.assert_array_equal(first[0], second[0])
            assert first[1] == second[1]
    assert states(root / dest) == states(root / "one")


def test_two_processes_make_what_one_makes(real):
    root, mapped = real
    with pytest.raises(Unfinished, match=r"1 of 9 scenes failed.*4\.tif: cannot be read as a raster"):
        mapped("in", "two", "infer.workers=2")
    assert len({line["by"] for line in lines(root / "two")[9:]}) == 1  # who began writes the list
    require_same(root, "two")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_cluster_and_shared_windows_make_what_one_process_makes(request, real, kind):
    root, mapped = real
    how = "infer.workers=2" if kind == "processes" else f"infer.dask={request.getfixturevalue('cluster')}"
    with pytest.raises(Unfinished, match="1 of 9"):
        mapped("in", kind, how)
    mapped("large.tif", kind, how)
    require_same(root, kind, "large")


# -- dry run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_what_is_left_and_writes_nothing(real):
    root, _ = real
    registry = Registry.discover().within("pixelwise_regression")
    cls = registry.get("task", "pixelwise_regression")
    run = Run.open(root / "run", cls.Settings, "pixelwise_regression")
    task = cls(run.settings, registry)
    told = {line[:9].strip(): line[10:] for line in task.forecast(run, root / "in", root / "new")}
    assert told["scenes"] == "9: 0 done before, 9 to do"
    assert told[""].startswith("1 of 9 looked at fail, first: ")
    assert told["pixels"] == f"{9 * 30 * 40:,}, from the headers of 8"
    assert told["disk"].startswith(f"{9 * 30 * 40 * 2 * 4 / 1e6:.1f} MB of maps")
    assert not (root / "new").exists()
    told = task.forecast(run, root / "in", root / "one")
    assert told[:2] == ["scenes    9: 8 done before, 1 to do", "          1 of these failed before and are tried again"]
    with_windows = task.forecast(run, root / "large.tif", root / "new")
    assert "windows of 16 px of large.tif" in next(line for line in with_windows if line.startswith("measured"))
