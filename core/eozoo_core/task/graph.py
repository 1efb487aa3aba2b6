"""A trained system as one network, for ``eozoo export``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Graph:
    """A trained system as one network, for ``eozoo export``: what ``predict`` does, normalisation and masking included.

    module: called with ``inputs`` in order, NaN = missing; returns a tuple in the order ``outputs``.
    inputs: name -> example array, as ``predict`` takes it; the graph has its type, and its shape but for ``axes``.
    axes:   name -> a word for each axis of an input, "" where its size is fixed: ("batch", "", "height", "width").
            One word means one size; "batch" are independent samples.
    about:  name -> what a stranger must know of an input or output: order of bands, unit, range. It is in the file.
    tolerance: largest difference from ``predict``, as a share of an output's largest value. Above the default only
            where the graph computes in another precision than the run; ``note`` then says so.
    """

    module: Any
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    tolerance: float = 1e-4
    note: str = ""
