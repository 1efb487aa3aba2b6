"""Words of messages."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return how many there are of ``what``, a plural: "1 tile", "2,000 tiles", "1 patch", "0 series"."""
    if number == 1 and what != "series":
        what = what.removesuffix("es") if what.endswith(("ches", "shes", "xes", "sses")) else what.removesuffix("s")
    return f"{number:,} {what}"
