"""Findings about some of the samples that were read: those in a wrong unit, those that hold something odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eozoo_core.checking.findings import Findings, listed
from eozoo_core.checking.survey import Seen, Suspect
from eozoo_core.words import counted


def report_suspects(
    findings: Findings, subject: str, suspects: Mapping[str, Sequence[Suspect]], seen: Mapping[str, Seen], where: str
) -> None:
    """Warn of samples in a wrong unit: one finding for each kind of mistake, with the files and the remedy.

    ``suspects`` and ``seen`` are by split; ``where`` says where a task puts a unit right ("in these files").
    """
    kinds: dict[Any, dict[str, dict[str, Suspect]]] = {}
    bands: dict[Any, list[str]] = {}
    for split, found in suspects.items():
        for suspect in found:
            kinds.setdefault(suspect.mistake, {}).setdefault(split, {}).setdefault(suspect.name, suspect)
            bands.setdefault(suspect.mistake, []).append(suspect.channel)
    for mistake, splits in kinds.items():
        names = [name for named in splits.values() for name in named]
        example = next(iter(next(iter(splits.values())).values()))
        which = list(dict.fromkeys(bands[mistake]))
        shares = ", ".join(f"{len(named):,} of {len(seen[split].read):,} {split}" for split, named in splits.items())
        what = seen[next(iter(splits))].split.what
        others = f" ({len(which)} bands are so: {listed(which)})" if len(which) > 1 else ""
        text = f"{shares} {what} read ({listed(names, 1)}): {example.channel} holds {example.reason}{others}"
        remedy = "look at the files, at their units and at the order of the bands"
        if mistake is not None:
            text, remedy = f"{text}; that looks like {mistake.what}", f"{mistake.remedy} {where}"
        numbers = {"files": names[:1000], "bands": which, "looks_like": mistake.what if mistake else None}
        findings.warning(subject, text, remedy, numbers)


def some(findings: Findings, subject: str, one: Seen, files: Sequence[str], what: str, remedy: str) -> None:
    """Warn of some of the samples of a split, where there are any."""
    if files:
        text = f"{len(files):,} of {counted(len(one.read), one.split.what)} read {what}: {listed(files)}"
        findings.warning(subject, text, remedy, {"files": list(files)[:1000]})
