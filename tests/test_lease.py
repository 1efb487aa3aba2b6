"""One writer: taken, refused, taken over from the dead, given up; the same for runs."""

import json
import os
import re
import signal
import time
from dataclasses import replace

import pytest
from eozoo_core import Run, ZooError
from eozoo_core.run import lease, owner
from eozoo_core.run.lease import take
from eozoo_core.run.owner import Owner, start_of
from eozoo_core.run.writing import leftovers, temporary_beside, write_atomic
from test_checkpoint import message
from test_run import CONTENT, settings


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "STALE", 0.2)


def in_child(work, end=os._exit):
    """Run ``work`` in a forked process; return its number and what ``work`` returned, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, str(work()).encode())
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os.close(writer)
            end(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        return pid, told.read()


def dead_by(work):
    """The same, and the process is gone as by SIGKILL."""
    pid, text = in_child(work, lambda code: os.kill(os.getpid(), signal.SIGKILL))
    os.waitpid(pid, 0)
    return pid, text


def written_by(file, changed=0.0, **other):
    """A lease as another process would have left it ``changed`` seconds ago."""
    note = {"owner": {**vars(Owner.here()), **other}, "since": "2026-01-01T00:00:00Z", "place": str(file)}
    file.write_text(json.dumps(note))
    os.utime(file, (time.time() - changed,) * 2)
    return file.read_text()


def test_one_at_a_time_and_nothing_is_left(tmp_path):
    file = tmp_path / ".writer.json"
    held = take(file, "the run")
    told = json.loads(file.read_text())
    assert (told["owner"]["pid"], told["owner"]["host"]) == (os.getpid(), os.uname().nodename)
    pid, text = in_child(lambda: take(file, "the run", "another --run"))
    os.waitpid(pid, 0)
    assert text == (
        f"Held: the run: is being written by process {os.getpid()} on host {os.uname().nodename} "
        f"(user {told['owner']['user']}) since {told['since']}; wait until it is done, end it (kill {os.getpid()}), "
        "or choose another --run"
    )
    assert take(file, "the run").text == held.text  # this process has it already
    pid, _ = in_child(held.release)  # a fork does not give up what is its parent's
    os.waitpid(pid, 0)
    assert file.exists()
    held.confirm()
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writers_lease_needs_no_hand(tmp_path):
    file = tmp_path / ".writer.json"
    pid, text = dead_by(lambda: take(file, "x"))
    assert json.loads(file.read_text())["owner"]["pid"] == pid, text
    take(file, "x").release()
    assert list(tmp_path.iterdir()) == []


def test_what_was_killed_while_it_took_or_buried_a_lease_is_cleared(tmp_path):
    """Temporary files of a lease have the names of every writer's, which the next one clears away."""
    file, name = tmp_path / ".a_maps.writer.json", r"\.\.a_maps\.writer\.json\..*\.part"
    begun = lease._written(file, "x")

    def half():
        begun.__enter__()
        temporary_beside(file).touch()

    dead_by(half)
    assert len([left for left in tmp_path.iterdir() if re.fullmatch(name, left.name)]) == 2
    take(file, "x").release()
    assert list(tmp_path.iterdir()) == []


def test_a_zombie_is_dead(tmp_path):
    file = tmp_path / ".writer.json"
    pid, _ = in_child(lambda: take(file, "x"))
    while start_of(pid) is not None:
        time.sleep(0.01)
    take(file, "x").release()  # although nobody has waited for it yet
    os.waitpid(pid, 0)


def test_a_number_that_another_process_got_since_is_another(tmp_path):
    file = tmp_path / ".writer.json"
    parent = os.getppid()
    written_by(file, pid=parent, started=start_of(parent))
    assert "is being written by" in message(take, file, "x")
    written_by(file, pid=parent, started="1")
    take(file, "x").release()


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"machine": "another boot"}])
def test_of_another_machine_only_the_heartbeat_tells(tmp_path, quick, elsewhere, capsys):
    file = tmp_path / ".writer.json"
    written_by(file, 0.4, pid=1, started="1", **elsewhere)
    take(file, "x").release()  # silent for too long
    assert "waiting" not in capsys.readouterr().err
    written_by(file, 0.1, pid=1, started="1", **elsewhere)
    assert "(kill" not in message(lambda: take(file, "x", wait=False))  # who may live counts as living
    begun = time.monotonic()
    take(file, "x").release()  # watched, and silent
    assert 0.05 < time.monotonic() - begun < 2
    assert "x: may be written by process 1 on host" in capsys.readouterr().err


def test_a_living_writer_on_another_machine_is_seen_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    file = tmp_path / ".writer.json"
    monkeypatch.setattr(owner, "machine", lambda: "the other")  # held by a thread of this process, seen as another's
    held = take(file, "x")
    monkeypatch.undo()
    assert "wait until it is done, end it, or choose" in message(take, file, "x")
    held.release()


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_clocks_of_two_machines_need_not_agree(tmp_path, quick, monkeypatch, skew):
    """Its age is told by the file system's clock alone; a time in the future is watched like any other."""
    file = tmp_path / ".writer.json"
    written_by(file, 0.1, host="elsewhere")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + skew)
    assert "is being written by" in message(lambda: take(file, "x", wait=False))
    os.utime(file, (now() + 3600,) * 2)
    assert "is being written by" in message(lambda: take(file, "x", wait=False))
    take(file, "x").release()


