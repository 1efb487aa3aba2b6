"""Checks of who may write: a run and a scene have one writer."""

from __future__ import annotations

import os
from pathlib import Path

from eozoo.testing.infer import mapped_sample
from eozoo.testing.shared_runs import Bench


def a_run_has_one_writer(bench: Bench, folder: Path) -> None:
    """While a run is trained a second trainer is refused. ``same_seed_same_result`` says that the first one's stays."""
    if not hasattr(os, "fork"):
        return
    seconds = bench.stepwise.seconds
    assert seconds, "no second trainer was started: train() wrote no checkpoint through Run.save"
    for text in seconds:
        assert text.startswith("Held: ") and f"process {os.getpid()} on host" in text, (
            f"a second process that trains the same run is not refused, but: {text}; keep what Run.create gave as the "
            "run that is trained, and do not release it"
        )
    left = [str(file) for file in bench.stepwise.path.rglob(".writer.json")]
    assert not left, f"after training the run still has a writer: {left}; let train() end, or call Run.release"


def a_scene_has_one_writer(bench: Bench, folder: Path) -> None:
    """Two ``infer`` at once into one folder both end well; what is finished and from the same is left alone."""
    from eozoo_core import Task

    mapped = mapped_sample(bench)
    for code, text in mapped.at_once:
        assert code == 0, f"one of two processes that infer into one folder failed: {text}"
    if bench.task_class.infer is Task.infer:
        assert not mapped.again, (
            f"infer made {mapped.again} again, although nothing changed: Scene.stamp, tags and notes must not depend "
            "on the time, and Scene.reads names files that stay"
        )
