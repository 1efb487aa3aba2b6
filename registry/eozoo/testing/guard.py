"""Checks of the guard: values far outside what training saw make no map and no score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from eozoo_core.errors import ZooError

from eozoo.testing.equality import tree
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

_FACTOR, _DEVIATIONS = 10_000, 100


def absurd_inputs_are_refused(bench: Bench, folder: Path) -> None:
    """Values times 10,000 or a hundred deviations beside: maps and scores refuse them in one line, nothing is left."""
    from eozoo_core.checking.guard import Observed
    from eozoo_core.task.evaluate import survey_of
    from eozoo_core.task.worklist import FILE

    if not bench.writes("data"):
        return
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    survey, add = survey_of(task, run), Observed.add
    if not any(band.count for band in survey.bands):
        return  # nothing is known of its bands
    lacking = [band.name for band in survey.bands if band.count and not band.quantiles]
    assert not lacking, (
        f"survey() gives no quantiles of {', '.join(lacking)}: make bands with surveyed(ChannelStatistics), so that "
        "maps can be compared with what training saw"
    )
    source, out = bench.source(folder / "source"), folder / "out"
    for what, change in _changes(survey).items():

        def changed(observed: Any, values: np.ndarray, change: Any = change) -> None:
            add(observed, change(values) if len(observed.known) == len(survey.bands) else values)

        # What reads the values is the business of other checks: the guard alone is shown others.
        with patch.object(Observed, "add", changed):
            _refusal(lambda: task.infer(run, source, out), f"infer() of values {what}")
            _refusal(lambda: task.score(run, "val"), f"score() of values {what}")
        left = sorted(tree(out).keys() - {FILE}) if out.exists() else []  # of a list, that says why
        assert not left, f"infer() refused values {what} and left {left}: let core write, after `map` has ended"


def _changes(survey: Any) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    import numpy as np

    std = np.array(survey.std, np.float32)[:, None]
    return {
        "times 10,000": lambda values: values * np.float32(_FACTOR),
        "100 deviations beside": lambda values: values + _DEVIATIONS * std,
    }


def _refusal(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except ZooError as error:
        assert "\n" not in str(error), f"{what} is refused in more than one line: {error}"
        return
    raise AssertionError(f"{what} is not refused: `map` gives core's `drawn` no array of bands? See docs/guard.md")
