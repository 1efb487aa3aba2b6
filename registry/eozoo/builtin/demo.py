"""The synthetic landscape of the built-in image tasks: what ``sample`` writes, and the pictures of a demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import Sample
from eozoo_core.images.sample import BANDS, Band, landscape, write_world
from eozoo_core.raster.read import read_whole
from eozoo_core.score.quicklook import Panel, quicklook

from eozoo.builtin.image_settings import (
    TRAIN,
    RegressionData,
    RegressionModel,
    RegressionSettings,
    SegmentationData,
    SegmentationModel,
    SegmentationSettings,
)

CLASSES = ("bare", "shrub", "forest")
_SMALL = {"width": 8, "depth": 3}
_TRAIN = TRAIN.model_copy(update={"epochs": 80, "epoch_steps": None, "batch_size": 4, "learning_rate": 5e-3})


def write_heights(root: Path) -> Sample:
    """Write bands and canopy height, known at a fifth of the pixels."""
    height, bands = landscape()
    scene, batch = write_world(root, bands, BANDS, height, Band("height", "m"))
    settings = RegressionSettings(
        model=RegressionModel(options=_SMALL),
        data=RegressionData(crop=32, unit="m", quantity="canopy height", least=0.0),
        train=_TRAIN,
        runtime={"data_dir": root},
    )
    return Sample(settings, scene, batch)


def write_cover(root: Path) -> Sample:
    """Write bands and cover by canopy height (to 2 m, to 10 m, above), known at a fifth of the pixels."""
    height, bands = landscape()
    scene, batch = write_world(root, bands, BANDS, _cover(height), Band("class"))
    settings = SegmentationSettings(
        model=SegmentationModel(options=_SMALL),
        data=SegmentationData(crop=32, classes=CLASSES),
        train=_TRAIN,
        runtime={"data_dir": root},
    )
    return Sample(settings, scene, batch)


def draw_heights(sample: Sample, out: Path) -> list[Path]:
    """Draw true and predicted height of the scene, the error and, where there is one, the standard deviation."""
    maps = _maps(sample, out, "mean", "std")
    truth, limits = _truth(maps["mean"]), (0.0, 30.0)
    panels = [
        Panel(truth, "true canopy height", "m", limits=limits),
        Panel(maps["mean"], "prediction", "m", limits=limits),
        Panel(maps["mean"] - truth, "prediction - truth", "m", "RdBu", limits=(-10.0, 10.0)),
    ]
    if "std" in maps:
        panels.append(Panel(maps["std"], "predicted standard deviation", "m", "magma"))
    return _drawn(panels, out / "heights.png")


def draw_cover(sample: Sample, out: Path) -> list[Path]:
    """Draw true and predicted cover of the scene."""
    found = _maps(sample, out, "class")["class"]
    truth = np.where(np.isfinite(found), _cover(_truth(found)), np.nan)
    panels = [Panel(truth, "true cover", classes=CLASSES), Panel(found, "prediction", classes=CLASSES)]
    return _drawn(panels, out / "cover.png")


def _cover(height: np.ndarray) -> np.ndarray:
    return np.digitize(height, (2.0, 10.0))


def _truth(found: np.ndarray) -> np.ndarray:
    return landscape()[0][: found.shape[0], : found.shape[1]]


def _maps(sample: Sample, out: Path, *names: str) -> dict[str, np.ndarray]:
    files = {name: out / "maps" / f"{sample.source.stem}_{name}.tif" for name in names}
    return {name: read_whole(file)[0] for name, file in files.items() if file.exists()}


def _drawn(panels: list[Panel], file: Path) -> list[Path]:
    quicklook(panels, file, title="SYNTHETIC landscape", columns=2)
    return [file]
