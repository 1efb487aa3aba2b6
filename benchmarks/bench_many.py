"""Many scenes: ``eozoo infer`` with 1 and 2 workers and on a Dask cluster of 2; a large scene; a country on paper.

Wall times say little on a busy machine, so CPU seconds of all processes stand beside them: CPU efficiency is what one
worker takes for all scenes, as a share of what the workers take together. Every process has one thread.

    python -m benchmarks many                       # all three
    python -m benchmarks.bench_many scenes 500 256  # or one: scenes COUNT SIDE, large SIDE, country
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_maps import _cut
from benchmarks.bench_models import RESULTS
from benchmarks.tools import in_process

SCENES, SIDE, LARGE = 500, 256, 20_000
LEAST = 8  # of these scenes alone: what a command costs before its first scene
# Germany at 10 m: 357,600 km2 are 3.6 billion pixels.
PIXELS, BANDS, DATES, EMBEDDED = 3.6e9, 14, 73, 64
ONE_CONV = """
import torch
from eozoo_core import Port, Spec, hookimpl

@hookimpl
def eozoo_models():
    takes, gives = (Port("image", "B C H W"),), (Port("prediction", "B outputs H W"),)
    return [Spec("one_conv", "bench_one_conv:make", "One convolution.", takes=takes, gives=gives)]

def make(in_channels: int = 4, outputs: int = 1):
    return torch.nn.Conv2d(in_channels, outputs, 3, padding=1)
"""


def main() -> None:
    """Print all three."""
    scenes()
    large()
    country()


def scenes(count: int = SCENES, side: int = SIDE) -> None:
    """Map ``count`` rasters of 14 bands with a U-Net of width 16, in every way; the maps must be equal to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scene = Path(in_process("benchmarks.bench_maps", "world", folder).strip().splitlines()[-1])
        few = _cut(scene, root / "few", LEAST, side)
        (root / "many").mkdir()
        for number in range(count):  # cutting them all would take longer than mapping them
            os.link(few[number % LEAST], root / "many" / f"{number:04d}.tif")
        made, hashes = {}, {}
        with _cluster(root / "scheduler.json") as (address, workers):
            ways = {"1 worker": (), "2 workers": ("--workers", "2"), "Dask, 2 workers": ("--dask", address)}
            for way, more in ways.items():
                pids = workers if "--dask" in more else ()
                least = _infer(root, "few", more, pids)
                made[way] = _infer(root, "many", more, pids) | {"start": least["wall"], "start_cpu": least["cpu"]}
                hashes[way] = _hashes(root / "maps_many")
                _tell(way, made[way], made["1 worker"], count)
        assert len(set(hashes.values())) == 1, "maps differ"
        print(f"{count} scenes: the maps of all ways are equal to the bit")


