"""How long ``eozoo list`` and ``eozoo --help`` take, in CPU seconds, beside ``python -c "import click, pluggy"``.

Whole processes, user and system time, one after the other in turn (A B C A B C ...), medians of all. Promised are at
most 1.6 times the baseline, with bytecode written as an installation does.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from benchmarks.tools import cpu_seconds

PROMISED = 1.6
ROUNDS = 9


def main() -> None:
    """Print CPU seconds and their ratio to the baseline."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = str(Path(sys.executable).with_name("eozoo"))
    rows = {
        "import click, pluggy": [sys.executable, "-c", "import click, pluggy"],
        "eozoo list": [command, "list"],
        "eozoo --help": [command, "--help"],
        "eozoo show gedi_unet": [command, "show", "gedi_unet"],
    }
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, words in rows.items():
            taken[name].append(cpu_seconds(words, repeats=1))
    least = statistics.median(taken["import click, pluggy"])
    for name, found in taken.items():
        ratio = statistics.median(found) / least
        verdict = "" if name not in ("eozoo list", "eozoo --help") else ", within" if ratio <= PROMISED else ", ABOVE"
        print(f"{name:<22}{statistics.median(found):.3f} s, {ratio:.2f} x{verdict and f'{verdict} {PROMISED}'}")
