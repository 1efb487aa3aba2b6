"""What a look at the data before training has found: one `Finding` each, collected in `Findings`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    import numpy as np

    from eozoo_core.score.quicklook import Panel

LEVELS = ("ok", "unknown", "warning", "error")  # from harmless to what training will not survive
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    subject:  what, with the split where it is one of several: "train: labels".
    level:    "ok"; "unknown" = it could not be measured; "warning" = look at it, training would run; "error" =
              training would stop, or its scores would mean nothing.
    measured: one line: what was found, with numbers, units and the file.
    remedy:   one line: what to do; "" where nothing is to be done or ``measured`` says it.
    numbers:  the same for scripts, plain JSON types.
    """

    subject: str
    level: str
    measured: str
    remedy: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Numbers:
    """Numbers for the eye, per band or class: a title, names of columns and rows of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Findings:
    """Everything that was found, in the order in which it was looked at, and how much may be read.

    samples: at most about so many samples of each split are read, drawn evenly; 0 = all. quiet: no progress bar.
    preview: what ``picture`` was given.
    """

    def __init__(self, samples: int = 200, quiet: bool = True):
        self.samples, self.quiet = samples, quiet
        self.found: list[Finding] = []
        self.tables: list[Numbers] = []
        self.preview: tuple[str, Callable[[], list[Panel]]] | None = None

    def ok(self, subject: str, measured: str, numbers: dict[str, Any] | None = None) -> None:
        """Note that something is as it should be."""
        self._add(Finding(subject, "ok", measured, "", numbers or {}))

    def unknown(self, subject: str, measured: str, remedy: str = "") -> None:
        """Note what could not be measured, and what would make it known."""
        self._add(Finding(subject, "unknown", measured, remedy))

    def warning(self, subject: str, measured: str, remedy: str, numbers: dict[str, Any] | None = None) -> None:
        """Note what somebody should look at before training."""
        self._add(Finding(subject, "warning", measured, remedy, numbers or {}))

    def error(self, subject: str, measured: str, remedy: str = "", numbers: dict[str, Any] | None = None) -> None:
        """Note what training would stop at, or what would make its scores worthless."""
        self._add(Finding(subject, "error", measured, remedy, numbers or {}))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table beside the findings; without rows there is none."""
        if rows:
            self.tables.append(Numbers(title, columns, rows))

    def picture(self, shows: str, draw: Callable[[], list[Panel]]) -> None:
        """Offer one picture: what it ``shows``, and a function that returns its maps, called where one is wanted."""
        self.preview = (shows, draw)

    @contextmanager
    def guard(self, subject: str) -> Iterator[None]:
        """Turn a ZooError of the block into an error finding, and go on behind it."""
        try:
            yield
        except ZooError as error:
            self.error(subject, str(error))

    def count(self, level: str) -> int:
        """Return how many findings are of ``level``."""
        return sum(finding.level == level for finding in self.found)

    def draw(self, total: int, most: int | None = None) -> np.ndarray:
        """Return which of ``total`` samples to read: at most ``most`` (default ``samples``), evenly spread, rising."""
        import numpy as np

        most = self.samples if most is None else most
        if not most or total <= most:
            return np.arange(total)
        return np.floor((np.arange(most) + 0.5) * total / most).astype(np.int64)

    def _add(self, finding: Finding) -> None:
        plain = {key: to_json(value) for key, value in finding.numbers.items()}
        line = (" ".join(text.split()) for text in (finding.measured, finding.remedy))
        self.found.append(Finding(finding.subject, finding.level, *line, plain))


def to_json(value: Any) -> Any:
    """Return ``value`` as plain JSON types: numpy numbers become Python's, NaN and infinity None, keys text."""
    if isinstance(value, dict):
        return {str(key): to_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(part) for part in value]
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listed(names: Sequence[Any], most: int = _SHOWN) -> str:
    """Return the first names, and how many more there are: "a, b, c and 4 more"."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def percent(share: float) -> str:
    """Return a share as text that does not round something to nothing or to everything: "< 0.1 %", "> 99.9 %"."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"
