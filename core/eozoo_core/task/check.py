"""``eozoo check``: the splits of a task as core judges them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.checking import Channel, Classes, Findings, channel, check_splits, judge_schedule, judge_splits
from eozoo_core.checking.preview import panels_of
from eozoo_core.task.contract import Contract

if TYPE_CHECKING:
    from eozoo_core.task.data import Data


def check(task: Contract, findings: Findings) -> None:
    """Describe every split to ``eozoo_core.checking``; see ``Task.check``. One bad split does not hide the others."""
    opened: dict[str, Data] = {}
    for name in ("train", "val", "test"):
        if name == "test" and not task.has_split(name):
            findings.unknown("test", "there is no test split", "without it there is nothing to score at the end")
            continue
        with findings.guard(name):
            opened[name] = task.data(name)
    if not opened:
        return
    splits, apart = task.describe_splits(opened)
    label, first = expected_label(task), next(iter(opened.values()))
    channels = [channel(name, unit) for name, unit in zip(first.bands, first.units, strict=True)]
    seen = check_splits(findings, splits, channels, label)
    if "train" in opened:
        judge_schedule(findings, task.settings.train, opened["train"].draws)
    judge_splits(findings, splits, apart)
    if shown := next((one for one in seen.values() if one.best), None):
        findings.picture(shown.shown, lambda: panels_of(shown, channels, label))


def expected_label(task: Contract) -> Channel | Classes | None:
    """Return what labels are compared with: the classes or the unit of what is predicted; None where neither fits."""
    ports = task.ports(task.Survey()).outputs
    for port in ports:
        if port.spread == "class":
            return Classes(dict(port.legend))
    return next((channel("label", port.unit) for port in ports if port.spread == "moments"), None)
