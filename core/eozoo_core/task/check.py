"""``eozoo check``: the splits of a task as core judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eozoo_core.checking import (
    Channel,
    Classes,
    Expected,
    Findings,
    Seen,
    channel,
    check_splits,
    judge_schedule,
    judge_splits,
)
from eozoo_core.checking.guard import Observed, judge
from eozoo_core.checking.preview import panels_of
from eozoo_core.errors import ZooError
from eozoo_core.task.classes import UNSAID, unsaid
from eozoo_core.task.contract import Contract
from eozoo_core.task.reading import reading_notes
from eozoo_core.task.survey import surveyed

if TYPE_CHECKING:
    from eozoo_core.task.data import Data


def check(task: Contract, findings: Findings) -> dict[str, tuple[Data, Seen]]:
    """Describe every split to ``eozoo_core.checking``; see ``Task.check``. One bad split does not hide the others.

    Returns by split its data and what the samples that were read hold.
    """
    opened: dict[str, Data] = {}
    for name in ("train", "val", "test"):
        with findings.guard(name):
            if name == "test" and not task.has_split(name):
                findings.unknown("test", "there is no test split", "without it there is nothing to score at the end")
                continue
            opened[name] = task.data_to_check(name)
            opened[name].problems(findings, name)
            for note in dict.fromkeys(line.partition(": ")[2] for line in reading_notes(opened[name])):
                findings.ok(f"{name}: reading", note)
    if not opened:
        reasons = [found.measured for found in findings.found if found.level == "error"]
        if len(reasons) > 1 and len(set(reasons)) == 1:  # a setting is missing; it is not about splits
            findings.found = [found for found in findings.found if found.level != "error"]
            raise ZooError(reasons[0])
        return {}
    expected, (splits, apart) = task.expected(), task.describe_splits(opened)
    if isinstance(expected.label, Classes) and (names := _class_names(opened)):
        expected = replace(expected, label=Classes(names))
        if odd := unsaid(names):
            findings.error("labels", f"hold {odd}, {UNSAID}")
    if isinstance(expected.label, Channel) and getattr(getattr(task.settings, "data", None), "unit", "") is None:
        unit = next((data.label_unit for data in opened.values()), "")
        expected = replace(expected, label=channel("label", unit))
    channels = channels_of(next(iter(opened.values())), expected)
    seen = check_splits(findings, splits, channels, expected.label, expected.remedies)
    judge_likeness(findings, seen, channels)
    if "train" in opened:
        judge_schedule(findings, task.settings.train, opened["train"].draws)
    judge_splits(findings, splits, apart)
    if (division := next((data.division for data in opened.values()), None)) is not None:
        division.judge(findings)
    divided = division.panels if division is not None else list
    if shown := next((one for one in seen.values() if one.best), None):
        names = [one.name for one in channels]
        bands = [names.index(name) for name in expected.shown if name in names]
        draw = lambda: [*panels_of(shown, channels, expected.label, bands or None), *divided()]  # noqa: E731
        findings.picture(shown.shown, draw)
    return {name: (opened[name], one) for name, one in seen.items()}


def _class_names(opened: Mapping[str, Data]) -> dict[int, str]:
    """Classes that were found, in any split."""
    return {code: name for data in opened.values() for code, name in data.class_names.items()}


def judge_likeness(findings: Findings, seen: Mapping[str, Seen], channels: Sequence[Channel]) -> None:
    """Compare what was read of the other splits with train, by the rule of docs/guard.md."""
    if "train" not in seen:
        return
    known = surveyed(seen["train"].statistics, tuple(one.unit for one in channels))
    for name, one in seen.items():
        observed = Observed(known)
        observed.add(one.statistics.sample)
        if name != "train" and (verdict := judge(observed)).level != "ok":
            findings.warning(f"{name}: values", verdict.text, verdict.remedy, verdict.numbers())


def channels_of(data: Data, expected: Expected) -> list[Channel]:
    """Return the bands of ``data`` with what is plausible in them: by their unit, else by what the task knows."""
    named = zip(data.bands, data.units, strict=True)
    return [expected.bands[n] if not unit and n in expected.bands else channel(n, unit) for n, unit in named]


def expected_of(task: Contract) -> Expected:
    """Return what the outputs say of labels: classes or a unit; the default of ``Task.expected``."""
    label: Channel | Classes | None = None
    for port in task.ports(task.Survey()).outputs:
        if port.spread == "class":
            return Expected(Classes(dict(port.legend)))
        if port.spread == "moments" and label is None:
            label = channel("label", port.unit)
    return Expected(label)
