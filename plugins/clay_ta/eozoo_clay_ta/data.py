"""The samples of one split as core trains and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.task import Arrays
from eozoo_core.task.data import Data

from eozoo_clay_ta.sample_schema import NAMES, UNITS, Normalisation

if TYPE_CHECKING:
    from eozoo_core.task.survey import Survey
    from eozoo_core.train.loading import Draw

    from eozoo_clay_ta.chunks import PatchStore
_NEEDED = ("files", "chunks", "batch", "chunk_range", "meta")


class Patches(Data):
    """Samples of mapped chunks, whole batches at once. They are z-scores by the document's schema: staged already.

    ``samples``: a `PatchStore`, or a dataset of another plugin that has what it has. Raises ZooError where it has not.
    """

    what = "samples"
    bands, units = NAMES, UNITS
    together = 1024
    repeats = True

    def __init__(self, samples: PatchStore, name: str = "clay_ta_patches"):
        for needed in _NEEDED:
            if not hasattr(samples, needed):
                raise ZooError(
                    f"data.samples.name: {name} gives a {type(samples).__name__} without {needed!r}; it needs "
                    f"{', '.join(_NEEDED)} as eozoo_clay_ta.chunks.PatchStore has them"
                )
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

    def parts(self) -> list[tuple[list[Path], range]]:
        """See `Data.parts`: one for each chunk."""
        return [([file], self.samples.chunk_range(i)) for i, file in enumerate(self.files)]

    def area(self) -> list[float]:
        """See `Data.area`: the box of the stations."""
        places = np.concatenate([chunk.tensors["loc"][:, :2].numpy() for chunk in self.samples.chunks])
        (south, west), (north, east) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        return [round(value, 4) for value in (west, south, east, north)]

    def labels(self) -> np.ndarray:
        """Return the z-scores of all samples, (N,) float64."""
        return np.concatenate([chunk.tensors["y"].double().numpy() for chunk in self.samples.chunks])

    def meta(self) -> list[tuple[Any, ...]]:
        """Return (timestamp_utc, stn, pixel_x, pixel_y) of every sample."""
        return self.samples.meta()
