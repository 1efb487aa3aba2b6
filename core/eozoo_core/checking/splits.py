"""The rule of what two splits may not share: files, keys, ground, times, pixels.

``check`` reports what `judge_splits` and `judge_pixels` find; training is refused by the same, through
`require_separate`. The measurements are in ``places`` and ``leakage``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from eozoo_core.checking.findings import Findings, listed, percent
from eozoo_core.checking.leakage import copies, nearest_time, shared_pixels
from eozoo_core.checking.places import Place, nearest
from eozoo_core.checking.survey import Item, Split, drawn, prints_of
from eozoo_core.errors import ZooError

_NO_CRS = "give GeoTIFFs: then overlap and distance of splits can be measured"
_NO_GAP = np.timedelta64(0, "s")
_GAP = "neighbours are alike: leave a gap between splits, wider than the things that are on the ground"


@dataclass(frozen=True)
class Separation:
    """What keeps the splits of a task apart, beside that they may not share a place.

    metres: how far samples of two splits should lie apart, where ``setting`` asks for it; None = they should not touch.
    by_time: two splits may not hold the same time, and times should be at least ``gap`` apart.
    remedy: what to do where nothing is georeferenced; repair: where samples are on the same ground.
    """

    metres: float | None = None
    setting: str = ""
    by_time: bool = False
    gap: np.timedelta64 = _NO_GAP
    remedy: str = _NO_CRS
    repair: str = "split by place, with a gap"


def judge_splits(findings: Findings, splits: Sequence[Split], how: Separation | None = None) -> None:
    """Judge whether splits share files, keys, ground or times, and how near they come.

    Of every sample: places and times, which cost a header; size and both ends of its files, all of a file where another
    agrees in these. Errors are a file with the bytes of another, a key in two splits, samples on the same ground (see
    ``places.nearest``: by more than half a pixel) and, where splits are ``by_time``, the same time. Samples that touch
    or lie nearer than ``how`` asks are warnings. Only what is georeferenced can be laid over one another.
    """
    how = how or Separation()
    named = {split.name: split for split in splits if len(split)}
    _judge_files(findings, named)
    _judge_keys(findings, named)
    _judge_places(findings, named, how)
    if any(split.times is not None for split in named.values()):
        _judge_times(findings, named, how)


def require_separate(splits: Sequence[Split], how: Separation | None = None, quiet: bool = True) -> None:
    """Raise ZooError, before training, with the first error that ``check`` would find about what two splits share.

    All that `judge_splits` looks at, and then the pixels of at most 200 samples of each split, evenly drawn: those that
    ``check`` reads too. Not looked at: the pixels of the other samples (a copy among them that is turned, cut or stored
    otherwise is found by 'check --samples 0'), and samples that cannot be read, which training meets itself.
    """
    findings = Findings(quiet=quiet)
    judge_splits(findings, splits, how)
    read = [split for split in splits if split.read is not None and split.compared]
    if not findings.count("error") and len(read) > 1:
        prints = {split.name: _prints(split, findings) for split in read}
        judge_pixels(findings, prints)
    for found in findings.found:
        if found.level == "error":
            remedy = f"; {found.remedy}" if found.remedy else ""
            raise ZooError(f"{found.subject}: {found.measured}{remedy} ('eozoo check' shows all)")


def judge_pixels(findings: Findings, prints: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Say whether samples of two splits show the same pixels, under whatever name, turned or cut.

    prints: split -> name of a sample that was read -> its ``leakage.fingerprints``.
    """
    if not any(len(p) for known in prints.values() for p in known.values()) or len(prints) < 2:
        return
    clean = True
    for one, two in combinations(prints, 2):
        shared = shared_pixels(list(prints[one].values()), list(prints[two].values()))
        if not shared:
            continue
        clean = False
        i, j, share = shared[0]
        files = [list(prints[s])[k] for s, k in ((one, i), (two, j))]
        many = len({j for _, j, _ in shared})
        text = f"{many} of {len(prints[two]):,} {two} samples read show ground that {one} samples show too"
        text += f": {files[1]} has {percent(share)} of its pixels in common with {files[0]}"
        findings.error(f"leakage {one}/{two}: pixels", text, "split by place; take one of the two out")
    if clean:
        read = sum(map(len, prints.values()))
        findings.ok("leakage: pixels", f"none of {read:,} samples read shows the same pixels as one of another split")


