"""How long ``eozoo list`` and ``eozoo --help`` take, in CPU seconds, beside an interpreter that does nothing."""

from __future__ import annotations

import sys

from benchmarks.tools import cpu_seconds

BUDGET = 0.15  # CPU seconds


def main() -> None:
    """Print CPU seconds and their ratio to ``python -c pass``."""
    nothing = cpu_seconds([sys.executable, "-c", "pass"])
    print(f"python -c pass   {nothing:.3f} s")
    for verb in (["list"], ["--help"]):
        taken = cpu_seconds([sys.executable, "-m", "eozoo", *verb])
        verdict = "within" if taken <= BUDGET else "ABOVE"
        print(f"eozoo {verb[0]:<9}  {taken:.3f} s, {taken / nothing:.1f} x python, {verdict} the budget of {BUDGET} s")
