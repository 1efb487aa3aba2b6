"""Sixty scenes, and processes that are killed at random while they map them: every scene once, every file whole."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo_core import Run
from eozoo_core.raster.read import read_whole
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.mapper import GROUP_BYTES
from rasterio.windows import Window
from serve import serve
from test_outputs import check

SCENES, SIDE, WORKERS = 60, 40, 4
KILLS = ("worker", "driver", "worker", "worker", "driver", "worker")
TASK = "pixelwise_regression"
EOZOO = [sys.executable, "-m", "eozoo"]
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are found in /proc")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A trained run, sixty overlapping scenes, and their maps as one process makes them undisturbed."""
    root = tmp_path_factory.mktemp("chaos")
    registry = Registry.discover().within(TASK)
    cls = registry.get("task", TASK)
    sample = cls.sample(root / "data")
    small = ["model.options={width: 4, depth: 2}", "train.epochs=1", "runtime.device=cpu", "runtime.quiet=true",
             "infer.picture=false", "infer.on_unlike=warn", "infer.int8=[std]"]  # fmt: skip
    settings = load_settings(cls.Settings, overrides=small, base=to_dict(sample.settings))
    run = Run.create(root / "run", TASK, settings)
    cls(settings, registry).train(run)
    cut(sample.source, root / "scenes")
    done = command(root, "calm", 1)
    assert done.wait() == 0
    return root


def cut(source, folder):
    """Write windows of a scene as scenes, each of a size that it is mapped alone."""
    folder.mkdir()
    choose = random.Random(5)
    with rasterio.open(source) as data:
        profile = {key: data.profile[key] for key in ("driver", "dtype", "count", "crs", "nodata")}
        for number in range(SCENES):
            col, row = choose.randrange(data.width - SIDE), choose.randrange(data.height - SIDE)
            window, file = Window(col, row, SIDE, SIDE), folder / f"s{number:02d}.tif"
            place = {"height": SIDE, "width": SIDE, "transform": data.window_transform(window)}
            with rasterio.open(file, "w", **profile, **place) as out:
                out.write(data.read(window=window))
                out.descriptions, out.units = data.descriptions, data.units
            os.truncate(file, GROUP_BYTES + 1)


def command(root, dest, workers=1, source="scenes", *more):
    """Begin to map all scenes into a folder."""
    given = ["infer", TASK, "--run", root / "run", "--input", source, "--output", root / dest, *more]
    many = ["--workers", str(workers)] if workers > 1 else []
    log = (root / f"{dest}.log").open("a")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*EOZOO, *map(str, given), *many], stdout=subprocess.DEVNULL, stderr=log, env=environment, cwd=root
    )


def catalogue(root):
    """Write the scenes as a STAC collection, a file for each band; return its file."""
    folder = root / "stac"
    folder.mkdir()
    for file in sorted((root / "scenes").iterdir()):
        with rasterio.open(file) as data:
            profile, values, names = data.profile | {"count": 1}, data.read(), data.descriptions
        for name, band in zip(names, values, strict=True):
            with rasterio.open(folder / f"{file.stem}_{name}.tif", "w", **profile) as out:
                out.write(band, 1)
        assets = {
            name: {"href": f"./{file.stem}_{name}.tif", "type": "image/tiff", "roles": ["data"],
                   "eo:bands": [{"name": name, "common_name": name}]} for name in names
        }  # fmt: skip
        item = {"type": "Feature", "stac_version": "1.0.0", "id": file.stem, "geometry": None, "links": [],
                "properties": {"datetime": "2024-06-15T10:40:31Z"}, "assets": assets}  # fmt: skip
        (folder / f"{file.stem}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"./{file.stem}.json"} for file in sorted((root / "scenes").iterdir())]
    whole = {"type": "Collection", "stac_version": "1.0.0", "id": "sixty", "description": "-", "license": "other",
             "links": links, "extent": {"spatial": {"bbox": [[90, 10, 100, 20]]},
                                        "temporal": {"interval": [["2024-06-15T00:00:00Z", None]]}}}  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(whole))