def _prints(split: Split, findings: Findings) -> dict[str, np.ndarray]:
    """Fingerprints of the samples that ``check`` would read, by name."""
    read = ((i, item) for i, item in drawn(split, findings) if isinstance(item, Item))
    return {split.names[i]: prints_of(item.image) for i, item in read}


def _pairs(splits: Mapping[str, Split]) -> Iterator[tuple[str, str]]:
    """Names of every two splits, in their order, and of one with itself whose samples are ``divided``."""
    for i, one in enumerate(splits):
        if splits[one].divided:
            yield one, one
        yield from ((one, two) for two in list(splits)[i + 1 :])


def _judge_files(findings: Findings, splits: Mapping[str, Split]) -> None:
    owners = [(name, file) for name, split in splits.items() for file in split.files]
    if len({name for name, _ in owners}) < 2 and not any(split.divided for split in splits.values()):
        return
    try:
        found = copies([file for _, file in owners])
    except OSError as error:
        findings.error("leakage: files", f"{error.filename}: cannot be read ({error.strerror})")
        return
    same: dict[tuple[str, str], list[int]] = {}
    for j, i in found.items():
        if owners[i][0] != owners[j][0] or splits[owners[i][0]].divided:
            same.setdefault((owners[i][0], owners[j][0]), []).append(j)
    for (one, two), many in same.items():
        file, first = owners[many[0]][1], owners[found[many[0]]][1]
        text = f"{len(many)} of {len(splits[two].files):,} {two} files are {one} files too: {file} is {first}"
        findings.error(f"leakage {one}/{two}: files", text, "keep one of the two", {"files": len(many)})
    if not same and owners:
        findings.ok("leakage: files", f"no two splits hold the same file (all {len(owners):,} compared)")


def _judge_keys(findings: Findings, splits: Mapping[str, Split]) -> None:
    known = {name: split for name, split in splits.items() if split.keys is not None}
    if not known:
        return
    what, clean = next(iter(known.values())).key, True
    for one, two in combinations(known, 2):
        a, b = known[one].keys or {}, known[two].keys or {}
        if shared := sorted(a.keys() & b.keys(), key=str):
            clean, first = False, shared[0]
            text = f"{len(shared):,} {what} are in both: {first} in {b[first]} and {a[first]}"
            findings.error(f"leakage {one}/{two}: {what}", text, "keep them in one split", {what: shared[:1000]})
    total = sum(len(split.keys or {}) for split in known.values())
    if not total:
        samples = f"{sum(map(len, known.values())):,} {next(iter(known.values())).what}"
        findings.unknown(f"leakage: {what}", f"none of {samples} names any {what}")
    elif clean:
        findings.ok(f"leakage: {what}", f"{total:,} {what}, none in two splits", {what: total})


def _judge_places(findings: Findings, splits: Mapping[str, Split], how: Separation) -> None:
    placed = {name: split for name, split in splits.items() if split.place is not None}
    if not placed:
        return
    places = {name: _places(split) for name, split in placed.items()}
    known = {name: found for name, found in places.items() if found}
    total = sum(map(len, placed.values()))
    if not known:
        findings.unknown("CRS", f"none of {total:,} samples is georeferenced", how.remedy)
        return
    systems = Counter(place.crs for found in known.values() for place in found)
    text = listed([_short(crs) if len(systems) == 1 else f"{_short(crs)} ({n} samples)" for crs, n in systems.items()])
    lost = total - sum(systems.values())
    rest = f", {lost:,} without" if lost else ""
    findings.ok("CRS", f"{text}, of all {total:,} samples{rest}", {"crs": dict(systems)})
    far, clean = {}, True
    for one, two in _pairs({name: placed[name] for name in known}):
        if one == two and len(known[one]) < 2:
            continue
        divided = placed[one].divided or placed[two].divided  # by blocks, so that neighbours do touch
        metres = _judge_ground(findings, known, (one, two), how, divided)
        clean = clean and metres is not None
        if metres is not None:
            far[one if one == two else f"{one}/{two}"] = metres
    if far and clean:
        text = ", ".join(f"{pair} {_distance(metres)}" for pair, metres in far.items())
        findings.ok("leakage: ground", f"nearest samples of two splits: {text}", {"nearest_m": far})


