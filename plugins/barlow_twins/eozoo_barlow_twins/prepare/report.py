"""What a preparation made of raw products, in words: scaling, dates, clear pixels, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from eozoo_core.raster.sentinel2 import QUANTIFICATION, Scaling
from eozoo_core.run.progress import tell_once

BLOCKS = "blocks.npy"  # areas that no split may cut
_LISTED = 8  # dates or codes that are written out


@dataclass
class Report:
    """Collects while a tile is made. scalings: file -> how its values become reflectance."""

    scalings: dict[Path, Scaling] = field(default_factory=dict)
    clear: int = 0
    seen: int = 0
    dark: int = 0

    def numbers(self, values: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reflectance (n, W, C) to stored numbers, reflectance x 10000, and which pixels (n, W) stay clear.

        What is 0 or less could not be told from no data, and negative values cannot be stored: not clear.
        """
        stored = values * np.float32(QUANTIFICATION)
        with np.errstate(invalid="ignore"):
            dark = clear & np.isfinite(stored).all(axis=-1) & (np.rint(stored) <= 0).any(axis=-1)
        clear = clear & np.isfinite(stored).all(axis=-1) & ~dark
        self.seen, self.clear, self.dark = self.seen + clear.size, self.clear + clear.sum(), self.dark + dark.sum()
        return stored, clear

    def counts(self) -> list[int]:
        """How many pixels it saw, clear ones and dark ones, for `add`."""
        return [int(self.seen), int(self.clear), int(self.dark)]

    def add(self, counts: Sequence[int]) -> None:
        """Add what another one counted."""
        self.seen, self.clear, self.dark = (a + b for a, b in zip(self.counts(), counts, strict=True))

    def scaling(self) -> list[str]:
        """How values became reflectance, each rule once."""
        return list(dict.fromkeys(map(str, self.scalings.values())))

    def tell(self, tile: str, dates: Sequence[date], labels: Mapping[str, np.ndarray]) -> None:
        """Print it."""
        tell_once([f"{file.name}: {scaling}" for file, scaling in self.scalings.items()])
        print("\n".join([f"{tile}: {line}" for line in (*self._of_dates(dates), *map(_of_labels, labels.items()))]))

    def _of_dates(self, dates: Sequence[date]) -> list[str]:
        twice = [day for day, n in Counter(dates).items() if n > 1]
        found = [f"{len(dates)} dates, {min(dates)} to {max(dates)}, {self.clear / max(1, self.seen):.1%} clear"]
        if twice:
            named = ", ".join(map(str, twice[:_LISTED])) + (" ..." if len(twice) > _LISTED else "")
            verb = "days come" if len(twice) > 1 else "day comes"
            found.append(f"{len(twice)} {verb} more than once, all are kept: {named}")
        if self.dark:
            share = self.dark / max(1, self.clear + self.dark)
            found.append(f"{share:.2%} of the clear pixels have a band of reflectance 0 or less: not clear")
        return found


def _of_labels(layer: tuple[str, np.ndarray]) -> str:
    name, codes = layer
    if name == BLOCKS:
        return f"{name} has {int(np.max(codes)):,} fields"
    values, counts = np.unique(codes, return_counts=True)
    named = ", ".join(f"{v} ({n:,} px)" for v, n in zip(values[:_LISTED], counts[:_LISTED], strict=True))
    return f"{name} has the codes {named}{' ...' if len(values) > _LISTED else ''}"
