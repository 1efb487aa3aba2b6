"""Training and scores: what is logged, what a run holds, features kept on disk, references beside the model."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo.registry import Registry
from eozoo_clay_ta.climatology import Climatology
from eozoo_clay_ta.evaluation import persistence
from eozoo_clay_ta.scores import add_skill, score
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run, ZooError
from eozoo_core.run import beginning
from eozoo_core.settings.config import load_settings, to_dict

REGISTRY = Registry.discover()
SHORT = ["train.epochs=2", "train.batch_size=16", "model.encoder_input_size=8", "train.schedule.warmup_steps=0"]


def trained(prepared, path, *sets):
    settings = load_settings(ClayTa.Settings, None, [*SHORT, *sets], to_dict(prepared))
    task, run = ClayTa(settings, REGISTRY), Run.create(path, "clay_ta", settings)
    task.train(run)
    return task, run


@pytest.fixture(scope="module")
def frozen(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    return trained(prepared, folder / "run", f"runtime.cache_dir={folder / 'cache'}")


def test_log_and_checkpoints(frozen):
    _, run = frozen
    lines = run.read_log()
    assert [line["epoch"] for line in lines] == [1, 2]
    ta_std = run.load("best")["model"]["ta_std"].item()
    for part in ("train", "val"):
        values = lines[-1][part]
        assert list(values)[:3] == ["loss", "rmse_norm", "rmse_K"]  # these are shown while it trains
        assert values["rmse_norm"] == pytest.approx(math.sqrt(values["loss"]))
        assert values["rmse_K"] == pytest.approx(values["rmse_norm"] * ta_std)
    for which in ("current", "best"):
        content = run.load(which)
        assert {"model", "optimizer", "scheduler", "epoch", "best_val"} <= set(content)
        assert not any(k.startswith("encoder.") for k in content["model"])
    assert (run.path / f"base-{run.info()['base']}.safetensors").exists()
    assert content["base"]["sha256"] == run.info()["base"]
    assert "weights" not in run.info()
    assert (run.path / "static_2022.tif").exists()


def test_features_are_computed_once(frozen, prepared, tmp_path, monkeypatch):
    from eozoo_core.task import features

    cache = Path(frozen[0].settings.runtime.cache_dir)
    before = {f.name: f.stat().st_mtime_ns for f in cache.glob("*.npy")}
    assert len(before) == len(list(Path(prepared.runtime.data_dir).glob("[tv]*a*_chunk_*.pt")))  # train and val
    monkeypatch.setattr(features, "_compute", None)  # would fail if it were called
    _, again = trained(prepared, tmp_path / "again", f"runtime.cache_dir={cache}")
    assert {f.name: f.stat().st_mtime_ns for f in cache.glob("*.npy")} == before
    assert again.read_log()[-1]["val"] == frozen[1].read_log()[-1]["val"]
    monkeypatch.undo()
    trained(prepared, tmp_path / "other", f"runtime.cache_dir={cache}", "train.seed=1", "train.epochs=1")
    assert len(list(cache.glob("*.npy"))) == 2 * len(before)  # other weights, other features


def test_a_damaged_cache_is_computed_again(frozen, prepared, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for file in Path(frozen[0].settings.runtime.cache_dir).glob("*.npy"):
        (cache / file.name).write_bytes(file.read_bytes()[:-100])
    _, run = trained(prepared, tmp_path / "run", f"runtime.cache_dir={cache}")
    assert run.read_log()[-1]["val"] == frozen[1].read_log()[-1]["val"]


@pytest.mark.parametrize("sets", ["model.lora_rank=2", "model.trainable_blocks=1", "model.type=centre_ridge"])
def test_other_ways_to_train_repeat_their_number(sets, prepared, tmp_path):
    task, run = trained(prepared, tmp_path / "run", sets, "train.epochs=1")
    scores = task.evaluate(run, "val")
    assert scores["model"]["loss"] == pytest.approx(run.load("best")["best_val"], rel=1e-6)
    trained_part = {k for k in run.load("best")["model"] if k.startswith("encoder.")}
    assert bool(trained_part) == ("ridge" not in sets)


def test_published_weights_leave_a_receipt(prepared, tmp_path, capsys):
    from eozoo_clay_ta.clay import clay_micro

    torch.manual_seed(5)
    encoder = clay_micro()
    torch.save({"state_dict": {f"model.encoder.{k}": v for k, v in encoder.state_dict().items()}}, tmp_path / "c.ckpt")
    task, run = trained(
        prepared, tmp_path / "run", f"model.weights={tmp_path / 'c.ckpt'}", "train.epochs=1", "runtime.quiet=false"
    )
    said = capsys.readouterr().err
    assert "c.ckpt: sha256" in said
    assert "all 45 tensors" in said
    assert "random encoder" not in said
    assert said.strip().endswith(run.info()["weights"])
    assert task.tags(run) == {"ENCODER": "clay_micro, published weights"}
    (tmp_path / "c.ckpt").unlink()  # the run has its own copy
    assert task.evaluate(run, "test")["model"]["rmse_K"] > 0


def test_the_base_file_is_checked(frozen, tmp_path):
    import shutil

    path = Path(shutil.copytree(frozen[1].path, tmp_path / "run"))
    base = next(path.glob("base-*.safetensors"))
    base.write_bytes(base.read_bytes()[:-4] + b"\0\0\0\1")
    run = Run.open(path, ClayTa.Settings)
    with pytest.raises(ZooError, match=r"is damaged"):
        ClayTa(run.settings, REGISTRY).evaluate(run, "val")
    base.unlink()
    with pytest.raises(ZooError, match=r"is missing; the run's checkpoints need it"):
        ClayTa(run.settings, REGISTRY).evaluate(run, "val")


def test_scores_tables_and_page(frozen):
    task, run = frozen
    scores = task.evaluate(run, "test")
    assert set(scores) == {"model", "mean", "climatology", "persistence", "ridge", "forest"}
    assert scores["model"]["rmse_norm"] == pytest.approx(math.sqrt(scores["model"]["loss"]), rel=1e-5)
    assert scores["model"]["mse_K2"] == pytest.approx(scores["model"]["rmse_K"] ** 2)
    content = json.loads((run.path / "eval_test/tables.json").read_text())
    assert content["encoder"] == "clay_micro, random encoder"
    assert set(content["tables"]) == {"station", "hour (UTC)", "month", "land cover"}
    for rows in content["tables"].values():
        assert sum(r["n"] for r in rows.values()) == scores["model"]["n"]
    page = (run.path / "eval_test/report.html").read_text()
    assert "random encoder" in page
    assert page.count("<img") == 2


def test_maps_against_stations(frozen, prepared, tmp_path):
    """A map that holds the row number everywhere is compared at the stations' rows."""
    from eozoo_clay_ta.grid import KoGrid
    from eozoo_clay_ta.prepare.index import read_rows
    from eozoo_core.raster.cog import Band, CogWriter

    rows = [r for part in read_rows(Path(prepared.runtime.index_dir) / "index_test.csv", 1000) for r in part]
    stamp = "".join(c for c in rows[0].timestamp_utc if c.isdigit())
    grid = KoGrid(**prepared.data.grid.model_dump())
    values = np.repeat(np.arange(24.0)[:, None], 24, axis=1).astype(np.float32) + 273.15
    with CogWriter(tmp_path / f"ta_{stamp}.tif", grid.raster, [Band("ta", "K")]) as writer:
        writer.write_rows(0, values[None].astype(np.float32))
    task, run = frozen
    settings = load_settings(ClayTa.Settings, None, [f"eval.maps_dir={tmp_path}"], to_dict(task.settings))
    found = ClayTa(settings, REGISTRY).evaluate(Run(run.path, run.task, settings), "test")["maps"]
    here = [r for r in rows if r.timestamp_utc == rows[0].timestamp_utc]
    assert found["n"] == len(here)
    assert found["bias_K"] == pytest.approx(np.mean([r.pixel_y - r.ta for r in here]), abs=1e-4)
    settings = load_settings(ClayTa.Settings, None, [f"eval.maps_dir={tmp_path / 'none'}"], to_dict(task.settings))
    with pytest.raises(ZooError, match=r"none: has no map ta_YYYYMMDDHHMM.tif"):
        ClayTa(settings, REGISTRY).evaluate(Run(run.path, run.task, settings), "test")


