"""Anybody's registered dataset as `Data`: what it gives is held against the Ports of the slot, the rest is default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.task.contract import Arrays
from eozoo_core.task.data import Data
from eozoo_core.train.loading import Draw

if TYPE_CHECKING:
    from eozoo_core.checking import Findings
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.spec import Port


class Registered(Data):
    """Samples of a dataset that a slot names: it has a length, and ``dataset[i]`` is a dict of arrays by role.

    Of a `Data` its files, names, places, draws and ``problems`` are used too. Without files a run cannot tell that its
    data changed, and features of a frozen part are not kept.

    ``ports``: what the slot wants of a sample; what else it holds goes along as it is. ``said``: setting and name, for
    messages. Opening reads the first sample. Raises ZooError, one line, for whatever is not so.
    """

    def __init__(self, dataset: Any, said: str, ports: Sequence[Port]):
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise ZooError(f"{said} is a {type(dataset).__name__}, not samples with a length; report it to its plugin")
        if not len(dataset):
            raise ZooError(f"{said}: holds no sample; check its options")
        self._dataset, self._said, self._ports = dataset, said, tuple(ports)
        if isinstance(dataset, Data):
            self.files, self.root, self.skipped = [Path(f) for f in dataset.files], dataset.root, dataset.skipped
            self.input_files, self.what = dataset.input_files, dataset.what
        self._fitting(dataset[0], 0)

    def __len__(self) -> int:
        return len(self._dataset)

    def item(self, index: int) -> Arrays:
        """See `Data.item`."""
        return self._fitting(self._dataset[index], index)

    def draw(self, draw: Draw) -> Arrays:
        """Return what the dataset draws; of one that is not `Data` the whole sample."""
        if isinstance(self._dataset, Data):
            return self._fitting(self._dataset.draw(draw), draw.index)
        return self.item(draw.index)

    def name(self, index: int) -> str:
        """See `Data.name`."""
        return self._dataset.name(index) if isinstance(self._dataset, Data) else f"{self._said}, sample {index}"

    def grid(self, index: int) -> Grid | None:
        """See `Data.grid`."""
        return self._dataset.grid(index) if isinstance(self._dataset, Data) else None

    def problems(self, findings: Findings, split: str) -> None:
        """See `Data.problems`."""
        if isinstance(self._dataset, Data):
            self._dataset.problems(findings, split)

    def _fitting(self, sample: Any, index: int) -> Arrays:
        said = f"{self._said}, sample {index}"
        if not isinstance(sample, dict):
            raise ZooError(f"{said}: is a {type(sample).__name__}, not a dict of arrays; report it to its plugin")
        from eozoo_core.task.predict import check_arrays  # torch, which commands that print settings do without

        wanted = {port.role: sample[port.role] for port in self._ports if port.role in sample}
        return sample | check_arrays(wanted, self._ports, said)
