"""Parts of a stranger: the smallest model, loss and dataset that fit a slot, in a registry of their own.

They check what they are given against the Ports of the slot: axes, fixed sizes, one size for one letter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from eozoo_core import Port, Slot, Spec

from eozoo.registry import Entry, Registry

NAME = "kit_stranger"
_FREE = 4  # size of an axis that nothing fixes
_ITEMS = 12
_CODES = re.compile(r"(\d+)\.\.(\d+)")  # the unit of whole numbers: "1..12"
_STEP = 3 * 86400.0  # seconds between two samples


class Guests(Registry):
    """The names of ``host``, and parts called `NAME` for some slots (one per kind).

    built: (slot's path, what was built) in the order in which the task asked for them.
    """

    def __init__(self, host: Registry, slots: Mapping[str, Slot], sizes: Mapping[str, int], fed: Mapping[str, Slot]):
        super().__init__()
        self._host, self._sizes, self.built = host, dict(sizes), []
        self._options = {slot.kind: slot.options for slot in slots.values()}
        self._specs = {
            slot.kind: (
                path,
                Spec(
                    NAME,
                    "eozoo.testing.strangers:Guests",
                    "A stranger's part",
                    takes=(*(fed[path].wants if path in fed else ()), *_least(slot)),
                    gives=slot.wants,
                ),
            )
            for path, slot in slots.items()
        }

    def entries(self, kind: str) -> list[Entry]:
        """Those of the host and the guest."""
        return self._host.entries(kind) + ([self.find(kind, NAME)] if kind in self._specs else [])

    def find(self, kind: str, name: str) -> Entry:
        """The guest, or what the host has under that name."""
        if name == NAME and kind in self._specs:
            return Entry(kind, "eozoo-kit-stranger 1.0", self._specs[kind][1])
        return self._host.find(kind, name)

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build the guest from its Ports, anything else as the host does."""
        if name != NAME or kind not in self._specs:
            return self._host.create(kind, name, options)
        path, spec = self._specs[kind]
        known = self._options[kind]
        strange = [option for option in options if option not in known]
        assert not strange, (
            f"{path}: the task builds a {kind} with the option {strange[0]!r}, which a stranger's part need not have; "
            f"the slot names {' and '.join(known) or 'none'}: name it there (Slot.options), or find it out from what "
            "the part gives"
        )
        made = {"model": StrangerNet, "loss": StrangerLoss, "dataset": StrangerData}[kind](path, spec)
        if kind == "model":
            made.make(options.get("outputs"), self._sizes)
        elif kind == "dataset":
            made.make(self._sizes, options.get("split", "train"))
        self.built.append((path, made))
        return made


class StrangerNet(torch.nn.Module):
    """Per channel of its output a weight and a bias on the mean of its first input; rows and columns stay."""

    def __init__(self, path: str, spec: Spec):
        super().__init__()
        self._path, self._spec = path, spec

    def make(self, outputs: int | None, sizes: Mapping[str, int]) -> None:
        """Make the parameters: ``outputs`` channels, or as many as the Ports say."""
        each = [_channel(port) for port in self._spec.gives]
        count = outputs or sum(int(a) if a.isdigit() else sizes.get(a, _FREE) for a in each)
        self.weight = torch.nn.Parameter(torch.full((count,), 0.1))
        self.bias = torch.nn.Parameter(torch.zeros(count))

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        """Return what the Ports declare, several of them as channels of one tensor."""
        require(self._path, self._spec.takes, arrays)
        mine, wanted = self._spec.takes[0].axes.split(), self._spec.gives[0].axes.split()
        channel = wanted.index(_channel(self._spec.gives[0]))
        kept = [a for a in mine if a in wanted and a != wanted[channel] and not a.isdigit()]
        mean = arrays[0].float().mean(dim=[i for i, a in enumerate(mine) if a not in kept])
        shape = [mean.shape[kept.index(a)] if a in kept else 1 for a in wanted]
        along = [-1 if i == channel else 1 for i in range(len(wanted))]
        return mean.reshape(shape) * self.weight.reshape(along) + self.bias.reshape(along)


class StrangerLoss:
    """The mean square of what the network gives, for every sample."""

    def __init__(self, path: str, spec: Spec):
        self._path, self._spec = path, spec

    def __call__(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (sum, count); a target is looked at, not learned."""
        require(self._path, self._spec.takes, arrays)
        learned = [a for a, port in zip(arrays, self._spec.takes, strict=True) if port.role != "target"]
        total = sum(
            torch.nan_to_num(array.float()).reshape(len(array), -1).square().mean(dim=1).sum() for array in learned
        )
        return total, torch.tensor(len(arrays[0]))


class StrangerData:
    """A map-style dataset of random arrays, the same each time; classes are 0 and 1, days the same in all samples.

    Where the task asks for splits, each has samples and times of its own.
    """

    def __init__(self, path: str, spec: Spec):
        self._path, self._spec = path, spec

    def make(self, sizes: Mapping[str, int], split: str) -> None:
        """Fix the sizes of its axes, and the split."""
        self._first = _ITEMS * ("train", "val", "test").index(split)
        self._shapes = {
            port.role: tuple(int(a) if a.isdigit() else sizes.get(a, _FREE) for a in port.axes.split())
            for port in self._spec.gives
            if not port.optional or _CODES.fullmatch(port.unit)
        }

    def __len__(self) -> int:
        return _ITEMS

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {
            port.role: _values(port, self._shapes[port.role], self._first + index)
            for port in self._spec.gives
            if port.role in self._shapes
        }


def _least(slot: Slot) -> tuple[Port, ...]:
    """What a slot feeds; to a loss without what it may leave alone."""
    return tuple(port for port in slot.feeds if slot.kind != "loss" or not port.optional)


def _values(port: Port, shape: tuple[int, ...], index: int) -> np.ndarray:
    """Plausible values of a port, by its unit."""
    random = np.random.default_rng(index)
    if "seconds since" in port.unit:
        return np.full(shape, index * _STEP, port.dtype)
    if codes := _CODES.fullmatch(port.unit):
        return random.integers(int(codes[1]), int(codes[2]) + 1, size=shape).astype(port.dtype)
    if "class" in port.unit:
        return random.integers(2, size=shape).astype("float32")
    if "day of year" in port.unit:
        return np.broadcast_to(np.linspace(1, 366, shape[-1]).round(), shape).astype(port.dtype)
    if "1 = " in port.unit:
        return np.ones(shape, port.dtype)
    return random.random(shape).astype(port.dtype)


def require(path: str, ports: Sequence[Port], arrays: Sequence[Any]) -> None:
    """Raise AssertionError where ``arrays`` are not what a part that takes ``ports`` is called with, in order."""
    listed = ", ".join(map(str, ports))
    given = ", ".join(str(tuple(getattr(a, "shape", ())) or type(a).__name__) for a in arrays)
    said = f"{path}: a part that takes {listed} was called with {given}"
    assert len(arrays) == len(ports), said
    sizes: dict[str, int] = {}
    for port, array in zip(ports, arrays, strict=True):
        axes = port.axes.split()
        assert isinstance(array, torch.Tensor), said
        assert array.ndim == len(axes), said
        for axis, size in zip(axes, array.shape, strict=True):
            assert size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size)), said
        if port.role != "target" and array.is_floating_point():
            assert bool(torch.isfinite(array).all()) or array.device.type == "meta", f"{said}: it holds NaN"


def sizes_of(ports: Iterable[Port], batch: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return the sizes of the letters of axes in an example batch; the batch's own is left out."""
    found: dict[str, int] = {}
    for port in ports:
        if port.role in batch:
            found |= dict(zip(port.axes.split(), batch[port.role].shape, strict=False))
    return {axis: size for axis, size in found.items() if axis != "B" and not axis.isdigit() and size < math.inf}


def _channel(port: Port) -> str:
    """The axis along which a port has its channels: the first that is neither sample, row nor column."""
    return next((a for a in port.axes.split() if a not in ("B", "H", "W")), port.axes.split()[-1])
