"""README and docs are executed: ``console`` blocks run in order, ``python`` blocks run, links and targets exist."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").glob("*/README.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECKER = doctest.OutputChecker()
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page):
    return [(kind, body) for kind, body in BLOCK.findall(page.read_text()) if kind in ("console", "python")]


def commands(body):
    """Yield (command, expected output) of a console block."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What ``make demo`` leaves behind, made by a much shorter training."""
    folder = tmp_path_factory.mktemp("docs")
    short = "--set train.epochs=1 --set model.options.width=8 --set runtime.tensorboard=false"
    assert "done in" in run(f"eozoo demo gedi_sparse --out demo {short}", folder)
    return folder


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.stdout


def test_readme(demo):
    for kind, body in blocks(ROOT / "README.md"):
        if kind == "python":
            (demo / "block.py").write_text(body)
            printed = run(f"{sys.executable} block.py", demo)
            expected = "".join(f"{line.split('# ')[1]}\n" for line in body.splitlines() if line.startswith("print("))
            assert CHECKER.check_output(expected, printed, LOOSE), printed
            continue
        for command, expected in commands(body):
            printed = run(command, demo)
            assert CHECKER.check_output(expected, printed, LOOSE), f"$ {command}\n{printed}\nexpected:\n{expected}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", page.read_text(), re.MULTILINE)) <= targets


def test_every_hook_verb_and_task_method_has_a_place_in_the_docs():
    from eozoo.cli import VERBS
    from eozoo_core import Task, hookspecs

    text = "\n".join(page.read_text() for page in PAGES)
    assert [verb for verb in VERBS if f"eozoo {verb}" not in text] == []
    wanted = [name for name in vars(hookspecs) if name.startswith("eozoo_")]
    wanted += [name for name in vars(Task) if not name.startswith("_") and callable(getattr(Task, name))]
    assert [name for name in wanted if f"{name}" not in text] == []
