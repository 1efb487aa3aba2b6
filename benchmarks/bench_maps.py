"""Maps: ``infer`` beside the forward passes alone and beside a plain script; memory of two heights.

A plain script reads a raster whole, cuts windows of 256 px every 192 px, predicts them one by one, averages where they
overlap and writes a GeoTIFF: no strips, guard, stamps, quick-looks, cloud-optimised files, or safety on a full disk.
Each way is a process of its own, of one thread: CPU seconds, the best of three in turn. The floor is the
network on one raster in memory, whole, as often as there are rasters.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tools import cpu_seconds, in_process

if TYPE_CHECKING:
    import numpy as np

WIDTH, HEIGHTS, BANDS = 2048, (5_000, 20_000), 14
CASES = (256, 4, 100), (1000, 1, 5)  # side of rasters, px, and how many
WAYS = "infer", "plain", "forward"


def main() -> None:
    """Print both comparisons."""
    compare()
    results = [json.loads(in_process("benchmarks.bench_maps", str(height))) for height in HEIGHTS]
    for height, r in zip(HEIGHTS, results, strict=True):
        print(
            f"{height:6d} rows: {r['rate'] / 1e3:.1f} thousand px/s (network alone {r['network'] / 1e3:.1f}), "
            f"{r['covered']:.2%} of pixels covered, peak {r['memory'] / 1e6:.0f} MB above interpreter and torch"
        )
    print(f"peak memory, {HEIGHTS[1]} rows / {HEIGHTS[0]} rows: {results[1]['memory'] / results[0]['memory']:.2f}")


def measure(height: int) -> dict[str, float]:
    """Write a raster, map it with an untrained U-Net of width 8, and read the map back."""
    import numpy as np
    import rasterio
    import torch
    from eozoo_core.raster.cog import Band, CogWriter
    from eozoo_core.raster.predict import predicted_rows
    from eozoo_core.raster.read import open_reader
    from eozoo_core.raster.tiles import Tiling
    from eozoo_gedi_sparse.networks import gedi_unet

    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder) / "in.tif", Path(folder) / "out.tif"
        _write_input(source, height)
        network = gedi_unet(BANDS, width=8).eval()
        in_network = 0.0

        def predict(batch: np.ndarray) -> np.ndarray:
            nonlocal in_network
            begin = time.perf_counter()
            with torch.inference_mode():
                out = network(torch.from_numpy(batch)).numpy()
            in_network += time.perf_counter() - begin
            return out

        predict(np.zeros((4, BANDS, 256, 256), np.float32))
        base, in_network, began = _peak(), 0.0, time.perf_counter()
        with (
            open_reader(source) as reader,
            CogWriter(dest, reader.info.grid, [Band("mean", "m"), Band("v", "m2")]) as out,
        ):
            row = 0
            ask, tiling = (lambda batch: lambda: predict(batch)), Tiling(256, 32, network.multiple)
            for rows in predicted_rows(reader, ask, tiling, 4, reader.info.bands, lambda: 2):
                out.write_rows(row, rows)
                row += rows.shape[1]
        taken = time.perf_counter() - began
        memory = _peak() - base
        with rasterio.open(dest) as made:
            covered = np.mean([np.isfinite(made.read(1, window=w)).mean() for _, w in made.block_windows(1)])
    pixels = height * WIDTH
    return {"rate": pixels / taken, "network": pixels / in_network, "covered": float(covered), "memory": memory}


def compare(cases: Sequence[tuple[int, int, int]] = CASES, rounds: int = 3) -> None:
    """Map folders of rasters with a U-Net of width 16 for 14 bands, trained for one step.

    cases: side of the rasters, px, and how many two folders have. A raster costs what the second takes more than the
    first; the rest of the first is the process: imports, best.pt, the first pass.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scene = Path(in_process("benchmarks.bench_maps", "world", folder).strip().splitlines()[-1])
        for side, *counts in cases:
            places = [root / f"{side}_{count}" for count in counts]
            for place, count in zip(places, counts, strict=True):
                _cut(scene, place, count, side)
            spent: dict[tuple[str, int], float] = {}
            for _ in range(rounds):
                for way, at in ((way, at) for way in WAYS for at in (0, 1)):
                    shutil.rmtree(root / "maps", ignore_errors=True)
                    seconds = cpu_seconds(_command(way, root, places[at]), 1, warm=False)
                    spent[way, at] = min(spent.get((way, at), seconds), seconds)
            each = {way: (spent[way, 1] - spent[way, 0]) / (counts[1] - counts[0]) for way in WAYS}
            for way, seconds in each.items():
                once = spent[way, 0] - counts[0] * seconds
                print(
                    f"{side} px: {way:<7} {1e3 * seconds:7.1f} ms a raster = {seconds / each['forward']:.2f} x the "
                    f"passes = {seconds / each['plain']:.2f} x the plain script; a process {once:.1f} s",
                    flush=True,
                )


