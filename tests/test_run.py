"""The run directory: created, continued, extended, refused; its records."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from eozoo_core import Run, Task, ZooError
from eozoo_core.run.beginning import start_from, undone_if_refused
from eozoo_core.run.checkpoint import save_checkpoint
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.rank import is_first_process
from eozoo_core.settings.config import load_settings, to_dict
from test_checkpoint import full_disk, message
from toy import Toy, ToySettings


def settings(*overrides):
    return load_settings(ToySettings, overrides=overrides)


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", "toy", settings(), "toy-plugin 1.0")


CONTENT = {"model": {"w": torch.zeros(1)}, "best_val": 0.5, "epoch": 2, "step": 7}


def test_run_json(run):
    run.file("current").touch()  # training has begun
    info = json.loads((run.path / "run.json").read_text())
    assert info == run.info()
    assert (info["format"], info["task"], info["plugin"], info["seed"]) == (2, "toy", "toy-plugin 1.0", 0)
    (first,) = info["history"]
    assert first["argv"] == sys.argv
    assert first["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"eozoo", "python", "when"} <= set(first)
    run.note("device", "cpu")
    again = Run.create(run.path, "toy", settings("runtime.workers=0"))
    assert again.info()["device"] == "cpu"  # what was recorded stays
    assert again.info()["started"] == info["started"]
    assert len(again.info()["history"]) == 2
    assert Run.task_of(run.path) == "toy"


@pytest.mark.parametrize(
    "good", ["train.epochs=4", "train.steps=null", "runtime.workers=2", "train.learning_rate=0.01"]
)
def test_continues_and_extends(run, good):
    Run.create(run.path, "toy", settings(good))
    assert Run.open(run.path, ToySettings).settings == settings(good)


@pytest.mark.parametrize(
    ("bad", "difference"),
    [
        ("train.epochs=2", "train.epochs=3, now 2"),
        ("train.learning_rate=0.1", "train.learning_rate=0.01, now 0.1"),
        ("train.schedule.name=cosine", "train.schedule.name='constant', now 'cosine'"),
        ("model.width=5", "model.width=4, now 5"),
        ("train.steps=5", "train.steps=None, now 5"),
    ],
)
def test_refuses_another_fixed_setting(run, bad, difference):
    run.file("current").touch()  # training has begun
    before = (run.path / "config.yaml").read_bytes()
    text = message(Run.create, run.path, "toy", settings(bad))
    assert str(run.path) in text
    assert difference in text
    assert "new --run" in text
    assert (run.path / "config.yaml").read_bytes() == before


def test_settings_may_change_until_training_has_begun(run):
    run.note("init_from", {"file": "a mistake"})
    Run.create(run.path, "toy", settings("model.width=5"))
    assert Run.open(run.path, ToySettings).settings.model.width == 5
    assert "init_from" not in run.info()
    (run.path / "member_0").mkdir()
    (run.path / "member_0" / "current.pt").touch()
    assert "model.width=5, now 6" in message(Run.create, run.path, "toy", settings("model.width=6"))


def test_a_setting_that_is_new_in_the_plugin_takes_its_default(run):
    """A run of an older version has no line for it, and goes on."""
    run.file("current").touch()
    config = run.path / "config.yaml"
    config.write_text("".join(line for line in config.open() if "dropout" not in line))
    Run.create(run.path, "toy", settings())
    config.write_text("model: {depth: 3}\n")
    assert f"{config}: unknown setting 'model.depth'" in message(Run.create, run.path, "toy", settings())


def test_refuses_another_task_and_foreign_folders(run, tmp_path):
    assert "run of 'toy', not of 'other'" in message(Run.create, run.path, "other", settings())
    assert "run of 'toy', not of 'other'" in message(Run.open, run.path, ToySettings, "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert "is not empty and holds no run" in message(Run.create, tmp_path / "mine", "toy", settings())
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in message(Run.create, tmp_path / "file", "toy", settings())
    assert "cannot be made" in message(Run.create, tmp_path / "file" / "run", "toy", settings())
    assert "holds no run" in message(Run.open, tmp_path / "none", ToySettings)
    (run.path / "run.json").write_text('{"task": "toy", "format": 3}')
    assert "format 3" in message(Run.open, run.path, ToySettings)
    (run.path / "run.json").write_text("[]")
    copy = "copy it back from where the run was made"
    assert f"run.json: holds a list, expected an object; {copy}" in message(Run.create, run.path, "toy", settings())
    (run.path / "run.json").write_text('{"task": "toy"}')
    assert f"run.json: is damaged (it names no task, or no format); {copy}" in message(Run.open, run.path, ToySettings)
    (run.path / "run.json").write_text('{"task": "to')
    (run.path / "best.pt").touch()
    alone = f"{copy}; to use best.pt alone (eval, infer), delete run.json"
    assert alone in message(Run.open, run.path, ToySettings)


@pytest.mark.parametrize("kind", ["new", "empty", "link", "current"])
def test_what_is_refused_leaves_only_what_was_there(kind, tmp_path, monkeypatch):
    folder = tmp_path / kind
    if kind != "new":
        (tmp_path / "target" if kind == "link" else folder).mkdir()
    if kind == "link":
        folder.symlink_to("target")
    if kind == "current":
        monkeypatch.chdir(folder)
    run = Run.create(Path() if kind == "current" else folder, "toy", settings())
    (run.path / "tensorboard").mkdir()
    with pytest.raises(ZooError, match="as it should"), undone_if_refused(run):
        raise ZooError("as it should")
    assert folder.exists() == (kind != "new")
    assert folder.is_symlink() == (kind == "link")
    assert kind == "new" or not list(folder.iterdir())


def test_what_others_wrote_stays(run):
    (run.path / "notes.txt").write_text("mine")
    with pytest.raises(ZooError), undone_if_refused(run):
        raise ZooError("refused")
    assert {"notes.txt", "run.json", "config.yaml"} <= {file.name for file in run.path.iterdir()}


def test_a_refused_command_gives_a_run_that_has_not_begun_its_settings_back(run):
    before = {name: (run.path / name).read_text() for name in ("run.json", "config.yaml")}
    again = Run.create(run.path, "toy", settings("train.learning_rate=0.5"))
    assert "0.5" in (run.path / "config.yaml").read_text()
    with pytest.raises(ZooError), undone_if_refused(again):
        raise ZooError("the file of --resume, say")
    assert {name: (run.path / name).read_text() for name in before} == before
    again.save("current", {"model": {}, "best_val": 1.0})  # what has learned keeps what it learned with
    with pytest.raises(ZooError), undone_if_refused(again):
        raise ZooError("later")
    assert "current.pt" in {file.name for file in run.path.iterdir()}


def test_killed_while_it_began(tmp_path):
    """Whatever a killed process left of the very first files, the same command begins anew and cleans up."""
    path = tmp_path / "run"
    path.mkdir()
    (path / ".run.json.abc.part").write_text('{"ta')
    run = Run.create(path, "toy", settings())
    (run.path / "config.yaml").unlink()
    (run.path / ".current.pt.abc.part").touch()
    Run.create(path, "toy", settings("train.seed=3"))
    assert Run.open(path, ToySettings).settings.train.seed == 3
    assert sorted(p.name for p in path.iterdir()) == ["config.yaml", "run.json"]


def test_open_overrides_free_scopes_only(run):
    assert Run.open(run.path, ToySettings, "toy", ["runtime.device=cpu"]).settings.runtime.device == "cpu"
    for bad in ("train.seed=1", "model.width=2", "train={seed: 1}", "data=1"):
        assert "was fixed by training" in message(Run.open, run.path, ToySettings, "toy", [bad])
    (run.path / "config.yaml").write_text("train: {sed: 1}")
    assert f"{run.path / 'config.yaml'}: unknown setting 'train.sed'" in message(Run.open, run.path, ToySettings)


def test_checkpoints_know_their_task(run, tmp_path):
    assert "eozoo train toy" in message(run.load, "best")
    run.save("best", CONTENT)
    assert run.has("best")
    assert run.load("best")["config"] == to_dict(run.settings)
    other = Run.create(tmp_path / "other", "other", settings())
    shutil.copy(run.file("best"), other.file("best"))
    assert "written by task 'toy', not 'other'" in message(other.load, "best")


def test_full_disk_leaves_the_last_checkpoint_and_log(run):
    run.save("current", CONTENT)
    run.log({"epoch": 1, "step": 1})
    with full_disk(200):
        assert str(run.file("current")) in message(run.save, "current", {**CONTENT, "model": {"w": torch.zeros(9999)}})
        text = message(run.log, {"epoch": 2, "step": 2, "train": {"loss": 1.0}, "text": "x" * 500})
    assert "training_log.jsonl: cannot be written" in text
    assert run.load("current")["epoch"] == 2
    assert run.read_log() == [{"epoch": 1, "step": 1}]


def test_start_from_keeps_all_but_the_best_score(run, tmp_path):
    run.save("current", CONTENT)
    new = Run.create(tmp_path / "new", "toy", settings("train.learning_rate=0.1"))
    start_from(new, run.file("current"))
    content = new.load("current")
    assert {k: content[k] for k in ("model", "epoch", "step")} == {k: CONTENT[k] for k in ("model", "epoch", "step")}
    assert content["best_val"] == float("inf")
    assert content["config"]["train"]["learning_rate"] == 0.1
    receipt = new.info()["resumed_from"]
    assert receipt["changed_settings"] == [["train.learning_rate", 0.01, 0.1]]
    assert (receipt["file"], receipt["best_val"]) == (str(run.file("current")), 0.5)
    new.save("current", {**CONTENT, "step": 8})
    start_from(new, run.file("current"))  # the same command again goes on with the new run's own
    assert new.load("current")["step"] == 8


def test_start_from_refuses(run, tmp_path):
    new = Run.create(tmp_path / "new", "toy", settings("train.optimizer=sgd"))
    run.save("current", CONTENT)
    assert "optimizer 'adamw', not of 'sgd'" in message(start_from, new, run.file("current"))
    save_checkpoint(tmp_path / "x.pt", {**CONTENT, "task": "other", "config": {}})
    assert "written by task 'other'" in message(start_from, new, tmp_path / "x.pt")
    assert "no such file" in message(start_from, new, tmp_path / "none.pt")
    assert not new.has("current")


def test_changed_training_data_are_refused(run, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    a, b = data / "a.npy", data / "b.npy"
    a.write_bytes(b"1" * 200_000)
    b.write_bytes(b"2")
    run.check_data([a, b], data)
    run.save("current", CONTENT)
    run.check_data([b, a], data)  # the order does not matter
    b.write_bytes(b"3")
    assert "training data changed" in message(run.check_data, [a, b], data)
    assert run.info()["data_fingerprint"] != fingerprint([a, b], data)
    run.file("current").unlink()
    run.check_data([a, b], data)  # nothing was trained yet
    with pytest.raises(ZooError, match=r"none\.npy: cannot be read"):
        run.check_data([data / "none.npy"], data)


def test_fingerprint_sees_names_sizes_and_both_ends(tmp_path):
    def taken(name, content):
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / name).write_bytes(content)
        return fingerprint([tmp_path / "d" / name], tmp_path / "d")

    long = bytes(200_000)
    contents = [b"", b"1", b"1" + long, long + b"1", long, long + long]  # the last two differ in size only
    seen = [taken("b", b""), *(taken("a", content) for content in contents)]
    assert len(set(seen)) == len(seen)
    assert taken("a", long + long) == seen[-1]


def test_log_is_cut_and_survives_a_torn_line(run):
    lines = [{"epoch": e, "step": 10 * e, "train": {}, "val": {}} for e in (1, 2, 3)]
    for line in lines:
        run.log(line)
    with (run.path / "training_log.jsonl").open("a") as log:
        log.write('{"epoch": 4, "st')  # killed while it wrote
    assert run.read_log() == lines
    run.cut_log(20)
    assert run.read_log() == lines[:2]
    run.log(lines[2])
    assert run.read_log() == lines
    with pytest.raises(ValueError, match="JSON"):
        run.log({"epoch": 4, "step": 40, "train": {"loss": float("nan")}})
    assert run.read_log() == lines
    (run.path / "training_log.jsonl").write_text('{"epoch": 1, "step": 1}\nnonsense\n')
    assert "training_log.jsonl: line 2 is not" in message(run.read_log)


def test_children(run):
    child = run.child("member_0", settings("train.seed=7"))
    assert child.path == run.path / "member_0"
    assert child.info()["plugin"] == "toy-plugin 1.0"
    files = {p: p.stat().st_mtime_ns for p in run.path.rglob("*")}
    reader = Run.open(run.path, ToySettings, "toy", ["runtime.device=cpu"])
    member = reader.child("member_0")
    assert (member.settings.train.seed, member.settings.runtime.device) == (7, "cpu")
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("*")} == files  # reading a run writes nothing
    assert "holds no run" in message(reader.child, "member_1")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"])
def test_only_the_first_process_of_a_job_writes(tmp_path, monkeypatch, name):
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
    run = Run.create(tmp_path / "run", "toy", settings("runtime.devices=2"))
    run.note("device", "cpu")
    assert not (tmp_path / "run").exists()
    # A job of one process always writes, whatever number the environment gives it.
    assert (Run.create(tmp_path / "run", "toy", settings()).path / "run.json").exists()


def test_predict_loads_once_until_best_changes(run):
    class Counting(Toy):
        loads = 0

        def predictor(self, run):
            self.loads += 1
            return lambda batch: batch

    task: Task = Counting(run.settings)
    run.save("best", CONTENT)
    task.predict(run, {})
    task.predict(run, {})
    assert task.loads == 1
    run.save("best", CONTENT)
    task.predict(run, {})
    assert task.loads == 2


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_queries_of_the_document_002(run):
    write_log(run)
    log = run.path / "training_log.jsonl"
    assert subprocess.run(["jq", ".", log], capture_output=True, check=True).stdout
    query = "select(.val.loss != null) | {epoch, val_loss: .val.loss}"
    out = subprocess.run(["jq", "-c", query, log], capture_output=True, check=True, text=True).stdout
    assert [json.loads(line) for line in out.splitlines()] == [{"epoch": 2, "val_loss": 0.25}]


def test_log_in_the_words_of_document_002(run):
    """The same two queries as jq would answer them: every line an object with epoch, train and val."""
    write_log(run)
    lines = [json.loads(line) for line in Path(run.path / "training_log.jsonl").read_text().splitlines()]
    assert [{"epoch": x["epoch"], "val_loss": x["val"]["loss"]} for x in lines if x["val"].get("loss") is not None] == [
        {"epoch": 2, "val_loss": 0.25}
    ]


def write_log(run):
    run.log({"epoch": 1, "step": 5, "lr": 1e-7, "train": {"loss": 0.5}, "val": {}})
    run.log({"epoch": 2, "step": 10, "lr": 1e-7, "train": {"loss": 0.4}, "val": {"loss": 0.25}})
