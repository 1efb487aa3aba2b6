"""Progress on the terminal: a bar with values, rate and time left; silent with ``quiet`` or without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from eozoo_core.run.rank import is_first_process

_WIDE = 110  # columns


class Bar:
    """A progress bar, or nothing at all."""

    def __init__(self, progress: Any = None, task: Any = None):
        self._progress, self._task = progress, task

    def update(self, done: float, text: str = "") -> None:
        """Show ``done`` units finished and a short text of values."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, values=text)


@contextmanager
def progress_bar(title: str, total: float | None, unit: str, quiet: bool = False) -> Iterator[Bar]:
    """Show a bar while the block runs: title, done of total, values, units per second, time left.

    In a narrow terminal values go before bar and rate: 80 columns hold three of them.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal or not is_first_process():
        yield Bar()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    wide = console.width >= _WIDE
    columns = (
        TextColumn("{task.description}"),
        *([BarColumn(bar_width=24)] if wide else []),
        MofNCompleteColumn(),
        TextColumn("{task.fields[values]}"),
        *([_RateColumn(unit)] if wide else []),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, progress.add_task(title, total=total, values=""))


def tell_once(lines: Sequence[str], quiet: bool = False) -> None:
    """Print what was decided, "FILE: what", on the terminal; what holds for many files once, with their number."""
    if quiet or not is_first_process():
        return
    files: dict[str, list[str]] = {}
    for line in lines:
        file, _, what = line.partition(": ")
        files.setdefault(what, []).append(file)
    for what, named in files.items():
        others = f" and {len(named) - 1:,} more" if len(named) > 1 else ""
        _say(f"{named[0]}{others}: {what}")


def _RateColumn(unit: str) -> Any:  # noqa: N802 - a class in disguise: rich is imported late
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else "")

    return Rate()


def print_message(text: str) -> None:
    """Print a line beside the results (to stderr), from the first process only."""
    if is_first_process():
        _say(text)


def _say(text: str) -> None:
    """A terminal that is gone, or a log on a full disk, is no reason to end a training."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
