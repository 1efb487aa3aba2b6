"""Findings about what keeps splits apart: ground, files, time. The measurements are in ``leakage``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from eozoo_core.checking.findings import Findings, listed, of_all
from eozoo_core.checking.leakage import Place, nearest, nearest_time, pairs_of, same_files
from eozoo_core.checking.survey import Split
from eozoo_core.errors import ZooError

_NO_CRS = "give GeoTIFFs: then overlap and distance of splits can be measured"
_GAP = "neighbours are alike: leave a gap between splits, wider than the things that are on the ground"


def judge_splits(
    findings: Findings, splits: Sequence[Split], apart: float | None = None, setting: str = "", remedy: str = _NO_CRS
) -> None:
    """Judge whether splits share files or ground, and how near they come.

    apart: metres that samples of two splits should lie apart, where ``setting`` asks for it; None = they should not
    touch. Only what is georeferenced can be laid over one another; where nothing is, that is "unknown" with ``remedy``.
    """
    named = {split.name: split for split in splits if len(split)}
    _judge_files(findings, named)
    places, opened = {}, 0
    for name, split in named.items():
        places[name], tried = _places(findings, split)
        opened += tried
    known = {name: found for name, found in places.items() if found}
    total = sum(len(split) for split in named.values())
    if not known:
        findings.unknown("CRS", f"none of {opened:,} samples is georeferenced", remedy)
        return
    systems = Counter(place.crs for found in known.values() for place in found)
    text = listed([_short(crs) if len(systems) == 1 else f"{_short(crs)} ({n} samples)" for crs, n in systems.items()])
    lost = opened - sum(systems.values())
    rest = f", {lost:,} without" if lost else ""
    findings.ok("CRS", f"{text}, of {of_all(opened, total)} samples{rest}", {"crs": dict(systems)})
    judge_ground(findings, known, apart, setting)


def judge_ground(
    findings: Findings, places: Mapping[str, Sequence[Place]], apart: float | None = None, setting: str = ""
) -> None:
    """Judge overlap and distance of the places of every two splits; see `judge_splits`."""
    far, clean = {}, True
    for one, two in pairs_of(places):
        near = nearest(places[two], places[one])
        if not np.isfinite(near.metres).all():
            clean = False
            i = int(np.isinf(near.metres).argmax())
            text = f"{places[two][i].name} and {one} samples cannot be laid over one another"
            findings.unknown(f"leakage {one}/{two}: ground", text, "look at their CRS: a box is not on Earth")
        worst = int(np.where(near.overlap, -1.0, near.metres).argmin())
        pair = f"{places[two][worst].name} and {places[one][near.index[worst]].name}"
        n, far[f"{one}/{two}"] = len(places[two]), float(near.metres[worst])
        numbers = {"overlapping": int(near.overlap.sum()), "nearest_m": float(near.metres[worst]), "samples": n}
        if near.overlap.any():
            clean = False
            text = f"{near.overlap.sum():,} of {n:,} {two} samples overlap {one} samples on the ground: {pair}"
            findings.error(f"leakage {one}/{two}: ground", text, "split by place, with a gap", numbers)
            continue
        limit = apart or 0.0
        close = near.metres <= 0 if limit == 0 else near.metres < limit * 0.999
        if close.any():
            clean = False
            how = f"lie nearer than the {limit:,.0f} m of {setting} to" if limit else "touch"
            text = f"{close.sum():,} of {n:,} {two} samples {how} {one} samples"
            text = f"{text}: {_far(near.metres[worst])} between {pair}"
            findings.warning(f"leakage {one}/{two}: ground", text, _GAP, numbers)
    if far and clean:
        text = ", ".join(f"{pair} {_far(metres)}" for pair, metres in far.items())
        findings.ok("leakage: ground", f"nearest samples of two splits: {text}", {"nearest_m": far})


def judge_times(findings: Findings, splits: Sequence[Split], by_time: bool, gap: np.timedelta64 | None = None) -> None:
    """Say when the samples were taken and, where splits are ``by_time``, whether they are at least ``gap`` apart."""
    times = {s.name: np.asarray(s.times, "datetime64[s]") for s in splits if s.times is not None}
    known = {name: t[~np.isnat(t)] for name, t in times.items() if (~np.isnat(t)).any()}
    if not known:
        findings.unknown("time", "no sample names its time")
        return
    days = all((t == t.astype("datetime64[D]")).all() for t in known.values())
    spans = {name: tuple(str(v)[: 10 if days else 16] for v in (t.min(), t.max())) for name, t in known.items()}
    text = ", ".join(f"{name} {a}" + (f" to {b}" if a != b else "") for name, (a, b) in spans.items())
    findings.ok("time", text, {name: {"first": a, "last": b} for name, (a, b) in spans.items()})
    if not by_time:
        return
    least, clean = {}, True
    wanted = np.timedelta64(0, "s") if gap is None else gap
    for one, two in pairs_of(known):
        index, between = nearest_time(known[two], known[one])
        worst = int(between.argmin())
        least[f"{one}/{two}"] = float(between[worst] / np.timedelta64(1, "h"))
        same, close = int((between == np.timedelta64(0, "s")).sum()), int((between < wanted).sum())
        when = f"{str(known[two][worst])[:16]} and {str(known[one][index[worst]])[:16]}"
        numbers = {"same_time": same, "nearest_hours": least[f"{one}/{two}"]}
        if same:
            clean = False
            text = f"{same:,} of {len(between):,} {two} samples are of the same time as {one} samples: {when[:16]}"
            findings.error(f"leakage {one}/{two}: time", text, "split by blocks of time, with a gap", numbers)
        elif close:
            clean = False
            text = f"{close:,} of {len(between):,} {two} samples are nearer than {_hours(wanted)} to {one} samples"
            findings.warning(f"leakage {one}/{two}: time", f"{text}: {when}", "leave a wider gap in time", numbers)
    if clean and least:
        text = ", ".join(f"{pair} {hours:,.1f} h" for pair, hours in least.items())
        findings.ok("leakage: time", f"nearest samples of two splits: {text}", {"nearest_hours": least})


def _judge_files(findings: Findings, splits: Mapping[str, Split]) -> None:
    drawn = {
        name: [s.files[i] for i in findings.draw(len(s.files), findings.headers)]
        for name, s in splits.items()
        if len(s.files)
    }
    if len(drawn) < 2:
        return
    clean = True
    for one, two in pairs_of(drawn):
        try:
            same = same_files(drawn[one], drawn[two])
        except OSError as error:
            findings.error(f"leakage {one}/{two}: files", f"{error.filename}: cannot be read ({error.strerror})")
            clean = False
            continue
        if same:
            clean = False
            text = f"{len(same)} of {len(drawn[two]):,} {two} files are {one} files too: {same[0][1]} is {same[0][0]}"
            findings.error(f"leakage {one}/{two}: files", text, "keep one of the two", {"files": len(same)})
    if clean:
        total = sum(len(s.files) for s in splits.values())
        findings.ok(
            "leakage: files",
            f"no two splits hold the same file ({of_all(sum(map(len, drawn.values())), total)} compared)",
        )


def _places(findings: Findings, split: Split) -> tuple[list[Place], int]:
    if split.place is None:
        return [], len(split)
    chosen = findings.draw(len(split), findings.headers).tolist()
    found = []
    for i in chosen:
        try:
            place = split.place(i)
        except ZooError:  # said where it was read, or where its header was
            continue
        if place is not None:
            found.append(place)
    return found, len(chosen)


def _short(crs: str) -> str:
    """The name of a CRS that is given at length."""
    from rasterio.crs import CRS

    code = CRS.from_user_input(crs).to_epsg()
    return f"EPSG:{code}" if code else crs[:60]


def _far(metres: float) -> str:
    return f"{metres:,.0f} m" if metres < 10_000 else f"{metres / 1000:,.0f} km"


def _hours(gap: np.timedelta64) -> str:
    return f"{gap / np.timedelta64(1, 'h'):g} h"
