"""The sample: bare, shrub or forest by canopy height, labelled at a fifth of the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import Sample

from eozoo_my_task.settings import MyTaskRuntime, MyTaskSettings
from eozoo_my_task.world import BANDS, SIDE, canopy_height, images, reflectance, write


def write_sample(root: Path) -> Sample:
    """Write DATA_DIR and a scene under ``root``, the same bytes every time."""
    height = canopy_height((400, 336))
    bands = reflectance(height).astype("float32")
    labelled = np.random.default_rng(2).random(height.shape) < 0.2
    labels = np.where(labelled, np.digitize(height, (2.0, 10.0)), np.nan)[None]
    bands[:, 30:40, 100:130] = np.nan  # a cloud in the scene
    places = images(height)
    for split, name, where in places:
        write(root / split / "image" / f"{name}.tif", bands[(slice(None), *where)], where, BANDS, "reflectance 0..1")
        write(root / split / "label" / f"{name}.tif", labels[(slice(None), *where)], where, ("class",), "")
    scene = (slice(0, 2 * SIDE), slice(0, 3 * SIDE))
    write(root / "scene.tif", bands[(slice(None), *scene)], scene, BANDS, "reflectance 0..1")
    batch = np.stack([bands[(slice(None), *where)][:, :32, :32] for _, _, where in places[:2]])
    settings = MyTaskSettings(runtime=MyTaskRuntime(data_dir=root))
    return Sample(settings, root / "scene.tif", {"image": np.nan_to_num(batch)})