def _command(way: str, root: Path, source: Path) -> list[str]:
    if way == "infer":
        given = ["--run", root / "run", "--input", source, "--output", root / "maps"]
        return [sys.executable, "-m", "eozoo", "infer", "gedi_sparse", *map(str, given)]
    return [sys.executable, "-m", "benchmarks.bench_maps", way, str(root), str(source)]


def world(root: Path) -> None:
    """Train into ``root``/run and print the path of a scene."""
    from eozoo.registry import Registry
    from eozoo_core import Run
    from eozoo_core.settings.config import load_settings, to_dict
    from eozoo_gedi_sparse.task import GediSparse

    sample = GediSparse.sample(root / "data")
    overrides = ["train.steps=1", "train.members=1", "runtime.quiet=true", "runtime.tensorboard=false"]
    overrides += ["infer.window=256", "infer.on_unlike=warn", "runtime.threads=1"]
    settings = load_settings(type(sample.settings), None, overrides, to_dict(sample.settings))
    GediSparse(settings, Registry.discover()).train(Run.create(root / "run", "gedi_sparse", settings))
    print(sample.source)


def beside(way: str, root: Path, source: Path) -> None:
    """Map a folder with the plain script, or run the forward passes alone; this process does nothing else."""
    import eozoo

    found = eozoo.load_run(root / "run")
    predict, files = found.task.predictor(found.run), sorted(source.iterdir())
    image = _read(files[0])[None]
    for file in files:
        if way == "plain":
            _plain(file, root / "plain.tif", predict)
        else:
            predict({"image": image})


def _cut(scene: Path, folder: Path, count: int, side: int) -> list[Path]:
    """Rasters of a scene that is mirrored to and fro."""
    import numpy as np
    import rasterio

    folder.mkdir()
    with rasterio.open(scene) as source:
        profile, names, values = source.profile, source.descriptions, source.read()
    for number in range(count):
        rows, cols = ((0, max(0, side + 8 * number - length)) for length in values.shape[1:])
        image = np.pad(values, ((0, 0), rows, cols), "symmetric")[:, 8 * number :, 8 * number :][:, :side, :side]
        with rasterio.open(folder / f"{number:02d}.tif", "w", **(profile | {"height": side, "width": side})) as out:
            out.write(image)
            out.descriptions = names
    return sorted(folder.iterdir())


def _read(file: Path) -> np.ndarray:
    import numpy as np
    import rasterio

    with rasterio.open(file) as source:
        return source.read(masked=True).astype("float32").filled(np.nan)


def _plain(file: Path, out: Path, predict: Callable[[dict], dict], size: int = 256, stride: int = 192) -> None:
    import numpy as np
    import rasterio

    image = _read(file)
    height, width = image.shape[1:]
    total, times = np.zeros((2, height, width)), np.zeros((height, width))
    starts = [sorted({*range(0, max(n - size, 0), stride), max(n - size, 0)}) for n in (height, width)]
    for row in starts[0]:
        for col in starts[1]:
            part = slice(row, row + size), slice(col, col + size)
            found = predict({"image": image[(None, slice(None), *part)]})
            total[(slice(None), *part)] += np.stack([found["mean"][0], found["std"][0]])
            times[part] += 1
    with rasterio.open(file) as source:
        profile = source.profile | {"count": 2, "dtype": "float32", "nodata": np.nan, "compress": "deflate"}
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write((total / times).astype("float32"))


def _write_input(path: Path, height: int) -> None:
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    random = np.random.default_rng(0)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": BANDS, "height": height, "width": WIDTH, "tiled": True}
    profile |= {"crs": "EPSG:32647", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 2e6), "nodata": 0}
    profile |= {"blockxsize": 256, "blockysize": 256}
    rows = random.integers(1, 10_000, (BANDS, 256, WIDTH), dtype=np.uint16)
    with (
        rasterio.Env(GDAL_CACHEMAX=64 * 2**20),
        rasterio.open(path, "w", **profile) as out,
    ):
        for row in range(0, height, 256):
            n = min(256, height - row)
            out.write(rows[:, :n], window=Window(0, row, WIDTH, n))


def _peak() -> int:
    """Return the largest resident size so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1] == "world":
        world(Path(sys.argv[2]))
    elif sys.argv[1] in WAYS:
        beside(sys.argv[1], *map(Path, sys.argv[2:]))
    else:
        print(json.dumps(measure(int(sys.argv[1]))))