def _judge_ground(
    findings: Findings, places: Mapping[str, Sequence[Place]], pair: tuple[str, str], how: Separation, divided: bool
) -> float | None:
    """Judge the places of two splits, or of one with itself; return how near they come in metres, None: too near."""
    one, two = pair
    near, subject = nearest(places[two], places[one], same=one == two), f"leakage {one}/{two}: ground"
    clean = bool(np.isfinite(near.metres).all())
    if not clean:
        i = int(np.isinf(near.metres).argmax())
        text = f"{places[two][i].name} and {one} samples cannot be laid over one another"
        findings.unknown(subject, text, "look at their CRS: a box is not on Earth")
    worst = int(np.where(near.overlap, -1.0, near.metres).argmin())
    names = f"{places[two][worst].name} and {places[one][near.index[worst]].name}"
    n, metres = len(places[two]), float(near.metres[worst])
    numbers = {"overlapping": int(near.overlap.sum()), "nearest_m": metres, "samples": n}
    if near.overlap.any():
        text = f"{near.overlap.sum():,} of {n:,} {two} samples overlap {one} samples on the ground: {names}"
        findings.error(subject, text, how.repair, numbers)
        return None
    limit = how.metres or 0.0
    close = near.metres <= 0 if limit == 0 else near.metres < limit * 0.999
    if close.any() and not divided:
        what = f"lie nearer than the {limit:,.0f} m of {how.setting} to" if limit else "touch"
        text = f"{close.sum():,} of {n:,} {two} samples {what} {one} samples: {_distance(metres)} between {names}"
        findings.warning(subject, text, _GAP, numbers)
        return None
    return metres if clean else None


def _judge_times(findings: Findings, splits: Mapping[str, Split], how: Separation) -> None:
    """Say when the samples were taken and, where splits are by time, whether they are far enough apart."""
    times = {n: np.asarray(s.times, "datetime64[s]") for n, s in splits.items() if s.times is not None}
    known = {name: t[~np.isnat(t)] for name, t in times.items() if (~np.isnat(t)).any()}
    if not known:
        findings.unknown("time", "no sample names its time")
        return
    days = all((t == t.astype("datetime64[D]")).all() for t in known.values())
    spans = {name: tuple(str(v)[: 10 if days else 16] for v in (t.min(), t.max())) for name, t in known.items()}
    text = ", ".join(f"{name} {a}" + (f" to {b}" if a != b else "") for name, (a, b) in spans.items())
    findings.ok("time", text, {name: {"first": a, "last": b} for name, (a, b) in spans.items()})
    least, clean, gap = {}, True, how.gap / np.timedelta64(1, "h")
    for one, two in combinations(known, 2) if how.by_time else ():
        index, between = nearest_time(known[two], known[one])
        worst = int(between.argmin())
        hours = least[f"{one}/{two}"] = float(between[worst] / np.timedelta64(1, "h"))
        same, close = int((between == np.timedelta64(0, "s")).sum()), int((between < how.gap).sum())
        when = f"{str(known[two][worst])[:16]} and {str(known[one][index[worst]])[:16]}"
        numbers = {"same_time": same, "nearest_hours": hours}
        if same:
            text = f"{same:,} of {len(between):,} {two} samples are of the same time as {one} samples: {when[:16]}"
            findings.error(f"leakage {one}/{two}: time", text, "split by blocks of time, with a gap", numbers)
        elif close:
            text = f"{close:,} of {len(between):,} {two} samples are nearer than {gap:g} h to {one} samples"
            findings.warning(f"leakage {one}/{two}: time", f"{text}: {when}", "leave a wider gap in time", numbers)
        clean = clean and not same and not close
    if clean and least:
        text = ", ".join(f"{pair} {hours:,.1f} h" for pair, hours in least.items())
        findings.ok("leakage: time", f"nearest samples of two splits: {text}", {"nearest_hours": least})


def _places(split: Split) -> list[Place]:
    """The places that are known."""
    assert split.place is not None
    found = []
    for i in range(len(split)):
        try:
            place = split.place(i)
        except ZooError:  # said where it was read, or where its header was
            continue
        if place is not None:
            found.append(place)
    return found


def _short(crs: str) -> str:
    """The name of a CRS that is given at length."""
    from rasterio.crs import CRS

    code = CRS.from_user_input(crs).to_epsg()
    return f"EPSG:{code}" if code else crs[:60]


def _distance(metres: float) -> str:
    return f"{metres:,.0f} m" if metres < 10_000 else f"{metres / 1000:,.0f} km"
