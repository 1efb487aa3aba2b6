"""One split of a data set, as training, scores and ``check`` read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.train.loading import Draw, epoch_order
from eozoo_core.words import counted

if TYPE_CHECKING:
    import torch

    from eozoo_core.checking import Findings
    from eozoo_core.checking.division import Division
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.task.survey import Survey

Arrays = dict[str, np.ndarray]


class Data:
    """Samples of one split: arrays by name in physical units, NaN = missing.

    A subclass writes ``__len__`` and ``item``; ``data[i]`` is item i, as torch's loaders ask for it. The target is
    called "target" and lies beside the inputs. Small data are given one by one; large ones replace ``batch`` and
    ``items`` with vectorised ones.

    files: every file of the split, for the fingerprint of the training data and the search for copies.
    root:  folder at which their names begin in that fingerprint; None = the one that they have in common.
    input_files: one per sample, the file of its first input, for finding copies; () = there are none.
    bands, units: of the first input, as the files name them.
    what: the word for samples in messages. skipped: a line for every file that was left out.
    together: how many whole samples scores take at once; more than 1 where all are of one size.
    apart: True = its splits are parts of one whole that was divided so that no label is in two: core compares neither
            pixels nor ground.
    division: how the whole data were divided, of which this is one split; None = the splits were there.
    kept:   number (n,) of what the division kept together that each sample is of, the same in every fold and draw.
    selection: hash of which samples of ``files`` these are, where they are not all; kept features belong to them alone.
    repeats: True = every epoch sees item ``i`` unchanged as draw ``i``. Only then core keeps features of a frozen part.
    """

    files: Sequence[Path] = ()
    root: Path | None = None
    bands: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    input_files: Sequence[Path] = ()
    what: str = "samples"
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    label_unit: str = ""
    class_names: Mapping[int, str] = MappingProxyType({})
    together: int = 1
    apart: bool = False
    selection: str = ""
    repeats: bool = False
    division: Division | None = None
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def item(self, index: int) -> Arrays:
        """Return sample ``index`` whole and unchanged, without a batch axis. Raises ZooError naming the file."""
        raise NotImplementedError(f"{type(self).__name__} has no item(index)")

    def __getitem__(self, index: int) -> Arrays:
        if not 0 <= index < len(self):  # what ends a loop over it, in Python and in torch
            raise IndexError(f"{self.what} are numbered from 0 to {len(self) - 1}, not {index}")
        return self.item(index)

    def draw(self, draw: Draw) -> Arrays:
        """Return sample ``draw.index`` as ``draw.epoch`` sees it: cut and turned at random, the same each time."""
        return self.item(draw.index)

    @property
    def draws(self) -> int:
        """How many draws an epoch has."""
        return len(self)

    @property
    def told(self) -> str:
        """Say how much there is, for plans."""
        return counted(len(self), self.what)

    def order(self, seed: int, epoch: int) -> Sequence[int]:
        """Return a permutation of ``range(draws)`` that depends on seed and epoch only."""
        return epoch_order(self.draws, seed, epoch)

    def batch(self, draws: Sequence[Draw]) -> Arrays:
        """Return the draws of one forward pass of training, stacked along a new first axis."""
        return stack([self.draw(draw) for draw in draws])

    def items(self, indices: Sequence[int]) -> Arrays:
        """Return whole samples, stacked; they must be of one size."""
        return stack([self.item(index) for index in indices])

    def parts(self) -> Sequence[tuple[Sequence[Path], range]]:
        """Return files, and the samples that they hold, in order: features are kept for each part by itself."""
        return [(self.files, range(len(self)))]

    def count(self, batch: Arrays) -> int:
        """How many elements of a batch the loss counts; the default: values of "target" that are not missing."""
        if "target" in batch:
            return int(np.isfinite(batch["target"]).sum())
        return len(next(iter(batch.values())))

    def name(self, index: int) -> str:
        """Say which sample this is, for messages: its file where there is one."""
        return str(self.input_files[index]) if self.input_files else f"sample {index}"

    def physical(self, index: int, survey: Survey) -> tuple[np.ndarray, np.ndarray | None]:
        """Return bands (C, ...) and label (any shape, or None) of a sample in the units of ``survey``, for the guard.

        The default: the first array of `item`, and "target". Data that are staged, or whose bands come last, differ.
        """
        arrays = self.item(index)
        return next(iter(arrays.values())), arrays.get("target")

    def grid(self, index: int) -> Grid | None:
        """Return where a sample lies, None where it is not georeferenced."""
        return None

    def problems(self, findings: Findings, split: str) -> None:
        """Tell ``check`` what is wrong with the files of ``split`` beyond what core looks at; the default: nothing."""

    def settled(self, survey: Survey) -> Data:
        """Return the same samples with what training settled (names of classes that were found); default: itself."""
        return self

    def groups(self, by: str) -> Sequence[str | int] | None:
        """Name the place, block, field, station or month of each sample for cross-validation ``by`` one of these.

        None = nobody says it: where samples lie decides. Samples of one group are in one fold and err together.
        """
        return None

    def pick(self, others: Sequence[Data], rows: np.ndarray) -> Data:
        """Return samples ``rows`` of this and ``others``, which are counted one after the other, as one split.

        For cross-validation of data whose splits were there. ``others`` begins with this one.
        """
        raise ZooError(
            f"--cv: {self.what} of a {type(self).__name__} cannot be divided again (Data.pick); score the splits that "
            "are there, without --cv"
        )

    def area(self) -> list[float] | None:
        """Return [west, south, east, north] in degrees around all samples, None where none is georeferenced."""
        from eozoo_core.raster.georeference import area_of

        return area_of(filter(None, map(self.grid, range(len(self)))))


class Batched:
    """Training draws of ``data`` as a torch dataset that is asked for whole batches (``__getitems__``).

    passes: how often an epoch passes them, each time as an epoch of one pass would draw them; see `timetable.passes`.
    """

    def __init__(self, data: Data, passes: int = 1):
        self.data, self._passes = data, passes

    def __len__(self) -> int:
        return self.data.draws * self._passes

    def order(self, seed: int, epoch: int) -> Sequence[int]:
        """See `Data.order`; draw ``i`` of pass ``p`` has number ``p * data.draws + i``."""
        if self._passes == 1:
            return self.data.order(seed, epoch)
        turns = (self.data.order(seed, epoch * self._passes + turn) for turn in range(self._passes))
        return [turn * self.data.draws + int(i) for turn, order in enumerate(turns) for i in order[: self.data.draws]]

    def __getitems__(self, draws: list[Draw]) -> dict[str, Any]:
        parts: dict[int, list[Draw]] = {}  # draws that `Data.batch` gets are of one pass
        for number, epoch in draws:
            turn, index = divmod(number, self.data.draws)
            parts.setdefault(turn, []).append(Draw(index, epoch * self._passes + turn))
        found = [self.data.batch(part) for part in parts.values()]
        batch = found[0] if len(found) == 1 else {k: np.concatenate([one[k] for one in found]) for k in found[0]}
        return {**tensors(batch), "count": self.data.count(batch)}


def in_groups(data: Data, indices: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ``indices`` in their order, as many at a time as ``data`` lets scores take at once."""
    for start in range(0, len(indices), data.together):
        yield indices[start : start + data.together]


def as_is(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch that was collated already."""
    return batch


def stack(samples: Sequence[Arrays]) -> Arrays:
    """Stack arrays of the same name along a new first axis."""
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def tensors(arrays: Arrays, device: Any = "cpu") -> dict[str, torch.Tensor]:
    """Return arrays as tensors on ``device``; memory is shared where torch can share it."""
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(values)).to(device) for name, values in arrays.items()}
