"""What a survey of the splits means: findings, tables and the picture, the same for every task.

A task describes its splits (`survey.Split`) and channels (`units.Channel`), and calls `check_splits`; what it has
beyond that it adds to the findings itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from eozoo_core.checking.findings import Findings, listed, percent
from eozoo_core.checking.labels import judge_labels
from eozoo_core.checking.odd_samples import report_suspects, some
from eozoo_core.checking.splits import judge_pixels
from eozoo_core.checking.survey import Classes, Seen, Split, look
from eozoo_core.checking.units import Channel
from eozoo_core.words import counted

_NAMED = 24  # bands of one unit that are named; all stand in the numbers
_FEWEST = 5  # samples that can be compared with one another
_REMEDIES = {"nodata": "tag it as nodata or write NaN", "bands": "leave the band out", "units": "in these files"}


@dataclass(frozen=True)
class Expected:
    """What a task knows of good data beside what the files say.

    label:    what labels are compared with; None = there is none, or nothing is known.
    bands:    name -> the band as it should be, where a file gives it no unit.
    remedies: see `check_splits`. shown: names of bands for the picture, those that there are; () = up to six.
    """

    label: Channel | Classes | None = None
    bands: Mapping[str, Channel] = field(default_factory=dict)
    remedies: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()


def check_splits(
    findings: Findings,
    splits: Sequence[Split],
    channels: Sequence[Channel],
    label: Channel | Classes | None = None,
    remedies: Mapping[str, str] | None = None,
) -> dict[str, Seen]:
    """Read some samples of every split and judge bands, missing values, ranges, labels and copied pixels.

    The first split is the one that is trained on: bands and labels that it lacks are errors. ``remedies`` may say how
    the task is told: "nodata" (a value that means missing), "label_nodata", "bands" (leave one out), "units" (where a
    unit is put right). Splits whose samples cannot be read are reported and left out. Returns what was seen, by split.
    """
    remedies = {**_REMEDIES, **(remedies or {})}
    remedies.setdefault("label_nodata", remedies["nodata"])
    seen = {split.name: look(split, channels, label, findings) for split in splits}
    told: set[str] = set()
    for one in seen.values():
        judge_reading(findings, one, told)
    usable = {name: one for name, one in seen.items() if one.read}
    if usable:
        findings.ok("bands", f"{len(channels)} in this order: {_by_unit(channels)}",
                    {"names": [c.name for c in channels], "units": [c.unit for c in channels]})  # fmt: skip
        judge_missing(findings, usable, remedies)
        judge_values(findings, usable, channels, remedies["units"])
        if label is not None:
            judge_labels(findings, usable, label, remedies)
        prints = {n: dict(zip([one.split.names[i] for i in one.read], one.prints)) for n, one in usable.items()}
        judge_pixels(findings, prints)
    return usable


def judge_reading(findings: Findings, seen: Seen, told: set[str]) -> None:
    """Say how many samples there are, how many were read, of which shapes, and which cannot be read.

    ``told`` are reasons that another split gave already; those of this one are added.
    """
    name, total, what = seen.split.name, len(seen.split), seen.split.what
    tried = len(seen.read) + len(seen.bad)
    numbers = {"samples": total, "read": len(seen.read), "unreadable": len(seen.bad)}
    if not total:
        findings.error(name, f"holds no {what}", "look at the folder that the settings name for it", numbers)
    if seen.bad and (not seen.read or not told.issuperset(seen.bad)):
        findings.error(
            name, f"{len(seen.bad):,} of {counted(tried, what)} read cannot be used: {seen.bad[0]}", "", numbers
        )
    told.update(seen.bad)
    if seen.read:
        share = f"all {total:,}" if tried == total else f"{tried:,} of {total:,}"
        text = f"{counted(total, what)}, {share} read, {_shapes(seen.shapes)}"
        findings.ok(name, text, {**numbers, "shapes": [list(s) for s in seen.shapes]})


def judge_missing(findings: Findings, seen: Mapping[str, Seen], remedies: Mapping[str, str]) -> None:
    """Judge the share of missing values per band and split, empty samples, and values that look like missing ones."""
    first = next(iter(seen.values()))
    names, shares = first.statistics.names, {name: one.missing for name, one in seen.items()}
    text = ", ".join(f"{name} {percent(float(share.mean()))}" for name, share in shares.items())
    worst = int(np.nanargmax(first.missing))
    if first.missing[worst] > first.missing.mean() * 1.05:
        text += f"; most in {names[worst]} ({percent(float(first.missing[worst]))} of {first.split.name})"
    numbers = {name: dict(zip(names, share.round(6))) for name, share in shares.items()}
    findings.ok("missing values", text, numbers)
    for name, one in seen.items():
        none = [n for n, count in zip(names, one.statistics.count) if count == 0]
        if none:
            level = findings.error if one.whole and one is first else findings.warning
            level(f"{name}: bands", f"every value read of {listed(none)} is missing", remedies["bands"])
        low, high = one.statistics.minimum, one.statistics.maximum
        flat = [f"{n} (always {a:g})" for n, a, b in zip(names, low, high) if a == b]
        if flat and one is first:
            findings.warning(f"{name}: bands", f"{listed(flat)}: the same in every pixel read", remedies["bands"])
        if not none:
            some(findings, f"{name}: missing values", one, one.empty, "hold no pixel with all bands", "leave them out")
        some(findings, f"{name}: values", one, one.infinite, "hold infinite values", "write NaN instead")
        if one.even:
            worst_name, value, share = max(one.even, key=lambda e: e[2])
            what = f"hold pixels in which every band is exactly {value:g} ({percent(share)} of {worst_name})"
            some(findings, f"{name}: missing values", one, [e[0] for e in one.even], what,
                  f"if that means missing, {remedies['nodata']}")  # fmt: skip


def judge_values(findings: Findings, seen: Mapping[str, Seen], channels: Sequence[Channel], where: str) -> None:
    """Judge values against the ranges of their units, the statistics the task was given, and one another."""
    before = len(findings.found)
    report_suspects(findings, "values", {name: one.suspects for name, one in seen.items()}, seen, where)
    for name, one in seen.items():
        _judge_levels(findings, name, one)
    first = next(iter(seen.values()))
    _judge_statistics(findings, first, channels)
    open_ = [c.name for c in channels if c.low is None]
    if len(findings.found) == before:
        read = sum(len(one.read) for one in seen.values())
        if len(open_) < len(channels) and any(one.statistics.count.any() for one in seen.values()):
            findings.ok("values", f"all {read:,} {first.split.what} read are within what the units allow")
        if open_:
            findings.unknown("values", f"no unit says what is plausible in {listed(open_)}",
                             "name bands and units in the files or settings; compare the table above")  # fmt: skip
    _table_of_values(findings, seen, channels)


def _judge_levels(findings: Findings, name: str, one: Seen) -> None:
    """Compare samples with one another: a factor of 30 is another unit, whatever the unit is."""
    if len(one.levels) < _FEWEST:
        return
    told = {s.name for s in one.suspects}
    levels = np.array(one.levels)
    levels[~(levels > 0)] = np.nan
    rated = np.isfinite(levels).any(axis=0)
    if not rated.any():
        return
    logs = np.log(levels[:, rated])
    usual = np.nanmedian(logs, axis=0)
    odd = [
        (one.split.names[i], float(np.exp(np.nanmedian(row - usual))))
        for i, row in zip(one.read, logs)
        if np.isfinite(row).any()
    ]
    odd = [(file, r) for file, r in odd if r > 30 or r < 1 / 30]
    odd = [(file, r) for file, r in odd if file not in told]
    if odd:
        file, r = max(odd, key=lambda o: abs(np.log(o[1])))
        what = f"hold values about {r:.2g} times as large as those of the others"
        files = [file, *(o[0] for o in odd if o[0] != file)]
        some(findings, f"{name}: values", one, files, what, "look at their unit and scale")


def _judge_statistics(findings: Findings, first: Seen, channels: Sequence[Channel]) -> None:
    """Compare what was read of the training split with the statistics that the task was given for it."""
    mean, std = first.statistics.mean, first.statistics.std
    for c, channel in enumerate(channels):
        if channel.mean is None or channel.std is None or np.isnan(mean[c]):
            continue
        off, ratio = (mean[c] - channel.mean) / channel.std, std[c] / channel.std
        if abs(off) > 3 or not 0.1 < ratio < 10:
            findings.warning(
                f"{first.split.name}: statistics",
                f"{channel.name} has {mean[c]:.4g} +- {std[c]:.4g}, its statistics say {channel.mean:.4g} +- "
                f"{channel.std:.4g} {channel.unit}",
                "compute the statistics anew from these data, or look at the unit",
            )


def _table_of_values(findings: Findings, seen: Mapping[str, Seen], channels: Sequence[Channel]) -> None:
    """One row per band: values of the first split, the means of the others, and what is missing in each."""
    first, *others = seen
    columns = ["band", "unit", *(f"{first} {what}" for what in ("min", "mean", "max", "std"))]
    columns += [*(f"{name} mean" for name in others), *(f"{name} missing" for name in seen)]
    s = seen[first].statistics
    values = [s.minimum, s.mean, s.maximum, s.std, *(seen[name].statistics.mean for name in others)]
    rows = [
        [channel.name, channel.unit, *(_number(v[c]) for v in values), *(percent(o.missing[c]) for o in seen.values())]
        for c, channel in enumerate(channels)
    ]
    findings.table("values of what was read", columns, rows)


def _by_unit(channels: Sequence[Channel]) -> str:
    """Names in order, the unit once for neighbours that share it: "B1, B2 [reflectance 0..1], VV [dB]"."""
    groups = groupby(channels, key=lambda c: c.unit)
    parts = [(list(group), f" [{unit}]" if unit else "") for unit, group in groups]
    return ", ".join(listed([c.name for c in group], _NAMED) + unit for group, unit in parts)


def _shapes(shapes: Counter[tuple[int, ...]]) -> str:
    """All shapes, where there are few; else how many there are, the smallest and the largest."""
    if len(shapes) > 3:
        ordered = sorted(shapes, key=lambda s: (np.prod(s), s))
        return f"of {len(shapes)} shapes from {_shape(ordered[0])} to {_shape(ordered[-1])}"
    texts = [_shape(s) + (f" ({n} times)" if len(shapes) > 1 else "") for s, n in shapes.most_common()]
    return f"of shape {', '.join(texts)}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"
