"""Python files that lie among data are never run: not in the current folder, not beside the data, by no process."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
from eozoo.cli import VERBS

EOZOO = Path(sys.executable).with_name("eozoo")
# Our own packages, what we import, and modules of Python that child processes import before any line of ours.
PLANTED = ("eozoo", "eozoo_core", "eozoo_gedi_sparse", "numpy", "torch", "click", "yaml", "rasterio", "matplotlib",
           "json", "random", "socket", "pickle", "secrets", "multiprocessing", "concurrent")  # fmt: skip

# Runs commands one after the other as the command ``eozoo`` would, with torch imported only once.
CHAIN = f"""
import json, sys
from eozoo.cli import main
if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        sys.argv = [{str(EOZOO)!r}, *words]  # what the launcher of several devices starts again
        try:
            main(words)
        except SystemExit as end:
            if end.code:
                sys.exit(f"eozoo {{' '.join(words)}}: code {{end.code}}")
"""


def plant(folder, marker, names=PLANTED):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        line = f"open({str(marker)!r}, 'a').write(__file__ + '\\n')\nraise ImportError('planted ' + __file__)\n"
        (folder / f"{name}.py").write_text(line)


def run(command, folder, **more):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "PYTHONPATH")} | more
    environment |= {"OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": str(folder.parent / "config")}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def world(tmp_path):
    """A folder to work in, with data in it, and planted files in each; the marker shows which of them were run."""
    from eozoo_gedi_sparse.demo.landscape import write_landscape

    here, marker = tmp_path / "here", tmp_path / "marker"
    write_landscape(here / "data", tiles=(6, 2, 2), size=32, scene=(40, 40))
    for folder in (here, *(f for f in (here / "data").rglob("*") if f.is_dir())):
        plant(folder, marker)
    return here, marker


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])  # of an ensemble's members
def test_no_verb_runs_a_file_of_the_current_folder(world, tmp_path, processes):
    here, marker = world
    sets = ["runtime.input_dir=data/input", "runtime.label_dir=data/label", "runtime.tensorboard=false",
            "runtime.device=cpu", "model.options.width=4", "train.members=1", "data.crop=32", "train.epochs=1",
            "train.batch_size=2", "infer.window=32", "infer.stride=32", "eval.baselines=[]"]  # fmt: skip

    def task(verb, *words, more=()):
        return [verb, "gedi_sparse", *words, *[word for item in more for word in ("--set", item)]]

    members = ["train.members=2", f"runtime.member_processes={processes}"]
    example = ["prepare.example.dest=raw", "prepare.example.rows=128", "prepare.example.columns=128"]
    extract = ["prepare.shots.source=raw/granules", "prepare.shots.dest=shots", "prepare.shots.workers=2"]
    chain = [
        ["list"],
        ["show", "gedi_unet"],
        ["plugins"],
        ["weights", "list"],
        ["doctor"],
        ["new", "my_lake", "--in", "lake"],
        task("config"),
        task("prepare", "example", more=example),
        task("prepare", "shots", more=extract),
        task("check", "--out", "checked", more=sets),
        task("train", "--run", "one", more=[*sets, "runtime.workers=1"]),
        task("eval", "--run", "one"),
        task("infer", "--run", "one", "--input", "data/scene.tif", "--output", "maps"),
        task("export", "--run", "one", "--format", "safetensors", "--output", "one.safetensors"),
        ["card", "gedi_sparse", "--run", "one"],
        task("train", "--run", "members", "--quiet", more=[*sets, *members]),
        ["compare", "one", "members"],
        task("train", "--run", "two", "--devices", "2", more=sets),  # last: the process stays one of two
    ]
    assert {words[0] for words in chain} == set(VERBS) - {"demo"}  # which is prepare, train, eval and infer in one
    if processes == 1:  # what doctor starts is tested below
        chain.remove(["doctor"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chain.py").write_text(CHAIN)
    run([sys.executable, tmp_path / "bin" / "chain.py", json.dumps(chain)], here)
    assert not marker.exists(), marker.read_text()
    assert json.loads((here / "two" / "run.json").read_text())["device"] == "cpu x 2"
    assert (here / "members" / "member_1" / "best.pt").exists()


def test_the_process_of_a_member_runs_no_file_of_the_current_folder(tmp_path, monkeypatch):
    from eozoo_core.task import members

    here, marker, started = tmp_path / "here", tmp_path / "marker", []
    plant(here, marker)
    stand_in = SimpleNamespace(Popen=lambda command, **how: started.append((command, how)), DEVNULL=-3)
    monkeypatch.setattr(members, "subprocess", stand_in)
    settings = SimpleNamespace(runtime=SimpleNamespace(device="cpu", threads=1, member_processes=2))
    members._start(0, SimpleNamespace(task="gedi_sparse", path=tmp_path, settings=settings, release=lambda: None))
    ((command, how),) = started
    assert "gedi_sparse" in run([*command[: command.index("train")], "list", "tasks"], here)
    assert how.keys() == {"stdout", "stderr", "stdin", "env"}  # in this folder
    assert how["env"].items() >= os.environ.items()
    assert not marker.exists(), marker.read_text()


def test_the_installed_command_runs_no_file_of_the_current_folder(world):
    here, marker = world
    assert "gedi_sparse" in run([EOZOO, "list", "tasks"], here)
    assert not marker.exists(), marker.read_text()


def test_processes_that_python_code_starts(tmp_path, monkeypatch):
    """Without the command, whose environment would protect them."""
    from eozoo.probe import time_import
    from eozoo.registry import GROUP
    from eozoo.testing.plugin_module import listing_is_light

    here, marker = tmp_path / "here", tmp_path / "marker"
    plant(here, marker)
    monkeypatch.chdir(here)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    point = next(point for point in entry_points(group=GROUP) if point.name == "gedi_sparse")
    assert time_import(point).seconds is not None
    listing_is_light(SimpleNamespace(plugin=f"{point.dist.name} {point.dist.version}", name="gedi_sparse"), here)
    assert not marker.exists(), marker.read_text()


def test_python_m_eozoo_looks_there_for_eozoo_only(tmp_path):
    """Python itself runs ``eozoo.py`` of the current folder before any line of ours; -P or the command does not."""
    here, marker = tmp_path / "here", tmp_path / "marker"
    plant(here, marker, [name for name in PLANTED if name != "eozoo"])
    assert "gedi_sparse" in run([sys.executable, "-m", "eozoo", "list", "tasks"], here)
    plant(here, marker)
    assert "gedi_sparse" in run([sys.executable, "-P", "-m", "eozoo", "list", "tasks"], here)
    assert not marker.exists(), marker.read_text()
