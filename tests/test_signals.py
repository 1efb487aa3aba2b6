"""Ctrl-C, SIGTERM and SIGHUP in every phase of a verb: one line, the right exit code, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eozoo_core import Run
from eozoo_core.run.lease import held
from eozoo_core.run.writing import hidden_folder, publish, write_atomic
from eozoo_core.signals import Interrupt, Stopped, exit_code, raising_stopped
from toy import ToySettings

TESTS = Path(__file__).parent
# A task that says where it is and waits there: in its import, its verbs, the middle of a file, a worker, a step.
PLUGIN = """
import os, sys, time
from pathlib import Path

def at(phase):
    if os.environ.get("PHASE") == phase:
        Path(os.environ["ARRIVED"]).write_text(phase)
        end = time.monotonic() + 120
        while time.monotonic() < end and not Path(os.environ["ARRIVED"] + "_go").exists():
            time.sleep(0.02)

from eozoo_core import Spec, hookimpl

@hookimpl
def eozoo_tasks():
    return [Spec("zz_waits", "zz_waits_task:Waits", "A task.")]
"""
TASK = """
from zz_waits import at
at("import")
from eozoo_core.run.writing import write_atomic
from eozoo_core.run.workers import open_workers
from toy import Toy

class Waits(Toy):
    prepare_steps = {"work": "in a worker"}

    def check(self, findings):
        at("check")

    def train(self, run):
        at("statistics")
        import eozoo_core.train.step as steps
        step, done = steps.pooled_step, []
        def waiting(*arguments):
            done.append(step(*arguments))
            if len(done) == 3:
                at("step")
            return done[-1]
        steps.pooled_step = waiting
        super().train(run)

    def evaluate(self, run, split):
        at("evaluate")

    def infer(self, run, source, dest):
        dest.mkdir(parents=True, exist_ok=True)
        def half(file):
            file.write(b"half")
            at("infer")
        write_atomic(dest / "map.tif", half)

    def prepare_work(self):
        with open_workers(2) as pool:
            return list(pool.map(at, ["prepare", "other"]))
