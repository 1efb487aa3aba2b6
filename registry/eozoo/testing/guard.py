"""Checks of the guard: values far outside what training saw are refused, or warned of in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

from eozoo.testing.equality import tree
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_FACTOR, _DEVIATIONS = 10_000, 100


def absurd_inputs_are_refused(bench: Bench, folder: Path) -> None:
    """Values times 10,000, or a hundred deviations beside, are refused in one line by maps and scores: nothing left."""
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    from eozoo_core.task.evaluate import survey_of

    if not bench.writes("data"):
        return
    survey = survey_of(task, run)
    judged = [band for band in survey.bands if band.count and band.quantiles]
    assert judged or not any(band.count for band in survey.bands), (
        "survey() gives bands without quantiles: make them with surveyed(ChannelStatistics) so that maps can be judged"
    )
    if not judged:
        return
    for what, change in _changes(survey).items():
        with _changed(change):
            _refusal(lambda: task.infer(run, bench.sample.source, folder / "out"), f"infer() of values {what}")
            left = [name for name in tree(folder / "out")] if (folder / "out").exists() else []
            assert not left, f"infer() refused values {what} and left {left}"
            _refusal(lambda: task.score(run, "val"), f"score() of values {what}")


def _changes(survey: Any) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    import numpy as np

    std = np.array(survey.std)[:, None]
    return {
        "times 10,000": lambda values: values * _FACTOR,
        "100 deviations beside": lambda values: values + _DEVIATIONS * std,
    }


class _changed:  # noqa: N801 - reads as a word in its `with`
    """The guard sees other values than the files hold; what reads them is the business of other checks."""

    def __init__(self, change: Callable[[np.ndarray], np.ndarray]):
        self._change = change

    def __enter__(self) -> None:
        from eozoo_core.checking.guard import Observed

        self._add, change, bands = Observed.add, self._change, 0
        original = Observed.add

        def add(observed: Any, values: np.ndarray) -> None:
            original(observed, change(values) if len(observed.known) > bands else values)

        Observed.add = add

    def __exit__(self, *exception: object) -> None:
        from eozoo_core.checking.guard import Observed

        Observed.add = self._add


def _refusal(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except ZooError as error:
        assert "\n" not in str(error), f"{what} is refused in more than one line: {error}"
        return
    raise AssertionError(f"{what} is not refused: see docs/guard.md")
