"""The patches of one split as core trains and scores them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import read_info
from eozoo_core.score.baselines import RidgeFit
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data
from eozoo_core.task.survey import BandSurvey, surveyed
from eozoo_core.train.loading import Draw

from eozoo_gedi_sparse.data import SparseTiles, TrainingWindows
from eozoo_gedi_sparse.pairs import find_pairs, folders
from eozoo_gedi_sparse.patch_places import patch_grids
from eozoo_gedi_sparse.settings import GediSettings
from eozoo_gedi_sparse.survey import GediSurvey, RidgeSurvey


class Patches(Data):
    """Whole patches for scores, random windows for training; see `SparseTiles` and `TrainingWindows`."""

    what = "patches"

    def __init__(self, settings: GediSettings, split: str):
        found = find_pairs(*folders(settings), split, settings.data)
        self.tiles, self._seed = SparseTiles(found, settings.data), settings.train.seed
        self.pairs, self.bands, self.skipped = found.pairs, found.band_names, found.skipped
        info = read_info(self.pairs[0].input)
        self.units = tuple(info.units[b - 1] for b in self.pairs[0].bands)
        self.input_files = [pair.input for pair in self.pairs]
        self.files = [file for pair in self.pairs for file in (pair.input, pair.label)]
        self._windows: TrainingWindows | None = None
        self._places = patch_grids(folders(settings)[0].parent)

    def __len__(self) -> int:
        return len(self.tiles)

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        image, target = self.tiles.arrays(index)
        return {"image": image, "target": target}

    @property
    def windows(self) -> TrainingWindows:
        """The random windows of an epoch."""
        if self._windows is None:
            self._windows = TrainingWindows(self.tiles, self._seed)
        return self._windows

    @property
    def draws(self) -> int:
        """Patches times ``data.crops_per_patch``."""
        return len(self.windows)

    def draw(self, draw: Draw) -> Arrays:
        """See `Data.draw`."""
        sample = self.windows[draw]
        return {name: sample[name].numpy() for name in ("image", "target")}

    def batch(self, draws: list[Draw]) -> Arrays:
        """See `Data.batch`. Raises ZooError for windows of several sizes."""
        samples = [self.draw(draw) for draw in draws]
        shapes = {sample["image"].shape for sample in samples}
        if len(shapes) > 1:
            raise ZooError(f"training patches have different sizes {sorted(shapes)}; set data.crop to a common window")
        return {name: np.stack([sample[name] for sample in samples]) for name in ("image", "target")}

    def grid(self, index: int) -> Grid:
        """Where a patch lies: by its own file, or by what step ``patches`` wrote beside it."""
        pair = self.pairs[index]
        if pair.grid.crs is not None:
            return pair.grid
        return self._places.get((pair.input.parent.name, pair.name), pair.grid)


def survey_patches(data: Patches, unit: str, standard: bool) -> GediSurvey:
    """Look once through the patches. ``standard``: bands must vary, as they are standardised.

    Raises ZooError where no label has a value where the input has data.
    """
    statistics, ridge = ChannelStatistics(data.bands), RidgeFit(len(data.bands))
    for i in range(len(data)):
        arrays = data.item(i)
        image, target = arrays["image"], arrays["target"][0]
        statistics.update(image)
        labelled = np.isfinite(target)
        ridge.update(image[:, labelled], target[labelled])
    if ridge.count == 0:
        folder = data.pairs[0].label.parent
        raise ZooError(f"{folder}: none of {len(data)} label files has a value where the input has data")
    if standard:
        statistics.require_spread(str(data.pairs[0].input.parent))
    fit = ridge.solve()
    label = BandSurvey(name="label", unit=unit, mean=fit.mean, std=fit.std, count=ridge.count)
    return GediSurvey(bands=surveyed(statistics, data.units), label=label, ridge=RidgeSurvey(**asdict(fit)))