def test_score_and_skill_by_hand():
    truth, said = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 3.0, 2.0])
    found = score(said, truth, 2.0)
    assert found["mse_K2"] == pytest.approx(5 / 4)
    assert found["rmse_norm"] == pytest.approx(math.sqrt(5) / 4)
    assert found["mae_K"] == 0.75
    assert found["bias_K"] == -0.25
    assert found["r2"] == pytest.approx(0.0)
    scores = {"model": found}
    reference = np.array([2.0, 2.0, 5.0, np.nan])
    add_skill(scores, {"model": said, "climatology": reference}, truth)
    assert scores["model"]["skill_climatology"] == pytest.approx(1 - 1 / 5)


def test_persistence_is_the_day_before():
    known = {(np.datetime64("2022-01-01T03:00", "m"), 7): -3.0}
    meta = [("2022-01-02T03:00", 7, 0, 0), ("2022-01-02T03:00", 8, 0, 0), ("2022-01-01T03:00", 7, 0, 0)]
    np.testing.assert_array_equal(persistence(known, meta), [-3.0, np.nan, np.nan])


def test_climatology_recovers_its_harmonics():
    times = np.arange("2022-01-01T00:00", "2023-01-01T00:00", 180, dtype="datetime64[m]")
    meta = [(str(t), 1 + i % 2, 0, 0) for i, t in enumerate(times)]
    day = 2 * np.pi * (times - times[0]).astype(float) / 1440 / 365.25
    hour = 2 * np.pi * (times - times.astype("M8[D]")).astype(float) / 1440
    ta = 12 + 10 * np.cos(day - 3.5) + 4 * np.cos(hour - 1) * (1 + 0.3 * np.sin(day))
    ta = ta + np.array([m[1] for m in meta])
    found = Climatology.fit(meta, ta)
    np.testing.assert_allclose(found(meta), ta, atol=0.02)
    again = Climatology.from_state(json.loads(json.dumps(found.state())))
    np.testing.assert_array_equal(again(meta), found(meta))
    assert abs(again([(meta[0][0], 99, 0, 0)])[0] - ta[0]) < 1.0  # a station that training did not have


