"""Reading some samples of each split, as a task reads them, and what they hold. Findings come from ``verdicts``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eozoo_core.checking.findings import Findings
from eozoo_core.checking.leakage import fingerprints
from eozoo_core.checking.places import Place
from eozoo_core.checking.units import Channel, Mistake, likely_mistake, out_of_range
from eozoo_core.errors import ZooError
from eozoo_core.run.progress import progress_bar
from eozoo_core.score.statistics import ChannelStatistics

_VALUES = 4096  # of a band in a sample: enough for percentiles
_LABELS = 2**15  # of a sample, for the histogram
_READ = 2**28  # values read of a split at most; a map of 14 bands and 4000 x 4000 pixels is as many
_TAGS = np.array([-9999.0, -32768.0, np.finfo(np.float32).min, -1e30], np.float32)  # "nothing", where nobody says so


@dataclass(frozen=True)
class Classes:
    """A label of class numbers: number -> name."""

    names: dict[int, str]


@dataclass(frozen=True)
class Item:
    """One sample as training gets it before normalisation: ``image (C, ...)`` and its label, NaN = missing."""

    image: np.ndarray
    label: np.ndarray | None = None


@dataclass(frozen=True)
class Split:
    """One split. Nothing is read before it is asked for.

    names: one per sample, for messages: its file where there is one.
    read:  sample number -> Item. Raises ZooError as training would. None: pixels are not compared.
    files: files of the samples, for finding copies; () = none.
    place: sample number -> Place, from a header; None = it is not the ground that keeps splits apart.
    times: acquisition time per sample, datetime64, NaT = not known; None = no times.
    what:  the word for samples in messages.
    keys:  what no two splits may have in common ("station 90 at 2022-01-02", the name of a place) -> where it is, for
           messages; any number for a sample; None = nothing of the kind.
    key:   the word for keys in messages.
    compared: False = their pixels are not compared: see `task.data.Data.apart`.
    divided: each sample is divided among the splits itself (by blocks): no two of them may share ground or content.
    """

    name: str
    names: Sequence[str]
    read: Callable[[int], Item] | None
    files: Sequence[Path] = ()
    place: Callable[[int], Place | None] | None = None
    times: np.ndarray | None = None
    what: str = "samples"
    keys: Mapping[Hashable, str] | None = None
    key: str = "places"
    divided: bool = False
    compared: bool = True

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Suspect:
    """A sample whose band cannot be in its unit: why, and the usual mistake that explains it."""

    name: str
    channel: str
    reason: str
    mistake: Mistake | None


@dataclass
class Seen:
    """What the samples that were read of one split hold.

    Per channel: ``statistics`` and ``places``, the number of values with those that are missing. ``levels`` are the
    98th percentiles of absolute values (samples, C), NaN = nothing there. Of very many labels in a sample every
    ``thinned``-th is kept. ``even`` are samples with pixels in which
    all bands are one and the same number, that number, and their share. ``best`` is the sample for the picture.
    """

    split: Split
    statistics: ChannelStatistics
    read: list[int] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    places: int = 0
    infinite: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    even: list[tuple[str, float, float]] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    levels: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    thinned: int = 1
    labelled: int = 0
    label_values: int = 0
    untagged: list[tuple[str, float]] = field(default_factory=list)
    label_suspects: list[Suspect] = field(default_factory=list)
    unnamed: list[tuple[str, int]] = field(default_factory=list)
    prints: list[np.ndarray] = field(default_factory=list)
    best: tuple[int, Item] | None = None
    score: float = -1.0

    @property
    def shown(self) -> str:
        """The name of the sample for the picture."""
        return "" if self.best is None else f"{self.split.name}: {self.split.names[self.best[0]]}"

    @property
    def whole(self) -> bool:
        """Whether every sample was read, so that what is not there is nowhere."""
        return len(self.read) + len(self.bad) == len(self.split)

    @property
    def missing(self) -> np.ndarray:
        """Share of missing values per channel (C,); NaN where nothing was read."""
        if not self.places:
            return np.full(len(self.statistics.names), np.nan)
        return 1 - self.statistics.count / self.places


def look(split: Split, channels: Sequence[Channel], label: Channel | Classes | None, findings: Findings) -> Seen:
    """Read some samples of ``split`` and keep what is needed to judge them; see `Seen`."""
    seen = Seen(split, ChannelStatistics([c.name for c in channels]))
    for i, item in drawn(split, findings):
        try:
            if isinstance(item, ZooError):
                raise item
            _require_channels(item, channels, split.names[i])
        except ZooError as error:
            seen.bad.append(str(error))
            continue
        seen.read.append(i)
        _take_image(seen, item.image, channels, split.names[i])
        _take_label(seen, item.label, label, split.names[i])
        _keep_best(seen, item, i)
    return seen


def drawn(split: Split, findings: Findings) -> Iterator[tuple[int, Item | ZooError]]:
    """Read some samples, evenly drawn: yield the number of each and what it holds, or why it cannot be read.

    As many as ``findings`` allows, fewer where samples are very large.
    """
    assert split.read is not None
    values = 0
    chosen = findings.draw(len(split))
    with progress_bar(f"reading {split.name}", len(chosen), "samples", findings.quiet) as bar:
        for done, i in enumerate(chosen.tolist()):
            if findings.samples and values > _READ:
                break
            try:
                item = split.read(i)
            except ZooError as error:
                yield i, error
                continue
            values += item.image.size
            yield i, item
            bar.update(done + 1)


def prints_of(image: np.ndarray) -> np.ndarray:
    """Return `fingerprints` of an image (C, H, W) of more than 15 x 15 pixels, none of anything else."""
    return fingerprints(image) if image.ndim == 3 and min(image.shape[1:]) > 15 else np.empty(0, np.uint64)


def _require_channels(item: Item, channels: Sequence[Channel], name: str) -> None:
    if len(item.image) != len(channels):
        names = ", ".join(channel.name for channel in channels)
        raise ZooError(f"{name}: has {len(item.image)} bands, the first sample has {len(channels)}: {names}")
    if not item.image.size:
        raise ZooError(f"{name}: holds no pixel (shape {item.image.shape})")


def _take_image(seen: Seen, image: np.ndarray, channels: Sequence[Channel], name: str) -> None:
    seen.shapes[image.shape] += 1
    flat = image.reshape(len(image), -1)
    if np.isinf(flat).any():
        seen.infinite.append(name)
        flat = np.where(np.isinf(flat), np.float32(np.nan), flat)
    seen.statistics.update(flat)
    seen.places += flat.shape[1]
    complete = np.isfinite(flat).all(axis=0)
    if not complete.any():
        seen.empty.append(name)
    elif len(flat) > 2:
        even = complete & (flat == flat[0]).all(axis=0)
        numbers, counts = np.unique(flat[0, even], return_counts=True)
        if counts.max(initial=0) >= 0.01 * flat.shape[1]:
            seen.even.append((name, float(numbers[counts.argmax()]), float(counts.max() / flat.shape[1])))
    thin = flat[:, :: max(1, flat.shape[1] // _VALUES)]
    levels = np.full(len(flat), np.nan)
    for c, channel in enumerate(channels):
        part = thin[c][np.isfinite(thin[c])]
        part = part if part.size else flat[c][np.isfinite(flat[c])][:_VALUES]
        if not part.size:
            continue
        part = part[~np.isin(part, _TAGS)] if part.min() < -9000 else part
        if not part.size:
            continue
        levels[c] = np.percentile(np.abs(part), 98)
        if (reason := out_of_range(channel, part)) is not None:
            seen.suspects.append(Suspect(name, channel.name, reason, likely_mistake(channel, part)))
    seen.levels.append(levels)
    seen.prints.append(prints_of(image if seen.split.compared else image[:, :0]))


def _take_label(seen: Seen, label: np.ndarray | None, what: Channel | Classes | None, name: str) -> None:
    if label is None or what is None:
        return
    values = label[np.isfinite(label)]
    odd = np.isin(values.astype(np.float32), _TAGS)
    seen.untagged += [(name, float(v)) for v in np.unique(values[odd])]
    values = values[~odd]
    seen.label_values += values.size
    seen.labelled += bool(values.size)
    if isinstance(what, Classes):
        codes = np.unique(values)
        seen.unnamed += [(name, int(c)) for c in codes[~np.isin(codes, list(what.names))]]
    step = -(-values.size // _LABELS) or 1
    seen.thinned = max(seen.thinned, step)
    part = values[::step]
    seen.labels.append(part)
    if isinstance(what, Channel) and (reason := out_of_range(what, part)) is not None:
        seen.label_suspects.append(Suspect(name, what.name, reason, likely_mistake(what, part)))


def _keep_best(seen: Seen, item: Item, i: int) -> None:
    """Of the first samples the one with most to see: data in all bands, something missing too, many labels."""
    complete = np.isfinite(item.image).all(axis=0).mean()
    score = float(complete) * (1.0 if complete == 1 else 1.2)
    if item.label is not None:
        score *= 0.1 + np.isfinite(item.label).mean() ** 0.5
    if len(seen.read) <= 50 and score > seen.score:
        seen.best, seen.score = (i, item), score
