"""The samples of one split as core trains and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data
from eozoo_core.task.registered import Registered

from eozoo_clay_ta.chunks import PatchStore
from eozoo_clay_ta.plugin import WINDOWS
from eozoo_clay_ta.sample_schema import NAMES, UNITS, Normalisation
from eozoo_clay_ta.station_windows import StationWindows, measured

if TYPE_CHECKING:
    from eozoo_core.task.survey import Survey
    from eozoo_core.train.loading import Draw

    from eozoo_clay_ta.grid import KoGrid


class Patches(Data):
    """Samples of mapped chunks, whole batches at once. They are z-scores by the document's schema: staged already."""

    what = "samples"
    bands, units = NAMES, UNITS
    together = 1024
    repeats = True

    def __init__(self, samples: PatchStore):
        self.samples, self.files = samples, samples.files

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        return {name: values[0] for name, values in self.items([index]).items()}

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """See `Data.batch`."""
        return self.items([draw.index for draw in draws])

    def items(self, indices: Sequence[int]) -> Arrays:
        """Return "x", "time7", "loc" and "landcover_onehot" as chunks have them, and the label's z-score "target"."""
        found = {name: values.numpy() for name, values in self.samples.batch(np.asarray(indices)).items()}
        return {name: values for name, values in found.items() if name != "y"} | {"target": found["y"]}

    def physical(self, index: int, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
        """See `Data.physical`: z-scores become channels and degC."""
        arrays = self.items([index])
        norm = Normalisation.of(survey.mean, survey.std, survey.label.mean, survey.label.std)
        return norm.physical(arrays["x"]), arrays["target"] * norm.ta_std + norm.ta_mean

    def channels(self, indices: Sequence[int], norm: Normalisation) -> np.ndarray:
        """Return the windows of samples as channels in their units, (19, n * 81)."""
        return norm.physical(self.items(indices)["x"])

    def parts(self) -> list[tuple[list[Path], range]]:
        """See `Data.parts`: one for each chunk."""
        return [([file], self.samples.chunk_range(i)) for i, file in enumerate(self.files)]

    def groups(self, by: str) -> list[str] | None:
        """See `Data.groups`: stations by their number, months as 2021-07."""
        if by not in ("stations", "months"):
            return None
        return [str(stn) if by == "stations" else str(time)[:7] for time, stn, *_ in self.meta()]

    def pick(self, others: Sequence[Patches], rows: np.ndarray) -> Patches:
        """See `Data.pick`. They lose their scaling, which all samples of one split gave it: training gives another."""
        return Unscaled(self.samples.pick([one.samples for one in others], rows))

    def area(self) -> list[float]:
        """See `Data.area`: the box of the stations."""
        places = np.concatenate([chunk.tensors["loc"][:, :2].numpy() for chunk in self.samples.chunks])
        (south, west), (north, east) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        return [round(value, 4) for value in (west, south, east, north)]

    def normalisation(self) -> Normalisation:
        """Return what the samples were made with. Raises ZooError where the file beside them is not there."""
        return Normalisation.read(self.samples.folder / "normalisation.json")

    def labels(self, norm: Normalisation) -> np.ndarray:
        """Return the z-scores of all samples, (N,) float64."""
        return np.concatenate([chunk.tensors["y"].double().numpy() for chunk in self.samples.chunks])

    def classes(self) -> np.ndarray:
        """Return the land cover of all samples, (N,) 0..16."""
        return np.concatenate([c.tensors["landcover_onehot"].numpy().argmax(axis=1) for c in self.samples.chunks])

    def meta(self) -> list[tuple[Any, ...]]:
        """Return (timestamp_utc, stn, pixel_x, pixel_y) of every sample."""
        return self.samples.meta()


class Unscaled(Patches):
    """Samples of chunks as `StationWindows` gives them, in physical units, for a fold of cross-validation.

    Means and deviations are those of the fold's own training samples.
    """

    def __init__(self, samples: PatchStore):
        super().__init__(samples)
        self._made_with = Patches.normalisation(self)
        self._times = np.array([meta[0] for meta in self.meta()], "datetime64[s]").astype(np.float64)

    def items(self, indices: Sequence[int]) -> Arrays:
        """Return "x" (n, 19, 9, 9), "time", "lat", "lon", "landcover" and "target" degC; see `plugin.WINDOWS`."""
        found, norm = super().items(indices), self._made_with
        classes = found["landcover_onehot"]
        return {
            "x": found["x"] * norm.std[:, None, None] + norm.mean[:, None, None],
            "time": self._times[np.asarray(indices)],
            "lat": found["loc"][:, 0],
            "lon": found["loc"][:, 1],
            "landcover": np.where(classes.any(axis=1), classes.argmax(axis=1), -1).astype(np.float32),
            "target": (found["target"] * norm.ta_std + norm.ta_mean).astype(np.float32),
        }

    def physical(self, index: int, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
        """See `Data.physical`."""
        return Data.physical(self, index, survey)

    def channels(self, indices: Sequence[int], norm: Normalisation) -> np.ndarray:
        """Return the windows of samples as channels in their units, (19, n * 81); they are not scaled by ``norm``."""
        return self.items(indices)["x"].swapaxes(0, 1).reshape(len(NAMES), -1)

    def normalisation(self) -> Normalisation:
        """Return mean and deviation of these samples, see `station_windows.measured`."""
        return measured(self, super().labels(self._made_with) * self._made_with.ta_std + self._made_with.ta_mean)

    def labels(self, norm: Normalisation) -> np.ndarray:
        """Return the z-scores by ``norm`` of all samples, (N,) float64."""
        made = self._made_with
        return (super().labels(made) * made.ta_std + made.ta_mean - norm.ta_mean) / norm.ta_std


class ChunkWindows(Data):
    """The same samples for use outside the task: one by one, in physical units, under the roles of the slot."""

    what, bands, units = "samples", NAMES, UNITS

    def __init__(self, samples: PatchStore):
        self.samples, self.files = samples, samples.files
        self._meta = samples.meta()

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def _norm(self) -> Normalisation:
        return Patches(self.samples).normalisation()

    def item(self, index: int) -> Arrays:
        """Return "image" (19, 9, 9), "target" degC, "time", "lat", "lon" and "landcover"; see `plugin.WINDOWS`."""
        one, norm = {name: values.numpy() for name, values in self.samples[index].items()}, self._norm
        return {
            "image": one["x"] * norm.std[:, None, None] + norm.mean[:, None, None],
            "target": np.float32(one["y"] * norm.ta_std + norm.ta_mean),
            "time": np.datetime64(self._meta[index][0], "s").astype(np.float64),
            "lat": one["loc"][0],
            "lon": one["loc"][1],
            "landcover": np.float32(one["landcover_onehot"].argmax()),
        }


def clay_ta_patches(patch_dir: str, split: str = "train") -> ChunkWindows:
    """Open the samples of ``split`` (train, val, test) below ``patch_dir`` as a map-style dataset."""
    return ChunkWindows(PatchStore(Path(patch_dir), split))


Samples = Patches | StationWindows


def open_samples(dataset: Any, said: str, grid: KoGrid) -> Samples:
    """Return what a registered dataset gave as the samples that training takes; ``said``: which one, for messages.

    Chunks are taken as they lie on disk. Raises ZooError where anything else is not of the slot's ports.
    """
    store = getattr(dataset, "samples", dataset)
    return Patches(store) if isinstance(store, PatchStore) else StationWindows(Registered(dataset, said, WINDOWS), grid)
