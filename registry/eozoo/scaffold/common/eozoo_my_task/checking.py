"""``eozoo check my_task``: the data before training. ``eozoo_core.checking`` judges the splits described here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.checking import Findings, Item, Split, check_splits, judge_schedule, judge_splits, place_of
from eozoo_core.checking.folders import channels_of
from eozoo_core.checking.preview import panels_of
from eozoo_core.raster.read import read_info

from eozoo_my_task.data import Tiles
from eozoo_my_task.objective import plausible_label

if TYPE_CHECKING:
    from eozoo_my_task.settings import MyTaskSettings


def check(settings: MyTaskSettings, findings: Findings) -> None:
    """Describe the splits; see ``Task.check``. What is wrong with one of them does not hide the others."""
    root, splits, channels = settings.runtime.data_dir, [], []
    for name in ("train", "val", "test"):
        if name == "test" and root is not None and not (root / name).is_dir():
            findings.unknown("test", f"there is no {root / name}", "without it there is nothing to score at the end")
            continue
        with findings.guard(name):
            tiles = Tiles(root, name)
            channels = channels or channels_of(read_info(tiles.images[0]))  # names and units that the file gives
            splits.append(describe_split(tiles, settings.data.crop))
    if not splits:
        return
    label = plausible_label(settings)
    seen = check_splits(findings, splits, channels, label)
    judge_schedule(findings, settings.train, sum(len(split) for split in splits if split.name == "train"))
    judge_splits(findings, splits)
    if shown := next((one for one in seen.values() if one.best), None):
        findings.picture(shown.shown, lambda: panels_of(shown, channels, label))


def describe_split(tiles: Tiles, crop: int) -> Split:
    """Return a split: the names of its samples, how to read one as training does, and where it lies."""
    files: list[Path] = tiles.images

    def read(i: int) -> Item:
        image, label = tiles.arrays(i)
        tiles.require_size(i, image, crop)
        known = None if label is None else np.where(np.isfinite(image).all(axis=0), label, np.float32(np.nan))
        return Item(image, known)

    names = [str(file) for file in files]
    return Split(
        tiles.folder.name, names, read, files, lambda i: place_of(names[i], read_info(files[i]).grid), what="images"
    )
