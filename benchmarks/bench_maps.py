"""Map inference of 14 bands x 2,048 columns at two heights: pixels per second, coverage, and peak memory."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tools import in_process

WIDTH, HEIGHTS, BANDS = 2048, (5_000, 20_000), 14


def main() -> None:
    """Print each height's figures and the ratio of memory above interpreter and torch."""
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
    from eozoo_core.raster.predict import Tiling, predicted_rows
    from eozoo_core.raster.read import open_reader
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
            for rows in predicted_rows(reader, predict, Tiling(256, 192, 4), reader.info.bands, 2):
                out.write_rows(row, rows)
                row += rows.shape[1]
        taken = time.perf_counter() - began
        memory = _peak() - base
        with rasterio.open(dest) as made:
            covered = np.mean([np.isfinite(made.read(1, window=w)).mean() for _, w in made.block_windows(1)])
    pixels = height * WIDTH
    return {"rate": pixels / taken, "network": pixels / in_network, "covered": float(covered), "memory": memory}


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
    print(json.dumps(measure(int(sys.argv[1]))))
