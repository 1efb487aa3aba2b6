"""Items over this process, processes and a Dask cluster: the same outcomes, whoever dies."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from eozoo_core.errors import ZooError
from eozoo_core.run import dask_workers, workers
from eozoo_core.run.pool import Task, work_elsewhere
from eozoo_core.run.workers import open_workers
from worker_jobs import Job, gpu_of, refuse

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, each a process of its own, as people start them; the scheduler's file."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    log = (file.parent / "log").open("wb")

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=file.parent)

    where = ("--scheduler-file", str(file), "--no-dashboard")
    processes = [
        start("scheduler", *where, "--host", "127.0.0.1", "--port", "0"),
        start("worker", *where, "--nthreads", "1", "--nworkers", "2"),
    ]
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.02)
    yield str(file)
    for process in reversed(processes):
        process.terminate()
        process.wait(30)
    log.close()


@pytest.fixture(params=["here", "processes", "dask"])
def how(request):
    if request.param == "dask":
        return {"dask": request.getfixturevalue("cluster"), "needs": ["eozoo"]}
    return {"workers": 2} if request.param == "processes" else {}


def told(outcomes):
    return [outcome.value or str(outcome.error) for outcome in outcomes]


def test_the_same_outcomes_in_order(how, tmp_path, monkeypatch):
    items = ["a", "bad b.tif", "c", "d", "e", "f", "g"]
    monkeypatch.chdir(tmp_path)  # relative paths mean the same to every worker
    with open_workers(**how) as pool:
        found = list(pool.outcomes(Job(Path()), iter(items), ordered=True))
        again = list(pool.outcomes(Job(Path()), items))
    assert told(found) == ["a done", "b.tif: is bad; mend it", *(f"{x} done" for x in "cdefg")]
    assert type(found[1].error) is ZooError
    assert [outcome.number for outcome in found] == list(range(7))
    assert sorted(told(again)) == sorted(told(found))
    loaded = [file.read_text() for file in tmp_path.glob("loaded_*")]
    assert len(loaded) <= (2 if how else 1)
    assert max(map(len, loaded)) <= 2 <= sum(map(len, loaded)), "once for a function, nothing kept for another"
    assert all(outcome.seconds >= 0 for outcome in found)


def test_a_bug_keeps_its_traceback_and_the_first_mistake_ends_a_map(how, tmp_path):
    before = managers()  # of other tests
    with pytest.raises(ValueError, match="deep"), open_workers(**how) as pool:
        list(pool.outcomes(Job(tmp_path), ["a", "bug deep"]))
    with pytest.raises(ZooError, match=r"^x: no$"), open_workers(**how) as pool:
        list(pool.map(refuse, ["x", "y"]))
    assert managers() <= before, "a thread of a dropped pool still runs: Python may print a traceback when it ends"


def managers():
    """The threads of this process that look after an executor's processes."""
    return {one for one in threading.enumerate() if type(one).__name__ == "_ExecutorManagerThread"}


def test_items_are_taken_as_there_is_room(how):
    taken = []

    def items():
        for number in range(-40, 0):
            taken.append(number)
            yield number

    with open_workers(**how) as pool:
        found = pool.map(abs, items())
        assert next(found) == 40
        assert len(taken) <= 2 * pool.size < 40
        assert list(found) == list(range(39, 0, -1))


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_dead_workers_item_goes_to_another(request, kind, tmp_path, monkeypatch):
    how = {"workers": 2} if kind == "processes" else {"dask": request.getfixturevalue("cluster")}
    with open_workers(**how) as pool:
        found = told(pool.outcomes(Job(tmp_path), ["a", "once", "b", "c"], ordered=True))
    assert found == ["a done", "once done", "b done", "c done"]


def test_an_item_that_kills_is_given_up_and_no_other(tmp_path):
    with open_workers(2) as pool:
        found = told(pool.outcomes(Job(tmp_path), ["kill x", "a", "b", "c"], ordered=True))
    assert found[1:] == ["a done", "b done", "c done"]
    assert found[0].startswith("kill x: 3 workers were killed at it")


def test_a_folder_that_a_worker_does_not_have_is_one_line():
    with pytest.raises(
        ZooError, match=r"^/no/such/folder: is not there on \S+, where a worker runs; share that folder"
    ):
        work_elsewhere(Task("a", "b", 0, abs, -1, folder="/no/such/folder"))


def test_processes_take_turns_at_gpus_and_share_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    with open_workers(2, gpus=2) as pool:
        assert sorted(pool.map(gpu_of, [tmp_path] * 2)) == [("3", "4"), ("GPU-5", "4")]


DRIVER = """
import sys
from pathlib import Path
from eozoo_core.run.pool import Task, work_elsewhere
from eozoo_core.run.workers import open_workers
from worker_jobs import Job
if __name__ == "__main__":
    with open_workers(2) as pool:
        list(pool.outcomes(Job(Path(sys.argv[1])), ["wait", "wait"]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_process(tmp_path, number):
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path], env={**os.environ, "PYTHONPATH": str(TESTS)},
        stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    end = time.monotonic() + 60
    while len(found := list(tmp_path.glob("waits_*"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    driver.send_signal(number)
    driver.wait(30)
    left = [int(file.name.removeprefix("waits_")) for file in found]
    while left and time.monotonic() < end:
        left = [pid for pid in left if Path(f"/proc/{pid}/cmdline").exists() and b"spawn" in _command(pid)]
        time.sleep(0.02)
    assert left == []


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def refusal(**how):
    with pytest.raises(ZooError) as error, open_workers(**how):
        pass
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_scheduler_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_workers, "_PATIENCE", 0.5)
    assert refusal(dask="cluster").startswith("--dask cluster: is no scheduler; give its address, tcp://HOST:8786")
    assert refusal(dask="tcp://127.0.0.1:9").startswith("--dask tcp://127.0.0.1:9: no scheduler answers (")
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    assert "other.json: is no scheduler" in refusal(dask=str(tmp_path / "other.json"))
    monkeypatch.setattr(dask_workers, "find_spec", lambda name: None)
    assert refusal(dask="tcp://127.0.0.1:9") == "--dask tcp://127.0.0.1:9: needs Dask; pip install 'eozoo[dask]'"


def test_a_worker_without_the_plugin_or_of_another_version_is_one_line(cluster, monkeypatch):
    there, as_code, changed = dask_workers.versions_of, dask_workers._as_code, {"eozoo": "9.9"}
    monkeypatch.setattr(dask_workers, "versions_of", lambda names: there(names) | changed)
    monkeypatch.setattr(dask_workers, "_as_code", lambda _: as_code(there))
    end = "; install the same there and start it again"
    assert re.search(rf"worker tcp://\S+ has eozoo 0\S+, this command eozoo 9.9{end}", refusal(dask=cluster))
    changed.update({"my-plugin": "1.0"})
    del changed["eozoo"]
    assert f"has no my-plugin, this command my-plugin 1.0{end}" in refusal(dask=cluster, needs=["my-plugin"])