def test_plan(prepared, tmp_path):
    settings = load_settings(ClayTa.Settings, None, ["model.encoder=clay_v1_5_large"], to_dict(prepared))
    plan = ClayTa(settings, REGISTRY).plan(Run(tmp_path, "clay_ta", settings))
    assert plan.parameters > 311_442_944
    assert plan.trainable < 200_000
    assert "encoder: random encoder" in plan.notes


@pytest.mark.parametrize("how", ["start_from", "take_weights_from"])
def test_a_run_that_starts_from_another_says_whose_weights_it_has(how, prepared, tmp_path):
    from eozoo_clay_ta.clay import clay_micro

    torch.save(clay_micro().state_dict(), tmp_path / "c.pt")
    first, run = trained(prepared, tmp_path / "run", f"model.weights={tmp_path / 'c.pt'}", "train.epochs=1")
    settings = load_settings(ClayTa.Settings, None, ["model.weights=null", "train.epochs=2"], to_dict(first.settings))
    task, after = ClayTa(settings, REGISTRY), Run.create(tmp_path / how, "clay_ta", settings)
    getattr(beginning, how)(after, run.file("current"))
    task.train(after)
    assert task.tags(after) == {"ENCODER": "clay_micro, published weights"}
    assert after.info()["base"] == run.info()["base"]


def test_predictions_do_not_depend_on_how_many_are_made_at_once(frozen, prepared):
    from eozoo_clay_ta.demo.example import windows_like

    task, run = frozen
    survey = task.survey(task.data("train"))
    batch = windows_like(task.ports(survey).inputs[0])
    settings = load_settings(ClayTa.Settings, None, ["infer.batch_size=3"], to_dict(task.settings))
    found = [one.predict(run, batch)["ta"] for one in (task, ClayTa(settings, REGISTRY))]
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert len(found[1]) == 4
