"""Samples and chunks: the documented schema, the order of the checks, going on, and wrong files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_clay_ta.chunks import PatchStore, check_chunk, chunk_path, open_chunk, write_chunk
from eozoo_clay_ta.level1b import Reading
from eozoo_clay_ta.prepare.cut import Job, cut_job
from eozoo_clay_ta.prepare.index import read_rows
from eozoo_clay_ta.prepare.inspect_chunk import inspect_chunk
from eozoo_clay_ta.prepare.patches import PatchBuilder
from eozoo_clay_ta.sample_schema import NAMES, SZA, Normalisation, one_hot, read_statistics, time7, windows
from eozoo_clay_ta.scenes import ScenePaths, read_scene, stamp_time
from eozoo_clay_ta.static import read_static, static_file
from eozoo_core import ZooError
from eozoo_core.run.workers import open_workers
from hypothesis import given
from hypothesis import strategies as st


def elsewhere(settings, folder, **options):
    """The same settings with another folder for the chunks."""
    runtime = settings.runtime.model_copy(update={"data_dir": str(folder), "statistics_dir": str(folder / "s")})
    patches = settings.prepare.build_patches.model_copy(update=options)
    prepare = settings.prepare.model_copy(update={"build_patches": patches})
    return settings.model_copy(update={"runtime": runtime, "prepare": prepare})


def content(folder):
    return {f.name: f.read_bytes() for f in sorted(Path(folder).glob("*_chunk_*.pt"))}


def test_schema_is_the_documented_one(prepared):
    folder = Path(prepared.runtime.data_dir)
    assert (folder / "train_chunk_00000.pt").exists()
    loaded = torch.load(folder / "train_chunk_00000.pt", weights_only=True)
    n = len(loaded["meta"])
    shapes = {k: tuple(v.shape) for k, v in loaded.items() if k != "meta"}
    assert shapes == {"x": (n, 19, 9, 9), "y": (n,), "time7": (n, 7), "loc": (n, 3), "landcover_onehot": (n, 17)}
    assert all(v.dtype == torch.float32 and v.isfinite().all() for k, v in loaded.items() if k != "meta")
    stamp, stn, x, y = loaded["meta"][0]
    assert (type(stamp), type(stn), type(x), type(y)) == (str, int, int, int)
    assert n >= 30  # patch_chunk_rows; a scene is never cut


def test_one_sample_by_hand(prepared):
    """From the scene to the chunk, computed once more another way."""
    folder = Path(prepared.runtime.data_dir)
    store, k = PatchStore(folder, "train"), 17
    stamp, stn, col, line = store.meta()[k]
    rows = [r for part in read_rows(Path(prepared.runtime.index_dir) / "index_train.csv", 100) for r in part]
    row = next(r for r in rows if (r.timestamp_utc, r.stn) == (stamp, stn))
    norm = Normalisation.read(folder / "normalisation.json")
    grid = PatchBuilder(prepared).grid
    when = stamp_time("".join(c for c in stamp if c.isdigit()))
    scene = read_scene(ScenePaths(row.path_bt, row.path_rf), when, grid)
    static = read_static(static_file(folder, 2022), grid)
    sample, area = store[k], (slice(line - 4, line + 5), slice(col - 4, col + 5))
    np.testing.assert_allclose(sample["x"][6], (scene.bt[6][area] - norm.mean[6]) / norm.std[6], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        sample["x"][12], (scene.rf[2][area] - norm.mean[12]) / norm.std[12], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(sample["x"][17], (static.dem[area] - norm.mean[17]) / norm.std[17], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(sample["x"][18], static.lsmask[area])
    assert float(sample["y"]) * norm.ta_std + norm.ta_mean == pytest.approx(row.ta, abs=1e-4)
    assert int(sample["landcover_onehot"].argmax()) == static.landcover[line, col]
    np.testing.assert_allclose(sample["loc"], [row.lat, row.lon, 2000], rtol=1e-6)
    assert float(sample["time7"][6]) == float(sample["x"][SZA, 4, 4])


def test_statistics_come_from_training(prepared):
    folder = Path(prepared.runtime.data_dir)
    rows = [r.ta for part in read_rows(Path(prepared.runtime.index_dir) / "index_train.csv", 100) for r in part]
    files = [Path(prepared.runtime.statistics_dir) / f"{n}_2022.json" for n in ("input_statistics", "statistics")]
    norm = read_statistics(*files)
    assert norm.ta_mean == pytest.approx(np.mean(rows))
    assert norm.ta_std == pytest.approx(np.std(rows))
    assert norm.state() == Normalisation.read(folder / "normalisation.json").state()
    x = torch.cat([c.tensors["x"] for c in PatchStore(folder, "train").chunks])[:, :18]
    assert x.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (x.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3


def test_given_statistics_are_used(prepared, tmp_path):
    folder = Path(prepared.runtime.statistics_dir)
    given_files = {"input_statistics": str(folder / "input_statistics_2022.json")}
    changed = json.loads((folder / "statistics_2022.json").read_text())
    changed["ta"] |= {"mean": 283.15, "unit": "K"}
    (tmp_path / "ta.json").write_text(json.dumps(changed))
    settings = elsewhere(prepared, tmp_path / "p", **given_files, ta_statistics=str(tmp_path / "ta.json"))
    PatchBuilder(settings).build()
    assert json.loads((tmp_path / "p/normalisation.json").read_text())["ta_mean"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["bt"]["std"].__setitem__(3, 0.0), r"bt.std number 4 is not above 0"),
        (lambda s: s["dem"]["mean"].__setitem__(0, float("nan")), r"dem.mean holds NaN"),
        (lambda s: s["rf"]["mean"].pop(), r"rf.mean has 5 numbers, expected 6"),
        (lambda s: s.pop("sza"), r"no numbers under 'sza', 'mean'"),
    ],
)
def test_statistics_that_cannot_be_used(change, message, prepared, tmp_path):
    folder = Path(prepared.runtime.statistics_dir)
    statistics = json.loads((folder / "input_statistics_2022.json").read_text())
    change(statistics)
    (tmp_path / "input.json").write_text(json.dumps(statistics))
    with pytest.raises(ZooError, match=message):
        read_statistics(tmp_path / "input.json", folder / "statistics_2022.json")


def test_checks_and_their_counts(prepared):
    rows = next(iter(PatchBuilder(prepared).jobs(Path(prepared.runtime.index_dir) / "index_train.csv"))).rows
    grid, static = PatchBuilder(prepared).grid, static_file(prepared.runtime.data_dir, 2022)
    whole = cut_job(Job(rows, grid, static, Reading(), False))
    outside = [replace(rows[0], pixel_x=3), replace(rows[0], pixel_y=grid.height - 4)]
    more = cut_job(Job([*rows, *outside], grid, static, Reading(), False))
    assert more.dropped["window not inside the grid"] == 2
    assert more.dropped["not finite"] == whole.dropped["not finite"]
    np.testing.assert_array_equal(more.x, whole.x)
    bad = [replace(r, path_bt="/none/bt.npy") for r in rows]
    with pytest.raises(ZooError, match=r"bt.npy: cannot be read"):
        cut_job(Job(bad, grid, static, Reading(), False))
    assert cut_job(Job(bad, grid, static, Reading(), True)).dropped == {"scene unreadable": len(rows)}


def test_an_index_reads_nothing_from_elsewhere(prepared, tmp_path):
    """Scenes lie below the index or below prepare.build_index.scenes_dir, which the user typed."""
    index = tmp_path / "index_train.csv"
    whole = (Path(prepared.runtime.index_dir) / index.name).read_text()
    scenes = Path(prepared.prepare.build_index.scenes_dir).resolve()
    builder = PatchBuilder(prepared)
    for secret in ("/etc/passwd", f"{scenes}/../secret/bt_*.nc", "../bt.npy", "/vsicurl/http://a.b/bt.npy"):
        rows = [line.split(",") for line in whole.splitlines()[:2]]
        rows[1][8] = secret
        index.write_text("\n".join(map(",".join, rows)) + "\n")
        with pytest.raises(
            ZooError, match=r"index_train.csv: refers to .*, which is neither below .*scenes_dir"
        ) as error:
            list(builder.jobs(index))
        assert "\n" not in str(error.value)
    for inside in (f"{scenes}/bt.npy", "raw/../bt.npy"):
        rows[1][8:10] = [inside, ""]
        index.write_text("\n".join(map(",".join, rows)) + "\n")
        assert len(list(builder.jobs(index))) == 1


def test_interrupted_and_continued_equals_uninterrupted(prepared, tmp_path, monkeypatch):
    from eozoo_clay_ta.prepare import patches

    settings, flushed = elsewhere(prepared, tmp_path), []

    def stop(path, arrays, meta):
        if len(flushed) == 1:
            raise KeyboardInterrupt
        flushed.append(write_chunk(path, arrays, meta))

    monkeypatch.setattr(patches.chunks, "write_chunk", stop)
    with pytest.raises(KeyboardInterrupt):
        PatchBuilder(settings).build()
    assert len(content(tmp_path)) == 1
    monkeypatch.undo()
    kept = (tmp_path / "train_chunk_00000.pt").stat().st_mtime_ns
    _, report = PatchBuilder(settings).build()
    assert content(tmp_path) == content(prepared.runtime.data_dir)
    assert (tmp_path / "train_chunk_00000.pt").stat().st_mtime_ns == kept
    assert report == json.loads((Path(prepared.runtime.data_dir) / "build_report.json").read_text())
    with pytest.raises(ZooError, match=r"holds train chunks of another index or other settings"):
        PatchBuilder(elsewhere(prepared, tmp_path, patch_chunk_rows=50)).build()


def test_workers_cut_the_same(prepared, tmp_path):
    with open_workers(2) as pool:
        files, _ = PatchBuilder(elsewhere(prepared, tmp_path), pool).build()
    chunks = [file for file in files if file.suffix == ".pt"]
    assert len(chunks) >= 3
    for file in chunks:
        assert file.read_bytes() == (Path(prepared.runtime.data_dir) / file.name).read_bytes()


def test_time7_by_hand():
    found = time7(np.array(["2022-04-01T06:00"], "M8[m]"), np.array([0.25]))[0]
    day = 2 * np.pi * 91 / 365.25
    expected = [np.sin(day), np.cos(day), 1, 0, np.sin(2 * np.pi / 3), np.cos(2 * np.pi / 3), 0.25]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_windows_and_classes():
    fields = np.arange(2 * 12 * 15).reshape(2, 12, 15).astype(float)
    found = windows(fields, np.array([10]), np.array([4]))
    np.testing.assert_array_equal(found[0], fields[:, 0:9, 6:15])
    assert one_hot(np.array([0, 16, -1, 17])).sum(axis=1).tolist() == [1, 1, 0, 0]
    assert len(NAMES) == 19


@given(st.lists(st.integers(0, 45), min_size=1, max_size=60))
def test_batches_hold_the_rows_asked_for(indices):
    store = PatchStore.__new__(PatchStore)
    store.chunks, store._starts = [], [0]
    for size in (20, 1, 25):
        first = store._starts[-1]
        tensors = {"y": torch.arange(first, first + size).float()}
        store.chunks.append(type("C", (), {"tensors": tensors})())
        store._starts.append(first + size)
    assert store.batch(np.array(indices), ("y",))["y"].tolist() == indices


def good(n=2):
    return {
        "x": torch.zeros(n, 19, 9, 9), "y": torch.zeros(n), "time7": torch.zeros(n, 7), "loc": torch.zeros(n, 3),
        "landcover_onehot": torch.zeros(n, 17), "meta": [("2022-01-01T00:00", 1, 2, 3)] * n,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 18, 9, 9)}, r"x is torch.float32 .2, 18, 9, 9., expected torch.float32 .2, 19, 9, 9."),
        ({"y": torch.zeros(2).double()}, r"y is torch.float64"),
        ({"extra": 1}, r"this file holds x, y"),
        ({"meta": [{"stn": 1}] * 2}, r"meta holds .*expected tuples"),
        ({"meta": []}, r"x is torch.float32 .2, 19"),
    ],
)
def test_wrong_chunks(change, message, tmp_path):
    check_chunk(good(), "good.pt")
    torch.save(good() | change, tmp_path / "train_chunk_00000.pt")
    with pytest.raises(ZooError, match=message):
        open_chunk(tmp_path / "train_chunk_00000.pt")


def test_no_chunks(tmp_path):
    with pytest.raises(ZooError, match=r"holds no val_chunk_00000.pt; run"):
        PatchStore(tmp_path, "val")
    (tmp_path / "train_chunk_00000.pt").touch()
    with pytest.raises(ZooError, match=r"has no split 'tarin'. Did you mean 'train'"):
        PatchStore(tmp_path, "tarin")
    assert chunk_path(tmp_path, "train", 10).name == "train_chunk_00010.pt"


def test_inspect(prepared, tmp_path):
    folder, out = Path(prepared.runtime.data_dir), tmp_path / "pictures"
    file, before = folder / "train_chunk_00000.pt", sorted(folder.iterdir())
    text, picture = inspect_chunk(str(file), 5, Path("nowhere"), out)
    assert "(36, 19, 9, 9)" in text or "19, 9, 9)" in text
    assert "sample 5: timestamp_utc 2022" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert inspect_chunk("", 0, folder, out)[1] == out / "train_chunk_00000_sample_0.png"  # test_ comes before train_
    assert sorted(folder.iterdir()) == before
    with pytest.raises(ZooError, match=r"there is no 5000"):
        inspect_chunk(str(file), 5000, tmp_path, out)
    with pytest.raises(ZooError, match=r"holds no training chunk"):
        inspect_chunk("", 0, tmp_path / "none", out)