@contextmanager
def cluster(folder):
    """A scheduler and two workers, each a process of its own; yield the scheduler's file and the processes."""
    folder.mkdir()
    file, log = folder / "scheduler.json", (folder / "log").open("wb")
    start = lambda *given: subprocess.Popen(  # noqa: E731
        [sys.executable, "-m", "dask", *given, "--scheduler-file", str(file), "--no-dashboard"],
        stdout=log, stderr=log, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    worker = ("worker", "--nthreads", "1", "--no-nanny")
    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0"), start(*worker), start(*worker)]
    try:
        yield file, processes
    finally:
        for one in processes:
            one.kill()
            one.wait()


def children(pid):
    """The workers of a process, by number."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid and "spawn_main" in stat.with_name("cmdline").read_text():
                found.append(int(stat.parent.name))
        except (OSError, ValueError):
            continue
    return sorted(found)


def until(dest, count, process):
    """Wait until so many scenes have a map, or the process has ended: False."""
    while process.poll() is None:
        if len(list(dest.glob("*_mean.tif"))) >= count:
            return True
        time.sleep(0.02)
    return False


def lines(dest):
    return [json.loads(line) for line in (dest / "scenes.jsonl").read_text().splitlines()]


def require_whole(root, dest, end=".tif", more=frozenset()):
    """Every scene is noted once, every file is whole, and every pixel is that of the undisturbed work.

    end: of the scenes' names; more: files that the undisturbed work has not.
    """
    calm, found = root / "calm", root / dest
    done = [line for line in lines(found) if line["state"] == "done"]
    assert {line["scene"] for line in done} == {f"s{number:02d}{end}" for number in range(SCENES)}
    computed = Counter(line["scene"] for line in done if "seconds" in line)  # else found with its maps there
    assert max(computed.values()) == 1
    assert [line for line in lines(found) if line["state"] == "failed"] == []
    assert [file.name for file in found.rglob(".*")] == []
    names = lambda folder: {file.relative_to(folder).as_posix() for file in folder.rglob("*")}  # noqa: E731
    assert names(found) == names(calm) | more
    for file in [*calm.glob("*.tif"), *calm.glob("*.vrt")]:
        np.testing.assert_array_equal(read_whole(found / file.name), read_whole(file), file.name)
    assert len(list((found / "items").glob("*.json"))) == SCENES
    check(found / "collection.json", "collection")


@pytest.mark.slow
def test_workers_and_drivers_that_are_killed(work):
    choose, dest, killed = random.Random(19), work / "killed", []
    process = command(work, "killed", WORKERS)
    for victim, count in zip(KILLS, sorted(choose.sample(range(2, SCENES - 8), len(KILLS))), strict=True):
        assert until(dest, count, process), (work / "killed.log").read_text()
        time.sleep(choose.random() / 10)
        if victim == "driver":
            process.kill()
            process.wait()
            process = command(work, "killed", WORKERS)
        else:
            os.kill(choose.choice(children(process.pid)), signal.SIGKILL)
        killed.append(victim)
    assert process.wait() == 0, (work / "killed.log").read_text()
    assert killed == list(KILLS)
    require_whole(work, "killed")


@pytest.mark.slow
def test_machines_that_share_a_folder_and_are_killed(work):
    """As jobs of an array: four of the same command, two of them killed, and two that begin later."""
    choose, dest = random.Random(7), work / "shared"
    machines = [command(work, "shared", 1) for _ in range(WORKERS)]
    for count in (6, 25):
        assert until(dest, count, machines[-1]), (work / "shared.log").read_text()
        victim = machines.pop(choose.randrange(len(machines)))
        victim.kill()
        victim.wait()
        machines.append(command(work, "shared", 1))
    assert [one.wait() for one in machines] == [0] * WORKERS, (work / "shared.log").read_text()
    assert command(work, "shared", 1).wait() == 0  # what was another's when all others were done
    require_whole(work, "shared")


@pytest.mark.slow
def test_a_collection_becomes_a_mosaic_on_a_cluster_that_is_killed_twice(work):
    """The same command, on a new cluster each time, goes on."""
    pytest.importorskip("distributed")
    dest, log = work / "cluster", work / "cluster.log"
    catalogue(work)
    with serve(work / "stac") as served:
        for number, count in enumerate((8, 30, None)):
            with cluster(work / f"dask_{number}") as (file, processes):
                url = f"{served.url}/collection.json"
                process = command(work, "cluster", 1, url, "--dask", file, "--merge")
                if count is not None:
                    assert until(dest, count, process), log.read_text()
                    for one in processes:
                        one.kill()
                    process.wait(240)
                    assert process.returncode == 1, log.read_text()
                    told = log.read_text().splitlines()[number:]
                    assert [line[:7] for line in told] == ["Error: "], log.read_text()
                else:
                    assert process.wait() == 0, log.read_text()
    merged = {f"merged_{layer}.tif" for layer in ("mean", "std")}
    for name in merged:
        calm = read_whole(work / "calm" / name.replace("merged", "mosaic").replace("tif", "vrt"))
        np.testing.assert_array_equal(read_whole(dest / name), calm)
    require_whole(work, "cluster", "", merged)