@pytest.mark.parametrize("content", ["", '{"owner": {"pi', "[]", '{"owner": {"pid": -1}}', "\0\1"])
def test_a_crash_between_making_and_writing(tmp_path, quick, content):
    """Where a file system has no links, it may be there without its content: for STALE seconds somebody writes it."""
    file = tmp_path / ".writer.json"
    file.write_text(content)
    assert "a process that cannot be told" in message(lambda: take(file, "x", wait=False))
    take(file, "x").release()


def test_without_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    file = tmp_path / ".writer.json"
    held = take(file, "x")
    pid, text = in_child(lambda: take(file, "x"))
    os.waitpid(pid, 0)
    assert text.startswith("Held: x: is being written by process")
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_copied_lease_is_nobodys(tmp_path, quick):
    """A folder copied while it was written brings the lease of a living process, which never renews the copy."""
    (tmp_path / "copy").mkdir()
    held = take(tmp_path / ".writer.json", "x")
    (tmp_path / "copy" / ".writer.json").write_text(held.text)
    pid, text = in_child(lambda: take(tmp_path / "copy" / ".writer.json", "y").release())
    os.waitpid(pid, 0)
    assert text == "None"
    assert not (tmp_path / "copy" / ".writer.json").exists()
    take(tmp_path / "copy" / ".writer.json", "y").release()  # the process itself need not wait
    held.release()


def test_two_who_find_a_dead_one_cannot_both_have_it(tmp_path, monkeypatch):
    """The second, late with burying, finds that it took the first one's lease away, and puts it back."""
    file = tmp_path / ".writer.json"
    written_by(file, pid=os.getppid(), started="1")
    bury, firsts = lease._bury, []

    def late(grave, found):
        if not firsts:
            firsts.append(None)
            monkeypatch.setattr(Owner, "is_same", lambda *_: False)  # as if the first were another process
            firsts.append(take(file, "first"))
        bury(grave, found)

    monkeypatch.setattr(lease, "_bury", late)
    assert "second: is being written by process" in message(take, file, "second")
    firsts[1].confirm()
    assert file.read_text() == firsts[1].text
    firsts[1].release()
    assert list(tmp_path.iterdir()) == []


def test_who_lost_it_stops_and_who_lost_its_file_makes_it_again(tmp_path):
    file = tmp_path / ".writer.json"
    held = take(file, "x")
    file.unlink()
    held.confirm()
    assert file.read_text() == held.text
    written_by(file, pid=1, host="elsewhere")
    assert "process 1 on host elsewhere" in message(held.confirm)
    held.release()
    assert file.exists()  # not its own


def test_temporary_files_of_the_living_stay(tmp_path, monkeypatch):
    seen = []
    write_atomic(tmp_path / "a", lambda file: seen.append(in_child(lambda: leftovers(tmp_path))))
    os.waitpid(seen[0][0], 0)
    assert seen[0][1] == "[]"
    dead_by(lambda: write_atomic(tmp_path / "b", lambda file: os.kill(os.getpid(), signal.SIGKILL)))
    (tmp_path / ".c.old.part").touch()  # of a version that marked nothing
    assert sorted(file.name[:3] for file in leftovers(tmp_path)) == [".b.", ".c."]
    (tmp_path / ".d.00000000-1-1.x.part").touch()  # of another machine
    assert len(leftovers(tmp_path)) == 2
    monkeypatch.setattr(owner, "_OLD", -1)
    assert len(leftovers(tmp_path)) == 3


def test_a_process_without_proc_is_told_by_ps():
    told = owner._told_by_ps(os.getpid())
    assert told == "" or told == owner._told_by_ps(os.getpid())
    assert replace(Owner.here(), started="").lives() is None


# -- runs


def test_a_second_trainer_is_refused_and_changes_nothing(tmp_path):
    run = Run.create(tmp_path / "run", "toy", settings())
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    pid, text = in_child(lambda: Run.create(run.path, "toy", settings("model.width=5")))
    os.waitpid(pid, 0)
    assert text.startswith(f"Held: {run.path}: is being written by process {os.getpid()} on host")
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before
    run.release()
    pid, text = in_child(lambda: Run.create(run.path, "toy", settings("model.width=5")).settings.model.width)
    os.waitpid(pid, 0)
    assert text == "5"


def test_a_run_is_given_up_where_its_object_is_gone_and_where_it_is_refused(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "run", "toy", settings())
    run.save("current", CONTENT)
    path = run.path
    del run
    assert not (path / ".writer.json").exists()
    monkeypatch.setattr(Run, "_write_start", lambda run, plugin: (_ for _ in ()).throw(ZooError("disk full")))
    with pytest.raises(ZooError) as error:
        Run.create(path, "toy", settings())
    assert not (path / ".writer.json").exists(), error  # whose traceback keeps the object
    monkeypatch.undo()
    assert "train.seed" in message(Run.create, path, "toy", settings("train.seed=9"))
    assert not (path / ".writer.json").exists()
    with Run.create(path, "toy", settings()).writing():
        assert (path / ".writer.json").exists()
    assert not (path / ".writer.json").exists()


def test_nothing_is_saved_over_who_took_over(tmp_path):
    run = Run.create(tmp_path / "run", "toy", settings())
    run.save("best", CONTENT)
    before = run.file("best").read_bytes()
    written_by(run.path / ".writer.json", pid=1, host="elsewhere")
    assert "host elsewhere" in message(run.save, "best", {**CONTENT, "epoch": 3})
    assert "host elsewhere" in message(run.log, {"step": 1})
    assert run.file("best").read_bytes() == before
    assert not (run.path / "training_log.jsonl").exists()
    with pytest.raises(ZooError, match="host elsewhere"), run.writing():
        pass
