"""The demo's picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.raster.read import read_whole
from eozoo_core.score.quicklook import Panel, quicklook
from eozoo_core.task import Sample


def draw_demo(sample: Sample, out: Path) -> list[Path]:
    """Draw true height, predicted height, error and, where there is one, predicted standard deviation of the scene."""
    truth = np.load(out / "data" / "truth.npy", allow_pickle=False)
    stem = sample.source.stem
    files = {name: out / "maps" / f"{stem}_{name}.tif" for name in ("mean", "std")}
    maps = {name: read_whole(file)[0] for name, file in files.items() if name == "mean" or file.exists()}
    limits = (0.0, float(np.percentile(truth, 99.5)))
    panels = [
        Panel(truth, "true canopy height (synthetic)", "m", limits=limits),
        Panel(maps["mean"], "predicted from 14 bands", "m", limits=limits),
        Panel(maps["mean"] - truth, "prediction - truth", "m", "RdBu", limits=(-15.0, 15.0)),
    ]
    if "std" in maps:
        panels.append(Panel(maps["std"], "predicted standard deviation", "m", "magma"))
    path = out / "canopy_height.png"
    quicklook(panels, path, title="Canopy height from sparse shots: SYNTHETIC landscape", columns=2)
    return [path]
