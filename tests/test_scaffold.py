"""``eozoo new`` writes a package that installs, passes its own tests and runs its demo, outside this repository."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo.cli.new import KINDS
from eozoo.compat import built_for_another, core_range
from eozoo.scaffold import write_plugin
from eozoo_core import Spec, ZooError, hookimpl

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# "eozoo new" in the folder, then what its last line says, word for word but for pip's way without a network.
FIRST_WORDS = "pip install -e my_task && pytest my_task && eozoo demo my_task"


def repository():
    """Every file of the repository with the time of its last change."""
    parts = [p for name in ("core", "registry", "plugins", "tests", "docs") for p in (ROOT / name).rglob("*")]
    return {p: p.stat().st_mtime_ns for p in parts if p.is_file() and "__pycache__" not in p.parts}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new virtual environment in which what is installed here can be imported, and a folder beside it."""
    folder = tmp_path_factory.mktemp("stranger")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    site = next((folder / "venv").rglob("site-packages"))
    (site / "layer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    for name, module in {"eozoo": "eozoo", "pytest": "pytest"}.items():
        script = folder / "venv" / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/venv/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    return folder


def run(command, folder):
    path = f"{folder}/venv/bin{os.pathsep}{ENVIRONMENT['PATH']}"
    environment = {**ENVIRONMENT, "PATH": path, "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_new_plugin_installs_passes_its_tests_and_runs_its_demo(fresh):
    before = repository()
    assert FIRST_WORDS in run("eozoo new my_task", fresh)
    pip = f"{sys.executable} -m pip --python {fresh}/venv/bin/python install -q --no-deps --no-build-isolation"
    run(f"{pip} -e my_task", fresh)
    assert "21 passed" in run("pytest my_task -q", fresh)
    demo = run("eozoo demo my_task --set runtime.tensorboard=false", fresh)
    scores = json.loads((fresh / "demo/my_task/run/eval_test.json").read_text())["scores"]
    assert scores["model"]["rmse"] < 0.5 * scores["training mean"]["rmse"], demo
    assert (fresh / "demo/my_task/maps/scene_height.tif").exists()
    assert "my_task (eozoo-my-task 0.1.0) is off" in run("eozoo plugins disable my_task", fresh)
    assert "my_task" not in run("eozoo list", fresh)
    assert repository() == before


def test_the_other_kinds_pass_the_kit(fresh):
    """In one process, and by hand what pip does: importing torch and installing are not what is tested here."""
    for kind in ("segmentation", "ssl"):
        run(f"eozoo new other_{kind} --kind {kind} --in made", fresh)
        info = fresh / "made" / f"eozoo_other_{kind}-0.1.0.dist-info"
        (fresh / "made" / f"other_{kind}" / f"eozoo_other_{kind}").rename(fresh / "made" / f"eozoo_other_{kind}")
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: eozoo-other-{kind}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[eozoo]\nother_{kind} = eozoo_other_{kind}.plugin\n")
    assert "42 passed" in run(f"PYTHONPATH={fresh}/made pytest made --import-mode=importlib -q", fresh)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_whole_and_clean(tmp_path, kind):
    done = CliRunner().invoke(main, ["new", "glacier_task", "--kind", kind, "--in", str(tmp_path)], obj=Registry())
    assert done.exit_code == 0, done.output
    made = tmp_path / "glacier_task"
    files = [p for p in made.rglob("*") if p.is_file()]
    text = "\n".join(p.read_text() for p in files if p.name != "LICENSE")
    for left in ("my_task", "my-task", "MyTask", "SUMMARY", "LAYOUT", "EOZOO_"):
        assert left not in text
    assert "class GlacierTask(Task)" in text
    assert {"pyproject.toml", "README.md", "LICENSE"} <= {p.name for p in made.iterdir()}
    assert (made / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    low, high = core_range()
    assert f'"eozoo>={low},<{high}"' in text
    assert max(len(p.read_text().splitlines()) for p in files if p.suffix == ".py") < 200
    ruff = Path(sys.executable).with_name("ruff")
    checked = subprocess.run([ruff, "check", "--isolated", "--line-length=120", made], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def other():
    class Other:
        @hookimpl
        def eozoo_losses(self):
            return [Spec("snow_loss", "a:b", "A loss.")]

    return Other()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Snow", "'Snow' is no name"),
        ("3d", "'3d' is no name"),
        ("snow__x", "'snow__x' is no name"),
        ("core", "a package 'eozoo_core' is installed already"),
        ("snow", "loss 'snow_loss' exists already, from other 1.0"),
        ("there", "exists already"),
        ("../out", "'../out' is no name"),
    ],
)
def test_a_bad_name_is_one_line_and_writes_nothing(tmp_path, name, message):
    (tmp_path / "there").mkdir()
    registry = Registry()
    registry.add(other, "other 1.0")
    done = CliRunner().invoke(main, ["new", name, "--in", str(tmp_path)], obj=registry)
    assert done.exit_code == 1
    assert message in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot be written"):
        write_plugin("snow", "regression", tmp_path / "file" / "deeper", Registry())


@pytest.mark.parametrize(
    ("requirements", "installed", "unmet"),
    [
        (["eozoo>=0.1,<0.2", "torch>=2"], "0.1.0", None),
        (["eozoo<0.2,>=0.1"], "0.2.0", "eozoo>=0.1,<0.2"),
        (["eozoo>=0.1,<0.2"], "0.10.0", "eozoo>=0.1,<0.2"),
        (["eozoo>=0.3"], "0.2.9", "eozoo>=0.3"),
        (["eozoo (>=0.1)"], "0.1", None),
        (["eozoo==0.1"], "0.1.0", None),
        (["eozoo!=0.1"], "0.1.0", "eozoo!=0.1"),
        (["eozoo~=0.1.2"], "0.2.0", "eozoo~=0.1.2"),
        (["eozoo==0.1.*"], "0.1.7", None),
        (["eozoo<0.2"], "0.2.0rc1", "eozoo<0.2"),
        (["eozoo>=9; extra == 'new'"], "0.1.0", None),
        (["eozoo[wandb]>=9"], "0.1.0", "eozoo>=9"),
        (["eozoo-gedi-sparse>=9", "eozoo"], "0.1.0", None),
    ],
)
def test_built_for_another_core(requirements, installed, unmet):
    assert built_for_another(requirements, installed) == unmet
