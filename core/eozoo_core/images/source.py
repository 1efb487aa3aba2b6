"""Where the samples of a split come from: pairs of patches, or windows of rasters that are cut as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.tiles import Window
from eozoo_core.spec import Port
from eozoo_core.task.data import Arrays
from eozoo_core.task.registered import Registered

if TYPE_CHECKING:
    from eozoo_core.checking import Findings
    from eozoo_core.checking.division import Division
    from eozoo_core.settings import Named
    from eozoo_core.task.contract import Contract


class Images:
    """Samples of one split: images (C, H, W) and labels (1, H, W), float32, NaN = missing, read part by part.

    bands, units: of the images. where: for messages. files: all that is read. input_files: one per sample, () = none.
    names: of the codes of classes that labels hold, where they are known. unit: of labels, as their file says.
    column: the names that a column of labels holds, () = it holds none.
    together: how many scores take at once. extent: of the raster that all are parts of; None = each has its own place.
    apart: its splits are parts of one whole, divided so that no label is in two: core need not compare their pixels.
    division: how the whole was divided. notes: what was decided about labels. sparse: crops are drawn where a label is.
    """

    bands: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    where: str = ""
    what: str = "samples"
    files: Sequence[Path] = ()
    input_files: Sequence[Path] = ()
    labelled: bool = True
    names: Mapping[int, str] = MappingProxyType({})
    column: Sequence[str] = ()
    unit: str = ""
    notes: tuple[str, ...] = ()
    division: Division | None = None
    kept: np.ndarray | None = None
    extent: Grid | None = None
    together: int = 1
    apart: bool = False
    sparse: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Say which sample this is, for messages."""
        raise NotImplementedError

    def label_name(self, index: int) -> str:
        """Say which label this is, for messages."""
        return self.name(index)

    def grid(self, index: int) -> Grid:
        """Where a sample lies; its height and width are those of its arrays."""
        raise NotImplementedError

    def image(self, index: int, part: Window | None = None) -> np.ndarray:
        """Read the bands of a part of a sample, None = of all."""
        raise NotImplementedError

    def label(self, index: int) -> np.ndarray:
        """Read the label of all of a sample. Raises ZooError where it does not fit its image."""
        raise NotImplementedError

    def pick(self, others: Sequence[Images], rows: np.ndarray) -> Images:
        """See `Data.pick`."""
        raise ZooError(f"{self.where}: cross-validation cannot divide these {self.what} again; give patches as files")

    def problems(self, findings: Findings, split: str) -> None:
        """Tell ``check`` what is special about this form of data."""

    def take_bands(self, info: RasterInfo, wanted: tuple[int | str, ...] | None) -> tuple[int, ...]:
        """Set ``bands`` and ``units`` from the first file, and return the numbers of what is ``wanted`` of it."""
        chosen = info.select(wanted)
        self.bands = tuple(info.descriptions[n - 1] or f"band {n}" for n in chosen)
        self.units = tuple(info.units[n - 1] for n in chosen)
        return chosen


PAIR = (Port("image", "C H W"), Port("target", "1 H W"))  # what ``data.dataset`` gives


class Given(Images):
    """Samples of a registered dataset: "image" (C, H, W), "target" (1, H, W), NaN = missing."""

    def __init__(self, data: Registered, bands: Sequence[str], units: Sequence[str], labelled: bool):
        self._data, self.what, self.files = data, data.what, data.files
        self.input_files, self.labelled, self._last = data.input_files, labelled, (-1, data.item(0))
        count = len(self._sample(0)["image"])
        self.bands = tuple(bands) or tuple(f"band {i}" for i in range(1, count + 1))
        self.units, self.where = tuple(units) or ("",) * count, data.name(0)

    def __len__(self) -> int:
        return len(self._data)

    def name(self, index: int) -> str:
        """See `Images.name`."""
        return self._data.name(index)

    def grid(self, index: int) -> Grid:
        """See `Images.grid`."""
        return self._data.grid(index) or Grid(*self._sample(index)["image"].shape[1:])

    def image(self, index: int, part: Window | None = None) -> np.ndarray:
        """See `Images.image`."""
        whole = self._sample(index)["image"]
        return whole if part is None else whole[(slice(None), *part.slices)]

    def label(self, index: int) -> np.ndarray:
        """See `Images.label`."""
        return self._sample(index)["target"]

    def problems(self, findings: Findings, split: str) -> None:
        """See `Images.problems`."""
        self._data.problems(findings, split)

    def _sample(self, index: int) -> Arrays:
        """Return a sample; image and label are asked for one after the other."""
        if self._last[0] != index:
            self._last = (index, self._data.item(index))
        return self._last[1]


def registered_images(task: Contract, named: Named, split: str, labelled: bool) -> Given:
    """Open a split of ``data.dataset``; it is built with ``split``. Raises ZooError for what it does not give."""
    made = task.build("dataset", named, {"split": split})
    data = Registered(made, f"data.dataset.name: {named.name}", PAIR if labelled else PAIR[:1])
    return Given(data, getattr(made, "bands", ()), getattr(made, "units", ()), labelled)


def all_named(names: Sequence[str]) -> bool:
    """Whether bands are found by names: all of them have one."""
    return not any(name.startswith("band ") for name in names)


def no_place() -> ZooError:
    """Return the error of settings that name no data."""
    return ZooError(
        "runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds train/, val/, test/), or "
        "runtime.images=RASTER runtime.labels=FILE"
    )
