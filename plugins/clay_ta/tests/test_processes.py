"""Two processes train and score what one does; members of an ensemble combine, and their spread is mapped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo.registry import Registry
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict

SHORT = ["train.epochs=2", "train.batch_size=16", "model.encoder_input_size=8", "train.schedule.warmup_steps=0"]
WAYS = {
    "ridge": ["model.type=centre_ridge"],
    # too small to move a weight: both score the same network
    "features": ["train.learning_rate=1e-30", "train.weight_decay=0", "model.dropout=0"],
}


def settings_of(prepared, cache, *sets):
    return load_settings(ClayTa.Settings, None, [*SHORT, f"runtime.cache_dir={cache}", *sets], to_dict(prepared))


@pytest.fixture(scope="module")
def two(prepared, tmp_path_factory):
    """Every way of ``WAYS`` trained by two processes, in one launch."""
    root, jobs = tmp_path_factory.mktemp("two"), []
    for name, sets in WAYS.items():
        settings = settings_of(prepared, root / "cache", *sets, "runtime.devices=2")
        jobs.append({"run": str(root / name), "config": settings.model_dump(mode="json")})
    (root / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("train_runs.py"), root / "jobs.json"],
        capture_output=True, text=True, timeout=300,
        env={k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.slow  # the kit compares gradients and scores of two processes in the quick tier
@pytest.mark.parametrize(("way", "tolerance"), [("ridge", 1e-12), ("features", 1e-6)])
def test_two_processes_are_one(prepared, two, tmp_path, way, tolerance):
    """The products of Clay's network are rounded otherwise where a batch is halved; the ridge computes in float64."""
    settings = settings_of(prepared, tmp_path / "cache", *WAYS[way])
    one = Run.create(tmp_path / "one", "clay_ta", settings)
    ClayTa(settings, Registry.discover()).train(one)
    both = Run.open(two / way, ClayTa.Settings)
    assert both.info()["device"] == "cpu x 2"
    for a, b in zip(one.read_log(), both.read_log(), strict=True):
        assert a["step"] == b["step"]
        assert b["val"] == pytest.approx(a["val"], rel=tolerance)
        assert b["train"] == pytest.approx(a["train"], rel=1e-5)
    scores = [json.loads((run.path / "eval_test.json").read_text())["scores"]["model"] for run in (one, both)]
    assert scores[0]["n"] == scores[1]["n"] == 23
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)
    kept = [sorted(f.name for f in (folder / "cache").glob("*.npy")) for folder in (tmp_path, two)]
    assert kept[0] == (kept[1] if way == "features" else [])


def test_an_ensemble_maps_what_its_members_do_not_agree_about(prepared, tmp_path):
    sets = ["model.type=clay_free", "train.members=2", "train.epochs=1", "infer.stride=4", "infer.member_maps=true"]
    settings = settings_of(prepared, tmp_path / "cache", *sets)
    task, run = ClayTa(settings, Registry.discover()), Run.create(tmp_path / "run", "clay_ta", settings)
    task.train(run)
    source = Path(prepared.prepare.build_index.scenes_dir).parent / "map"
    files = task.infer(run, source, tmp_path / "maps")
    assert [f.name for f in files] == [
        f"{name}_202204040300.{kind}"
        for name, kind in (("ta", "tif"), ("epistemic_ta_std", "tif"), ("members", "tif"), ("ta", "png"))
    ]
    maps = {}
    for file in files[:3]:
        with rasterio.open(file) as data:
            maps[file.name.partition("_2022")[0]] = data.read()
            assert set(data.units) == {"degC"}
            assert data.tags()["DRAWS"] == "2"
    members = maps["members"]
    np.testing.assert_allclose(maps["ta"][0], members.mean(axis=0), atol=1e-4)
    # The variance is interpolated, not its root: it is that of the members where they are predicted.
    np.testing.assert_allclose(maps["epistemic_ta_std"][0, 4::4, 4::4], members.std(axis=0)[4::4, 4::4], atol=1e-4)
    assert np.nanmax(maps["epistemic_ta_std"]) > 0.01
    scores = task.evaluate(run, "val")
    assert list(scores)[:3] == ["model", "member 0", "member 1"]
    assert scores["model"]["loss"] <= max(scores[f"member {i}"]["loss"] for i in (0, 1))