"""
START = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL if number.name not in sys.argv[1] else signal.SIG_IGN)
import os
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def eozoo(tmp_path):
    """Start the command on the waiting task, send a signal where it waits, and return how it ended."""
    (tmp_path / "zz_waits.py").write_text(PLUGIN)
    (tmp_path / "zz_waits_task.py").write_text(TASK)
    info = tmp_path / "zz_waits-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zz-waits\nVersion: 1.0\nRequires-Dist: eozoo\n")
    (info / "entry_points.txt").write_text("[eozoo]\nwaits = zz_waits\n")
    arrived = tmp_path / "arrived"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, TESTS))),
        "ARRIVED": str(arrived),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    command = [str(Path(sys.executable).with_name("eozoo"))]

    def run(phase, signals, *arguments, ignored=""):
        go = tmp_path / "arrived_go"
        for file in (arrived, go):
            file.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", START, ignored, sys.executable, *command, *map(str, arguments)],
            env={**environment, "PHASE": phase}, cwd=tmp_path, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            while not arrived.exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            for number in signals:
                os.killpg(process.pid, number)  # as a terminal does: to all processes of the job
            if phase == "step":  # training finishes the step
                go.touch()
            out, err = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, out, err

    return run


@pytest.mark.parametrize(
    ("phase", "number", "code", "arguments"),
    [
        ("import", signal.SIGINT, 130, ("show", "zz_waits")),
        pytest.param("check", signal.SIGHUP, 143, ("check", "zz_waits"), marks=pytest.mark.slow),
        ("statistics", signal.SIGTERM, 143, ("train", "zz_waits", "--run", "run")),
        ("prepare", signal.SIGINT, 130, ("prepare", "zz_waits", "work")),
        pytest.param("prepare", signal.SIGTERM, 143, ("prepare", "zz_waits", "work"), marks=pytest.mark.slow),
    ],
)
def test_one_line_and_the_exit_code(eozoo, tmp_path, phase, number, code, arguments):
    found, out, err = eozoo(phase, [number], *arguments)
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert (found, out) == (code, ""), err
    assert len(err.splitlines()) == 1, err
    assert name in err
    assert list(tmp_path.rglob("*.pt")) == []


@pytest.mark.parametrize(
    ("phase", "number"), [pytest.param("infer", signal.SIGTERM, marks=pytest.mark.slow), ("evaluate", signal.SIGHUP)]
)
def test_verbs_of_a_run_leave_nothing_half_written(eozoo, tmp_path, phase, number):
    settings = ToySettings()
    run = Run.create(tmp_path / "run", "zz_waits", settings)
    before = sorted(run.path.iterdir())
    verb = ("eval",) if phase == "evaluate" else ("infer",)
    more = () if phase == "evaluate" else ("--input", tmp_path / "zz_waits.py", "--output", tmp_path / "maps")
    code, out, err = eozoo(phase, [number], *verb, "zz_waits", "--run", run.path, *more)
    assert (code, out, len(err.splitlines())) == (143, "", 1), err
    assert sorted(run.path.iterdir()) == before
    assert list((tmp_path / "maps").glob("*")) == []


def test_training_saves_and_goes_on(eozoo, tmp_path):
    """With Ctrl-C ignored, as in a job that a script started in the background, SIGTERM still saves."""
    from toy import Toy

    Toy.sample(tmp_path / "data")
    train = ("train", "zz_waits", "--run", "run", "--set", f"runtime.data_dir={tmp_path / 'data'}", "--quiet")
    train = (*train, "--set", "runtime.tensorboard=false")
    code, out, err = eozoo("step", [signal.SIGINT, signal.SIGTERM], *train, ignored="SIGINT")
    assert (code, out, len(err.splitlines())) == (143, "", 1), err
    assert "step 3" in err
    run = Run.open(tmp_path / "run", ToySettings)
    assert run.load("current")["step"] == 3
    assert not [file for file in run.path.rglob("*") if file.name.startswith(".")]
    code, out, err = eozoo("step", [signal.SIGINT], *train)  # goes on from there: three more steps
    assert (code, len(err.splitlines())) == (130, 1), err
    assert run.load("current")["step"] == 6
    assert json.loads((run.path / "run.json").read_text())["task"] == "zz_waits"


def test_signals_raise_only_while_a_verb_runs():
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)):
        own = signal.signal(number, signal.SIG_DFL)  # the parent of pytest may ignore it
        try:
            with pytest.raises(Stopped) as stopped, raising_stopped():
                signal.raise_signal(number)
            assert signal.getsignal(number) is signal.SIG_DFL
        finally:
            signal.signal(number, own)
        assert exit_code(stopped.value.number) == code


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with raising_stopped(), Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.requested
            signal.raise_signal(signal.SIGTERM)
            assert interrupt.requested == signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_stopped_inside_a_destructor_is_not_lost():
    """Python drops what is raised while it frees an object."""

    class Slow:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def freed():
        with raising_stopped():
            Slow()
            time.sleep(30)

    with pytest.raises(Stopped):
        freed()


@pytest.mark.parametrize("kind", ["file", "folder", "lease"])
def test_a_signal_at_any_moment_leaves_nothing(tmp_path, kind):
    """SIGTERM at every call that changes a folder: the file is whole or not there, and nothing hidden is left."""
    moment = [0, 0]

    def ask(event, _):
        if moment[0] and event in (
            "open",
            "os.rename",
            "os.link",
            "os.mkdir",
            "os.remove",
            "os.rmdir",
            "shutil.rmtree",
        ):
            moment[1] += 1
            if moment[0] == moment[1]:
                signal.raise_signal(signal.SIGTERM)

    def work(folder):
        if kind == "file":
            write_atomic(folder / "a", lambda file: file.write(b"whole"))
        elif kind == "folder":
            with hidden_folder(folder / "a") as made:
                (made / "a").write_bytes(b"whole")
                publish(made / "a", folder / "a")
        else:
            with held(folder / "a", "x"):
                pass

    sys.addaudithook(ask)
    stopped = 0
    for number in range(1, 40):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        moment[:] = number, 0
        try:
            with raising_stopped():
                work(folder)
                moment[0] = 0
                time.sleep(0.03)  # one that was put off comes now
        except Stopped:
            stopped += 1
        moment[0] = 0
        left = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert left in ({}, *([{"a": b"whole"}] if kind != "lease" else [])), f"at change {number}"
    assert 4 < stopped < 39


@pytest.mark.parametrize(("when", "code"), [("import", 130), ("end", -2)])
def test_ctrl_c_before_and_after_the_verb_says_nothing(when, code):
    program = f"""
import atexit, os, signal, sys
def ask():
    os.kill(os.getpid(), signal.SIGINT)
class Freed:
    def __del__(self):
        ask()  # what is raised here, Python tells and drops
class Asked:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            Freed()
sys.meta_path.insert(0, Asked()) if {when == "import"} else atexit.register(ask)
before = set(sys.modules)
from eozoo.cli import run
assert set(sys.modules) - before == {{"eozoo", "eozoo.cli"}}, "Ctrl-C within these would be told by Python"
sys.argv[1:] = ["--help"]
run()"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr, bool(done.stdout)) == (code, "", when == "end")
