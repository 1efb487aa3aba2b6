"""Checks of training: the same again, going on after a kill, and what is left behind."""

from __future__ import annotations

from pathlib import Path

from eozoo_core.errors import ZooError

from eozoo.testing.equality import checkpoint_difference
from eozoo.testing.shared_runs import Bench, Trained
from eozoo.testing.watch import ambient, saves

_STEPWISE = "train.save_every_steps=1"


def same_seed_same_result(bench: Bench, folder: Path) -> None:
    """Two trainings of one seed end bit by bit the same, whatever the random state and however often they save."""
    found = checkpoint_difference(bench.finished.path, bench.stepwise.path, without=("config",))
    assert not found, (
        f"two trainings with one seed differ: {found}; draw initialisation, order and augmentation from train.seed "
        "(after eozoo_core.train.launch), never from the time, hash() or a set's order"
    )


def continues_after_an_epoch(bench: Bench, folder: Path) -> None:
    """Killed after an epoch and continued ends bit by bit where the uninterrupted training ended."""
    _continues(bench, bench.finished, folder, "after an epoch")


def continues_within_an_epoch(bench: Bench, folder: Path) -> None:
    """Killed within an epoch and continued ends bit by bit where the uninterrupted training ended."""
    _continues(bench, bench.stepwise, folder, "within an epoch", _STEPWISE)


def finished_run_stays(bench: Bench, folder: Path) -> None:
    """Training a finished run again with the same settings trains and writes nothing."""
    path = bench.copy(bench.finished.path, folder)
    task, run = bench.go_on(path)
    with saves() as written:
        task.train(run)
    found = checkpoint_difference(bench.finished.path, path)
    assert not written and not found, (
        f"training a finished run again wrote {len(written)} checkpoints ({found or 'of the same content'}): "
        "let eozoo_core.train.fit decide where to go on, and write nothing around it"
    )


def plan_tells_the_steps(bench: Bench, folder: Path) -> None:
    """A dry run, and ``check`` where it counts them, tell the steps that training takes: the first of epochs and steps.

    A task without a dry run has nothing to tell.
    """
    from eozoo_core import Run, Task
    from eozoo_core.checking import Findings

    core = bench.task_class.plan is Task.plan
    if core and not bench.writes("data"):
        return
    _, trained = bench.open(bench.finished.path)
    taken = trained.read_log()[-1]["step"]
    for steps, expected in ((1, 1), (1000 * taken, taken)):
        settings = bench.settings(f"train.steps={steps}")
        task = bench.task_class(settings, bench.registry)
        told = []
        if steps > 1 or not core:  # core's builds the network; tests of core let it end
            told.append(("plan()", task.plan(Run(folder, bench.name, settings)).total_steps))
        task.check(findings := Findings(samples=50))
        told += [("check()", f.numbers["total_steps"]) for f in findings.found if "total_steps" in f.numbers]
        for verb, total in told:
            assert total == expected, (
                f"{verb} tells {total} steps in all with train.epochs={settings.train.epochs}, train.steps={steps}; "
                f"training takes {expected}: ask eozoo_core.train.schedule.plan_steps, and give make_scheduler to fit"
            )


def changed_setting_is_refused(bench: Bench, folder: Path) -> None:
    """A finished run refuses another seed and another learning rate, and names the setting."""
    settings = bench.settings().train
    for key, value in (("train.seed", settings.seed + 1), ("train.learning_rate", settings.learning_rate * 2)):
        path = bench.copy(bench.finished.path, folder / key)
        before = (path / "config.yaml").read_bytes()
        try:
            bench.go_on(path, f"{key}={value}")
        except ZooError as error:
            assert key in str(error), f"the refusal of another {key} does not name it: {error}"
        else:
            raise AssertionError(f"the run went on with {key}={value}, another value than it was trained with")
        assert (path / "config.yaml").read_bytes() == before, f"another {key} was refused, and yet config.yaml changed"


def trained_parts_are_saved(bench: Bench, folder: Path) -> None:
    """The final value of every parameter that an optimiser changed is in current.pt: adapters, heads, and all else."""
    lost = bench.finished.lost
    assert not lost, (
        f"{len(lost)} trained parameters are not in current.pt, shapes {', '.join(map(str, lost[:3]))}: give every "
        "trained module to eozoo_core.train.fit in 'state', and leave only frozen parts out of its state_dict"
    )


def _continues(bench: Bench, whole: Trained, folder: Path, when: str, *overrides: str) -> None:
    short = (
        f"no current.pt was written {when}: train through eozoo_core.train.fit, on a sample with at least two epochs "
        "and two optimiser steps in each"
    )
    assert whole.killed is not None, short
    path = bench.copy(whole.killed, folder)
    with ambient(11), saves() as written:
        task, run = bench.go_on(path, *overrides)
        stopped = run.load("current")["step"]
        task.train(run)
    assert stopped < run.load("current")["step"], short
    steps = [save["step"] for save in written]
    assert not steps or min(steps) > stopped, (
        f"killed {when}, at step {stopped}, and continued: trained step {min(steps)} again; go on from current.pt"
    )
    found = checkpoint_difference(whole.path, path)
    assert not found, (
        f"killed {when} and continued differs from uninterrupted: {found}; put everything that training needs to go on "
        "into 'state' of eozoo_core.train.fit, and make batches a function of (seed, epoch, position)"
    )