def _infer(root: Path, source: str, more: Sequence[str], others: Sequence[int]) -> dict[str, float]:
    """Seconds of the wall and of all CPUs for a command, and what the work list says of the scenes.

    others: numbers of processes that work for it and are not its own.
    """
    import resource

    dest = root / f"maps_{source}"
    subprocess.run(["rm", "-rf", str(dest)], check=True)
    command = [sys.executable, "-m", "eozoo", "infer", "gedi_sparse", "--run", root / "run", "--input", root / source]
    before, begun, cpu = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), _cpu(others)
    subprocess.run([*map(str, command), "--output", str(dest), *more], check=True, capture_output=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = [json.loads(line) for line in (dest / "scenes.jsonl").read_text().splitlines()]
    inside = sum(line.get("seconds") or 0.0 for line in lines if line.get("state") == "done")
    return {"wall": wall, "cpu": own + _cpu(others) - cpu, "inside": inside}


def _tell(way: str, found: dict[str, float], one: dict[str, float], count: int) -> None:
    workers = 1 if way == "1 worker" else 2
    each = (found["cpu"] - found["start_cpu"]) / (count - LEAST)
    each_of_one = (one["cpu"] - one["start_cpu"]) / (count - LEAST)
    print(
        f"{way:<16} {60 * count / found['wall']:6.0f} scenes a minute, {found['wall']:6.1f} s; "
        f"{one['wall'] / found['wall'] / workers:5.0%} of {workers} x the first by the wall, "
        f"{each_of_one / each:5.0%} by CPU ({1e3 * each:.0f} ms a scene); in scenes "
        f"{found['inside'] / workers / found['wall']:5.0%} of the time of the workers; {LEAST} scenes alone take "
        f"{found['start']:.1f} s, {found['start_cpu']:.1f} s of CPU",
        flush=True,
    )


@contextmanager
def _cluster(file: Path) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and two workers of one thread on this machine: the scheduler's file, and the workers' numbers."""
    import psutil

    base = [sys.executable, "-m", "dask"]
    where = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*base, "scheduler", *where, "--host", "127.0.0.1", "--port", "0"], **quiet)
    worker = subprocess.Popen([*base, "worker", *where, "--nthreads", "1", "--nworkers", "2"], **quiet)
    try:
        while not file.exists() or len(_below(worker.pid)) < 2:
            time.sleep(0.2)
        time.sleep(5)
        yield str(file), _below(worker.pid)
    finally:
        for one in (psutil.Process(worker.pid), psutil.Process(scheduler.pid)):
            one.terminate()
            one.wait(30)


def _below(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True) if "spawn" in " ".join(child.cmdline())]


def _cpu(pids: Sequence[int]) -> float:
    import psutil

    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _hashes(folder: Path) -> str:
    """One hash over the pixels of all maps; their tags name run and folder."""
    import rasterio

    found = hashlib.sha256()
    for file in sorted(folder.glob("*.tif")):
        with rasterio.open(file) as opened:
            found.update(file.name.encode() + opened.read().tobytes())
    return found.hexdigest()


def large(side: int = LARGE) -> None:
    """Map a scene of ``side`` x ``side`` px with one convolution, beside one of a quarter of its rows.

    The outermost pixels of a window see zeros where the scene goes on; in the blend they weigh 6e-4 (32 px of overlap).
    Everywhere else a map must be what one pass over the scene gives, to the bit.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        in_process("benchmarks.bench_many", "world", folder)
        results = []
        for rows in (side // 4, side):
            told = in_process("benchmarks.bench_many", "one", folder, str(rows), str(side))
            results.append(json.loads(told.splitlines()[-1]))
            r = results[-1]
            print(
                f"{rows} x {side} px: {r['wall']:.0f} s, {r['cpu']:.0f} s of CPU, "
                f"{1e9 * r['cpu'] / r['pixels']:.0f} ns a pixel ({1e9 * r['network'] / r['pixels']:.0f} ns in predict "
                f"alone), {r['covered']:.4%} of the pixels mapped, at most {r['error']:.1e} from the convolution, "
                f"{r['edges']:.1e} where windows end; "
                f"peak {r['memory'] / 1e6:.0f} MB above interpreter and torch",
                flush=True,
            )
        print(f"memory, {side} rows / {side // 4} rows: {results[1]['memory'] / results[0]['memory']:.2f}")


def country() -> None:
    """Print what Germany at 10 m takes, from the rates of benchmarks/results/models.json: nothing is run.

    One network without an ensemble; times what maps take beside it (docs/speed.md). An embedding is one pass over 16 of
    a year's 73 dates of 11 bands; ``infer.passes`` of them cost as many times as much.
    """
    models = json.loads(RESULTS.read_text())["models"]
    cases = {
        "gedi_unet, mean and deviation": (65_536 / models["gedi_unet"]["forward_s"], 1.46, 2 * BANDS, 8),
        "64-d embedding, float32": (256 / models["btfm_transformer"]["forward_s"], 1.08, 2 * 11 * DATES, 4 * EMBEDDED),
        "64-d embedding, int8": (256 / models["btfm_transformer"]["forward_s"], 1.08, 2 * 11 * DATES, EMBEDDED),
    }
    for name, (rate, more, read, written) in cases.items():
        hours = PIXELS / rate * more / 3600
        print(
            f"{name}: {rate / more:,.0f} px/s a thread, {hours:,.0f} CPU hours: {hours / 24:,.1f} days in one process, "
            f"{hours / 200:,.1f} h on 200 workers; reads {PIXELS * read / 1e9:,.0f} GB, writes "
            f"{PIXELS * written / 1e9:,.0f} GB before compression; 200 workers read "
            f"{PIXELS * read / (hours / 200 * 3600) / 1e6:,.0f} MB/s together"
        )
    print(
        f"GPUs: no rate was measured; at R pixels a second of one ('python -m benchmarks.gpu'), {PIXELS / 3600:,.0f} / "
        f"R hours on one and {PIXELS / 3600 / 16:,.0f} / R on 16"
    )


def world(root: Path) -> None:
    """Train one convolution for one step into ``root``/run, with a plugin that is made there."""
    from eozoo.registry import Registry
    from eozoo_core import Run
    from eozoo_core.settings.config import load_settings, to_dict

    (root / "bench_one_conv.py").write_text(ONE_CONV)
    info = root / "bench_one_conv-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-one-conv\nVersion: 1.0\nRequires-Dist: eozoo\n")
    (info / "entry_points.txt").write_text("[eozoo]\nbench = bench_one_conv\n")
    registry = Registry.discover().within("pixelwise_regression")
    cls = registry.get("task", "pixelwise_regression")
    sample = cls.sample(root / "data")
    changes = ["model.name=one_conv", "train.steps=1", "runtime.quiet=true", "runtime.tensorboard=false"]
    changes += ["infer.on_unlike=warn", "eval.baselines=[]"]
    settings = load_settings(type(sample.settings), None, changes, to_dict(sample.settings))
    cls(settings, registry).train(Run.create(root / "run", "pixelwise_regression", settings))


def one(root: Path, rows: int, columns: int) -> None:
    """Map one scene in this process; print what it took, and whether every pixel is what the network gives."""
    import resource

    import eozoo

    found = eozoo.load_run(root / "run")
    predictor = found.task.predictor(found.run)
    source, dest = root / f"scene_{rows}.tif", root / f"maps_{rows}"
    _write_scene(source, rows, columns, predictor.survey.names)
    usage = lambda: resource.getrusage(resource.RUSAGE_SELF)  # noqa: E731
    base, before, begun = usage().ru_maxrss, usage(), time.perf_counter()
    found.task.infer(found.run, source, dest)
    wall, after = time.perf_counter() - begun, usage()
    made = {
        "wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory": 1024 * (after.ru_maxrss - base), "pixels": rows * columns,
    }  # fmt: skip
    print(json.dumps(made | _checked(predictor, found.task.settings.infer, source, next(dest.glob("*.tif")))))


def _checked(predictor: Any, infer: Any, source: Path, file: Path) -> dict[str, float]:
    """The share of pixels that a map has, how far some are from a pass over them, and what that pass would take."""
    import numpy as np
    import rasterio
    from eozoo_core.raster.tiles import Tiling
    from rasterio.windows import Window

    covered, network, seen, errors = 0, 0.0, 0, {"error": 0.0, "edges": 0.0}
    with rasterio.open(source) as scene, rasterio.open(file) as made:
        for _, window in made.block_windows(1):
            covered += int(np.isfinite(made.read(1, window=window)).sum())
        size = min(1024, made.height, made.width)
        right, low = made.width - size, made.height - size
        tiling = Tiling(infer.window, infer.overlap, predictor.multiple)
        down, across = (_ends(tiling, side) for side in (made.height, made.width))
        for row, col in ((0, 0), (low, right), (low // 2, right)):
            window = Window(col, row, size, size)
            image = scene.read(window=window)[None].astype("float32")
            begun = time.process_time()
            wanted = predictor({"image": image})
            network, seen = network + time.process_time() - begun, seen + size * size
            name = next(key for key in wanted if file.stem.endswith(key))
            least = next(port.least for port in predictor.declared if port.role == name)
            wanted = np.maximum(wanted[name].reshape(size, size), -np.inf if least is None else least)
            inner = np.s_[2:-2, 2:-2]  # the convolution sees a pixel beyond the window
            difference = np.abs(made.read(1, window=window) - wanted)[inner]
            ends = (down[row : row + size, None] | across[None, col : col + size])[inner]
            errors["edges"] = max(errors["edges"], float(difference[ends].max(initial=0)))
            errors["error"] = max(errors["error"], float(difference[~ends].max()))
        total = made.height * made.width
    return {"covered": covered / total, "network": network / seen * total, **errors}


def _ends(tiling: Any, length: int) -> Any:
    """Where windows begin and end along an axis (length,), bool."""
    import numpy as np

    found, side = np.zeros(length, bool), tiling.side(length)
    for start in tiling.starts(length):
        found[[start, start + side - 1]] = True
    return found


def _write_scene(path: Path, rows: int, columns: int, names: Sequence[str]) -> None:
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    random = np.random.default_rng(0)
    profile = {"driver": "GTiff", "dtype": "float32", "count": len(names), "height": rows, "width": columns}
    profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 6e6), "tiled": True}
    strip = np.float32(0.1) * random.random((len(names), 512, columns), np.float32)
    with rasterio.open(path, "w", **profile, blockxsize=512, blockysize=512, bigtiff="yes") as out:
        out.descriptions = tuple(names)
        for row in range(0, rows, 512):
            n = min(512, rows - row)
            out.write(strip[:, :n], window=Window(0, row, columns, n))


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    numbers = [int(one) if one.isdigit() else Path(one) for one in given]
    {"scenes": scenes, "large": large, "country": country, "world": world, "one": one}[name](*numbers)
