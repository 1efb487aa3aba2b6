"""What users install: wheels of all distributions in a fresh environment, the repository nowhere near."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from test_layers import PROJECTS, ROOT, wheel_packages

HATCH = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def build(project, folder):
    """Build a wheel without a network, as pip does without isolation; return its file."""
    command = [sys.executable, "-c", HATCH, str(folder)]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return folder / done.stdout.split()[-1]


def files_of(project):
    """What git has of the packages of a project, as the wheel names it."""
    for package in wheel_packages(project):
        listed = subprocess.run(["git", "ls-files", "."], cwd=package, check=True, capture_output=True, text=True)
        yield from (f"{package.name}/{name}" for name in listed.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS, ids=lambda folder: folder.name)
def test_a_wheel_has_every_file_of_its_packages_and_its_plugin(project, tmp_path):
    """The quick form is in test_layers.py: which packages a wheel holds."""
    with zipfile.ZipFile(build(project, tmp_path)) as wheel:
        assert set(files_of(project)) <= {n for n in wheel.namelist() if ".dist-info/" not in n}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Run a command of a fresh environment that has all wheels; heavy packages are borrowed, ours are not."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels = [str(build(project, folder)) for project in PROJECTS]
    venv.create(folder / "env", with_pip=False)
    binaries = folder / "env" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", "-q", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--disable-pip-version-check", *wheels], check=True)
    (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")  # last on the path, and its .pth files unread
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(program, *arguments):
        command = [str(binaries / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    call.folder = folder
    return call


@pytest.mark.slow
def test_wheels_without_the_repository_list_judge_and_train(zoo):
    names = sorted({package.name for project in PROJECTS for package in wheel_packages(project)})
    homes = zoo("python", "-c", f"import {', '.join(names)}\nfor m in ({', '.join(names)}): print(m.__file__)").split()
    assert all(Path(home).is_relative_to(zoo.folder) for home in homes)
    assert not any(Path(home).is_relative_to(ROOT) for home in homes)
    listed = json.loads(zoo("eozoo", "list", "--json"))
    assert listed["problems"] == []
    assert {entry["plugin"].rpartition(" ")[0] for entry in listed["entries"]} >= {
        f"eozoo-{project.name.replace('_', '-')}" for project in PROJECTS if project != ROOT
    }
    judged = json.loads(zoo("eozoo", "doctor", "--json"))
    assert (judged["problems"], judged["warnings"], judged["claims"]) == ([], [], [])
    zoo("eozoo", "new", "snow")
    zoo("eozoo", "demo", "gedi_sparse", "--out", "d", "--set", "model.options.width=4", "--set", "train.epochs=1")
    assert (zoo.folder / "d" / "maps" / "scene_mean.tif").exists()
