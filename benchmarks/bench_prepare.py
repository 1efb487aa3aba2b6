"""Preparation: shots per second of reading and rasterising, and patches per second from a mosaic of 10,000 rows."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tools import in_process

SHOTS, FILES = 400_000, 4
ROWS, COLUMNS, BANDS = 10_000, 1_024, 4


def main() -> None:
    """Print rates per second of CPU time beside plain h5py and rasterio doing the least that the work needs."""
    shots = json.loads(in_process("benchmarks.bench_prepare", "shots").splitlines()[-1])
    read, plain = shots["read"], shots["plain"]
    print(f"granules: {read / 1e6:.2f} million shots/s read and filtered ({read / plain:.2f} of plain h5py)")
    print(f"labels: {shots['labels'] / 1e6:.2f} million shots/s onto a grid of 2,000 x 2,000 pixels")
    patches = json.loads(in_process("benchmarks.bench_prepare", "patches").splitlines()[-1])
    share = patches["rate"] / patches["plain"]
    print(f"patches: {patches['rate']:.0f}/s of 244 px and {BANDS} bands from {ROWS:,} rows, with the search for data")
    print(
        f"  {share:.2f} of reading and saving alone; peak {patches['memory'] / 1e6:.0f} MB above interpreter and torch"
    )


def shots() -> dict[str, float]:
    """Rates of the steps shots and labels, and of h5py reading the same variables."""
    import h5py
    import numpy as np
    from eozoo_gedi_sparse.prepare.extract import extract
    from eozoo_gedi_sparse.prepare.labels import make_labels
    from eozoo_gedi_sparse.prepare.settings import LabelsSettings, ShotsSettings
    from eozoo_gedi_sparse.prepare.synthetic_granule import BEAMS, make_beam, write_granule

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            n = SHOTS // FILES // 8
            beams = {
                name: make_beam(99 + 0.9 * rng.random(n), 18 + 0.9 * rng.random(n), 300 * rng.random(n))
                for name in BEAMS
            }
            write_granule(folder / "in" / f"g{number}.h5", beams, "GEDI_L4A")
        began = time.process_time()
        for file in (folder / "in").iterdir():
            with h5py.File(file) as granule:
                for beam in [b for b in granule if b.startswith("BEAM")]:
                    granule[beam].visititems(lambda _, item: item[:] if isinstance(item, h5py.Dataset) else None)
        plain = time.process_time() - began
        began = time.process_time()
        extract(ShotsSettings(source=folder / "in", dest=folder / "shots"), quiet=True)
        read = time.process_time() - began
        grid = {"crs": "EPSG:32647", "bounds": (500_000, 1_990_000, 600_000, 2_090_000), "pixel": 50}
        began = time.process_time()
        make_labels(LabelsSettings(source=folder / "shots", dest=folder / "labels.tif", grid=grid))
        return {"read": SHOTS / read, "plain": SHOTS / plain, "labels": SHOTS / (time.process_time() - began)}


def patches() -> dict[str, float]:
    """Rate of the step patches, of reading and saving the same windows, and the step's peak memory."""
    import resource

    import numpy as np
    import torch  # noqa: F401 - part of what the peak is counted above
    from eozoo_core.raster.cog import Band, CogWriter
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.raster.read import open_reader
    from eozoo_core.raster.tiles import Window
    from eozoo_gedi_sparse.prepare.patches import make_patches
    from eozoo_gedi_sparse.prepare.settings import PatchesSettings
    from rasterio import Affine
    from rasterio.crs import CRS

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rng = np.random.default_rng(0)
    grid = Grid(ROWS, COLUMNS, CRS.from_epsg(32647), Affine(50, 0, 5e5, 0, -50, 2e6))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, count in (("stack", BANDS), ("labels", 1)):
            with CogWriter(folder / f"{kind}.tif", grid, [Band(f"b{i}") for i in range(count)]) as out:
                for row in range(0, ROWS, 500):
                    values = rng.random((count, 500, COLUMNS), np.float32)
                    out.write_rows(row, np.where(values < 0.04, values, np.nan) if kind == "labels" else values)
        settings = {"stack": folder / "stack.tif", "labels": folder / "labels.tif", "dest": folder / "out"}
        began = time.process_time()
        make_patches(PatchesSettings(**settings), quiet=True)
        taken = time.process_time() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base
        files = sorted((folder / "out").glob("input/*/*.npy"))
        began = time.process_time()
        with open_reader(folder / "stack.tif") as stack, open_reader(folder / "labels.tif") as labels:
            for file in files:
                row, col = (int(part[1:]) for part in file.stem.split("_"))
                for reader in (stack, labels):
                    np.save(folder / "one.npy", reader.read(Window(row, col, 244, 244)))
        plain = time.process_time() - began
    return {"rate": len(files) / taken, "plain": len(files) / plain, "memory": memory}


if __name__ == "__main__":
    print(json.dumps({"shots": shots, "patches": patches}[sys.argv[1]]()))
