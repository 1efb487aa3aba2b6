"""docs/many_scenes.md is executed: what one process does; in the slow tier workers, machines and a cluster."""

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys

import pytest
from many_data import write_all
from serve import serve
from stac_api import api
from test_docs import CHECKER, LOOSE, ROOT, blocks, commands, run, run_here

PAGE, ADDRESS = ROOT / "docs" / "many_scenes.md", "https://data.example.org"
SHARED = "--workers 2"  # the first block of the second part has it
DASK = f"{shlex.quote(sys.executable)} -m dask"
LOCAL = {"dask scheduler": f"{DASK} scheduler --host 127.0.0.1 --port 0 --no-dashboard",
         "dask worker": f"{DASK} worker --no-nanny --no-dashboard"}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder of the page's data, and where they are served."""
    for needed in ("pyogrio", "pystac_client", "rioxarray"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("many")
    write_all(folder)
    with serve(folder / "stac", api(folder / "stac", page=5)) as served:
        yield folder, served.url


def parts():
    """The blocks of the page before and from the first with workers on."""
    found = blocks(PAGE)
    cut = next(number for number, (_, body) in enumerate(found) if SHARED in body)
    return found[:cut], found[cut:]


def python(body, folder):
    """What a block prints, and what it says that it does."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(body, str(PAGE), "exec"), {})
    lines = [line.strip() for line in body.splitlines() if line.strip().startswith("print(")]
    return printed.getvalue(), "".join(f"{line.split('# ')[1]}\n" for line in lines)


def execute(found, world, console):
    folder, url = world
    for kind, body in found:
        for command, expected in [(body, None)] if kind == "python" else commands(body):
            if expected is None:
                printed, expected = python(command, folder)
            else:
                printed = console(command.replace(ADDRESS, url), folder).replace(url, ADDRESS)
            assert CHECKER.check_output(expected, printed, LOOSE), f"$ {command}\n{printed}\nexpected:\n{expected}"


def here(command, folder):
    return run_here(command, folder) if command.startswith("eozoo ") else run(command, folder)


def test_on_a_laptop(world):
    execute(parts()[0], world, here)
    folder, _ = world
    assert not (folder / "none").exists()


@pytest.mark.slow
def test_on_many_processes_and_a_cluster(world):
    pytest.importorskip("distributed")
    folder, started = world[0], []
    first, second = parts()
    if not (folder / "maps").exists():
        execute(first, world, here)

    def console(command, folder):
        for short, local in LOCAL.items():
            if command.startswith(short) and command.endswith(" &"):
                words = shlex.split(command[:-2].replace(short, local))
                started.append(subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True))
                return ""
        return run(command, folder)

    try:
        execute(second, world, console)
    finally:
        for one in started:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()
    assert len(started) == 3
