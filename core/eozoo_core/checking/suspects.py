"""Findings about some of the samples that were read: those in a wrong unit, those that hold something odd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eozoo_core.checking.findings import Findings, listed
from eozoo_core.checking.survey import Seen, Suspect


def report_suspects(findings: Findings, subject: str, suspects: Sequence[Suspect], read: int) -> None:
    """Warn of samples in a wrong unit: one finding for each kind of mistake, with the files and the remedy."""
    kinds: dict[Any, dict[str, Suspect]] = {}
    bands: dict[Any, list[str]] = {}
    for suspect in suspects:
        kinds.setdefault(suspect.mistake, {}).setdefault(suspect.name, suspect)
        bands.setdefault(suspect.mistake, []).append(suspect.channel)
    for mistake, names in kinds.items():
        example = next(iter(names.values()))
        which = list(dict.fromkeys(bands[mistake]))
        text = f"{len(names)} of {read:,} samples read ({listed(list(names))}): {listed(which)} {example.reason}"
        remedy = "look at the files and at the band names"
        if mistake is not None:
            text, remedy = f"{text}: that looks like {mistake.what}", f"{mistake.remedy} in these files"
        numbers = {"files": list(names)[:1000], "bands": which, "looks_like": mistake.what if mistake else None}
        findings.warning(subject, text, remedy, numbers)


def some(findings: Findings, subject: str, one: Seen, files: Sequence[str], what: str, remedy: str) -> None:
    """Warn of some of the samples, where there are any."""
    if files:
        text = f"{len(files)} of {len(one.read):,} samples read {what}: {listed(files)}"
        findings.warning(subject, text, remedy, {"files": list(files)[:1000]})
