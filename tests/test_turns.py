"""Several workers on one folder of maps: a scene is one worker's, and finished maps are known by their stamp."""

import os
import shutil
import time

import numpy as np
import pytest
import rasterio
from eozoo_core import Run
from eozoo_core.raster.trust import files_of
from eozoo_core.run import lease
from eozoo_core.run.lease import take
from eozoo_core.run.owner import Owner, start_of
from eozoo_core.run.writing import temporary_beside
from eozoo_core.task.infer import infer
from eozoo_core.task.made_from import MadeWith, steadily
from eozoo_core.task.scenes import Scene
from eozoo_core.task.turns import lease_of
from test_lease import dead_by, in_child, written_by
from test_map_hooks import GRID, Heights, heights, read

MADE = MadeWith(
    {"EOZOO_RUN": "runs/a", "EOZOO_CHECKPOINT": "0123", "EOZOO_VERSION": "eozoo 1"}, ["weights"], {"bias": 1}
)


class Files(Heights):
    """Every file of a folder is a scene."""

    def find_scenes(self, source):
        return sorted(source.iterdir())

    def open_scene(self, found, survey):
        return Scene(found, GRID)


@pytest.fixture
def work(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name in "abc":
        (source / f"{name}.bin").write_text(name)
    monkeypatch.setattr("eozoo_core.task.mapper.Predictor", lambda task, run: heights())
    monkeypatch.setattr("eozoo_core.task.mapper.MadeWith.of", lambda *_: MADE)
    task, of = Files(), Run(tmp_path / "run", "heights", None)
    task.settings.runtime.quiet = False

    def run():
        return [file.name for file in infer(task, of, source, tmp_path / "out")]

    run.source, run.out, run.task = source, tmp_path / "out", task
    return run


def test_maps_say_what_they_are_from(work):
    assert len(work()) == 7
    _, tags, _, _ = read(work.out / "a_height.tif")
    assert {name: tags[name] for name in MADE.tags} == MADE.tags
    assert sorted(file.name for file in work.out.iterdir() if file.name.startswith(".")) == []


def test_what_is_there_from_the_same_is_left_and_said(work, monkeypatch, capsys):
    work()
    before = {file.name: file.stat().st_mtime_ns for file in work.out.iterdir()}
    (work.source / "b.bin").write_text("changed")
    (work.out / "c_height.tif").unlink()
    capsys.readouterr()
    assert len(work()) == 7
    after = {file.name: file.stat().st_mtime_ns for file in work.out.iterdir()}
    assert {name for name in after if after[name] == before[name]} == {"a_height.tif", "a_epistemic_height_std.tif"}
    assert "1 of 3 scenes were mapped before from the same; their maps are left" in capsys.readouterr().err
    monkeypatch.setattr("eozoo_core.task.mapper.MadeWith.of", lambda *_: MadeWith(MADE.tags, ["others"], MADE.settings))
    work()
    assert (work.out / "a_height.tif").stat().st_mtime_ns != before["a_height.tif"]


def test_a_second_worker_takes_other_scenes(work, capsys):
    """This process maps a; the other worker maps b and c, says who has a, and comes back to it."""
    held = take(work.out / ".a_maps.writer.json", "a")
    pid, text = in_child(work)
    os.waitpid(pid, 0)
    assert "a_height" not in text
    assert "b_height.tif" in text
    assert "c_height.tif" in text
    pid, text = in_child(lambda: (work(), capsys.readouterr().err))
    os.waitpid(pid, 0)
    assert f"1 scene is being mapped by {Owner.here()}; the same command again" in text
    assert "2 of 3 scenes were mapped before" in text
    held.release()
    assert len(work()) == 7


def test_all_in_other_hands_is_no_error(work):
    for name in "abc":
        take(work.out / f".{name}_maps.writer.json", name)
    pid, text = in_child(work)
    os.waitpid(pid, 0)
    assert text == "['scenes.jsonl']"
    shutil.rmtree(work.out)


def test_a_scene_of_a_worker_that_ends_meanwhile_is_looked_at_again(work, monkeypatch):
    other = work.out / ".a_maps.writer.json"
    work.out.mkdir()
    written_by(other, pid=os.getppid(), started=start_of(os.getppid()))
    mapping = Heights.map

    def ends(self, drawn, scene):
        other.unlink(missing_ok=True)  # while b is mapped the other one ends
        return mapping(self, drawn, scene)

    monkeypatch.setattr(Heights, "map", ends)
    assert len(work()) == 7


def test_a_killed_workers_scene_is_mapped(work):
    work.out.mkdir()
    dead_by(lambda: take(work.out / ".a_maps.writer.json", "a"))
    dead_by(lambda: temporary_beside(work.out / "a_height.tif").mkdir())  # rows of a killed one
    assert len(work()) == 7
    assert [file.name for file in work.out.iterdir() if file.name.startswith(".")] == []


def test_one_on_another_machine_is_waited_for_by_nobody(work, monkeypatch):
    work.out.mkdir()
    file = work.out / ".a_maps.writer.json"
    written_by(file, 60.0, host="elsewhere")
    begun = time.monotonic()
    assert len(work()) == 5
    assert time.monotonic() - begun < 5
    monkeypatch.setattr(lease, "STALE", 50.0)
    assert len(work()) == 7


def test_scenes_of_one_name_in_two_folders_are_two(tmp_path):
    names = [lease_of(tmp_path, Scene(tmp_path / "x.tif", GRID, name=name)) for name in ("", "2023/x", "2024/x")]
    assert len(set(names)) == 3
    assert names[2] == tmp_path / "2024" / ".x_maps.writer.json"


def test_files_of_a_raster(tmp_path):
    """A VRT's sources and theirs, what GDAL reads beside a file, and nothing else."""
    options = {"driver": "GTiff", "count": 1, "height": 3, "width": 4, "dtype": "float32", "crs": GRID.crs}
    for name in ("a.tif", "b.tif", "other.tif"):
        with rasterio.open(tmp_path / name, "w", transform=GRID.transform, **options) as data:
            data.write(np.ones((1, 3, 4), "float32"))
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.png").write_text("a picture")
    source = '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource>'
    for name, of in (("inner", "a.tif"), ("outer", "inner.vrt")):
        (tmp_path / f"{name}.vrt").write_text(f"<VRTDataset>{source.format(of)}</VRTDataset>")
    assert [file.name for file in files_of(tmp_path / "outer.vrt")] == [
        "outer.vrt", "inner.vrt", "a.tif", "a.tif.aux.xml", "a.json",
    ]  # fmt: skip
    assert files_of("netcdf:x/a.nc:t2m")[0].as_posix() == "x/a.nc"
    made = MadeWith({}, [], {})
    assert made.marked(Scene(tmp_path / "gone.tif", GRID)).stamp == ""
    stamps = {made.marked(Scene(tmp_path / "a.tif", GRID, bands)).stamp for bands in ((1,), (1,), (2,))}
    assert len(stamps) == 2
    before = made.marked(Scene(tmp_path / "outer.vrt", GRID)).stamp
    os.utime(tmp_path / "a.tif", (1, 1))
    assert made.marked(Scene(tmp_path / "outer.vrt", GRID)).stamp != before


def test_a_training_that_goes_on_does_not_give_maps_another_name(tmp_path):
    """The weights that were loaded are those whose hash stands in the map."""
    run, loads = Run(tmp_path, "heights", None), []
    run.file("best").write_text("first")

    def load():
        loads.append(run.file("best").read_text())
        if len(loads) == 1:
            run.file("best").write_text("a better one")
        return loads[-1]

    assert steadily(run, load) == "a better one"
    assert loads == ["first", "a better one"]
