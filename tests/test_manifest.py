"""A run is what it says: what was copied over, edited, cut short or lost is one line; a read-only run is used."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from eozoo.testing.read_only import read_only
from eozoo_core import Run
from eozoo_core.run import checkpoint
from eozoo_core.run.checkpoint import sha256
from eozoo_core.run.manifest import quick_sha256
from eozoo_core.run.read_only import writable
from eozoo_core.settings.places import naming_places
from test_checkpoint import message
from test_lease import dead_by
from test_run import CONTENT, settings
from toy import ToySettings


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run", "toy", settings())
    run.save("best", CONTENT)
    return run


def hashes(run):
    return run.info()["files"]["best.pt"]


def test_the_hash_is_that_of_the_file_and_the_two_latest_are_known(run):
    assert hashes(run) == [sha256(run.file("best"))]
    for epoch in (3, 4, 5):
        before = hashes(run)[0]
        run.save("best", {**CONTENT, "epoch": epoch})
        assert hashes(run) == [sha256(run.file("best")), before]
    again = Run.create(run.path, "toy", settings())
    again.save("best", {**CONTENT, "epoch": 6})
    assert len(hashes(run)) == 2
    assert Run.open(run.path, ToySettings).load("best")["epoch"] == 6


def test_another_best_is_refused(run, tmp_path):
    other = Run.create(tmp_path / "other", "toy", settings("train.seed=1"))
    other.save("best", {**CONTENT, "model": {"w": torch.ones(1)}})
    shutil.copy2(other.file("best"), run.file("best"))
    text = message(run.load, "best")
    assert f"{run.file('best')}: is not the file that training left here" in text
    assert hashes(other)[0][:16] in text
    assert hashes(run)[0][:16] in text
    (tmp_path / "alone").mkdir()
    shutil.copy2(other.file("best"), tmp_path / "alone")
    assert Run.open(tmp_path / "alone", ToySettings).load("best")["model"]["w"] == 1
    run.note("files", {})  # an earlier version wrote the run
    assert run.load("best")["model"]["w"] == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_hash_and_name(run, monkeypatch, moment):
    """Whichever best.pt is left, it is known; so is the one of the next training, killed at the same moment."""
    rename = Path.replace

    def replace(file, target):
        if target.name != "best.pt" or moment == "after":
            rename(file, target)
        if target.name == "best.pt":
            os.kill(os.getpid(), signal.SIGKILL)

    def die():
        Path.replace = replace  # of the forked process alone
        Run.create(run.path, "toy", settings()).save("best", {**CONTENT, "epoch": 9})

    run.release()
    for _ in range(2):
        dead_by(die)
        assert Run.open(run.path, ToySettings).load("best")["epoch"] == (2 if moment == "before" else 9)
    assert len(hashes(run)) == (2 if moment == "before" else 1)  # twice the same content in the latter


def test_settings_that_training_did_not_write(run):
    config = run.path / "config.yaml"
    text = config.read_text()
    config.write_text("# mine\n" + text.replace("  quiet: false", "  quiet:    false"))
    assert Run.open(run.path, ToySettings).settings == settings()  # comments and layout are free
    config.write_text(text.replace("quiet: false", "quiet: true"))
    assert f"{config}: is not as training wrote it (edited, or cut short)" in message(Run.open, run.path, ToySettings)
    config.write_text(text.replace("width: 4", "width: 5"))
    assert "model.width=4" in message(Run.open, run.path, ToySettings)  # what was learned comes first
    config.write_text(text[: text.index("runtime:")])  # valid YAML, the rest would be defaults
    assert "cut short" in message(Run.open, run.path, ToySettings)
    config.unlink()
    assert Run.open(run.path, ToySettings).settings == settings()  # best.pt tells
    Run.create(run.path, "toy", settings("runtime.quiet=true"))
    assert Run.open(run.path, ToySettings).settings.runtime.quiet


def test_a_hash_is_computed_once(tmp_path, monkeypatch):
    file, seen = tmp_path / "x", []
    file.write_text("1")
    monkeypatch.setattr("eozoo_core.run.manifest.sha256", lambda path: seen.append(path) or sha256(path))
    first = quick_sha256(file)
    assert (quick_sha256(file), len(seen)) == (first, 1)
    file.write_text("22")
    assert quick_sha256(file) == sha256(file) != first


def test_dangling_links_say_where_they_point(run, tmp_path):
    run.file("best").unlink()
    run.file("best").symlink_to("../gone/best.pt")
    assert "best.pt is a link to ../gone/best.pt, which is not there" in message(run.load, "best")
    (tmp_path / "link").symlink_to("/mnt/gone")
    assert f"{tmp_path / 'link'} is a link to /mnt/gone" in message(Run.open, tmp_path / "link" / "run", ToySettings)


def test_a_path_of_the_settings_that_leads_nowhere(tmp_path, monkeypatch):
    def told(path, before=""):
        def read():
            with naming_places(settings(f"runtime.data_dir={path}"), before):
                raise checkpoint.ZooError(f"{path}/train.npy: no such file")

        return message(read).removeprefix(f"{path}/train.npy: no such file")

    (tmp_path / "there" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    known = f" (runtime.data_dir=data was looked for in {tmp_path}; "
    assert told("data") == f"{known}give the whole path: --set runtime.data_dir=/.../data)"
    assert told("data", str(tmp_path / "there")) == f"{known}--set runtime.data_dir={tmp_path}/there/data)"
    assert told("data", "/nowhere") == told("data")
    assert told("/data") == " (runtime.data_dir=/data is not there; give its place: --set runtime.data_dir=PATH)"
    (tmp_path / "link").symlink_to("/mnt/gone")
    assert told("link/x") == " (runtime.data_dir=link/x: link is a link to /mnt/gone, which is not there)"
    assert told("there") == ""  # it is there: the file is missing for another reason


def test_a_read_only_run_is_evaluated_beside_it(run):
    (run.path / "eval_val").mkdir()
    with writable(run) as (same, reason):
        assert (same, reason) == (run, "")
    with read_only(run.path), writable(run) as (other, reason):
        assert reason == "Read-only file system"
        other.write_json("eval_val/groups.json", {})
        assert other.load("best")["epoch"] == 2
        assert other.path.name == run.path.name
        run.note_changes()
    assert not other.path.exists()
    assert list((run.path / "eval_val").iterdir()) == []
