"""Training a run: one network in it, or the members of an ensemble, one after the other or several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

from eozoo_core.errors import Interrupted, ZooError
from eozoo_core.run.beginning import take_weights_from
from eozoo_core.run.cores import usable_cores
from eozoo_core.run.directory import Run
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.rank import is_first_process
from eozoo_core.run.writing import refused
from eozoo_core.task.contract import Contract
from eozoo_core.task.ensemble import best_hash, member_count, member_settings
from eozoo_core.task.evaluate import survey_of
from eozoo_core.task.references import fit_baselines
from eozoo_core.task.train import train
from eozoo_core.train.execution import KEY as EXECUTION
from eozoo_core.train.job import losing_others
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.precision import training_precision

if TYPE_CHECKING:
    from eozoo_core.settings import TaskSettings


def train_all(task: Contract, run: Run, scored: bool = True) -> None:
    """Train every member of ``run``, fit what comes after, and (``scored``) score the test split where there is one.

    Goes on where an earlier call stopped; one member trains in the run itself. Raises ZooError for a checkpoint of one
    network given to an ensemble, for what ends a member's training, and where another process trains the run.
    """
    with run.writing(), losing_others():
        _train_all(task, run, scored)


def _train_all(task: Contract, run: Run, scored: bool) -> None:
    settings = run.settings
    if member_count(settings) == 1:
        train(task, run)
    else:
        _train_members(task, run)
    if not is_first_process():
        return
    fitted = task.fitted(run)
    if fitted is not None:
        best = best_hash(run, settings)
        run.note("fitted", fitted.model_copy(update={"best": best}).model_dump(mode="json"))
    fit_baselines(task, run, survey_of(task, run))
    if scored and task.has_split("test"):
        run.write_scores("test", task.score(run, "test", on_unlike="warn"), task.scored_on(run, "test"))


def _train_members(task: Contract, run: Run) -> None:
    settings = run.settings
    if run.has("current"):
        raise ZooError(
            f"{run.path}: holds the checkpoint of one network and train.members is {member_count(settings)}; "
            "--resume goes with train.members=1 (the same command continues an ensemble by itself)"
        )
    children = _children(run, settings)
    if settings.runtime.member_processes == 1:
        survey = None  # of the first member: they differ by their seed, and not in what they are trained on
        for child in children:
            with child.writing():
                if EXECUTION in run.info():
                    child.note(EXECUTION, run.info()[EXECUTION])  # of the first member: all compute alike
                survey = train(type(task)(child.settings, task.registry), child, survey)
                run.note(EXECUTION, child.info().get(EXECUTION, {}))
        return
    if settings.runtime.devices * settings.runtime.nodes > 1:
        raise ZooError("runtime.member_processes: is for one process per member; set runtime.devices and nodes to 1")
    _train_in_processes(run, children)


def _children(run: Run, settings: TaskSettings) -> list[Run]:
    start, children = run.info().get("init_from"), []
    precision = training_precision(run, resolve_device(settings.runtime.device))
    run.note("precision", precision)  # of all members, on whichever machine the last of them is trained
    for number in range(member_count(settings)):
        child = run.child(f"member_{number}", member_settings(settings, number))
        child.note("precision", precision)
        if start is not None:
            take_weights_from(child, Path(start["file"]))
        children.append(child)
    return children


def _train_in_processes(run: Run, children: list[Run]) -> None:
    """Run ``eozoo train`` on the members' run directories, so many at a time, GPUs in turn."""
    waiting = list(enumerate(children))
    working: dict[int, subprocess.Popen] = {}
    done = 0
    with progress_bar("members", len(children), "members", run.settings.runtime.quiet) as bar:
        try:
            while waiting or working:
                while waiting and len(working) < run.settings.runtime.member_processes:
                    number, child = waiting.pop(0)
                    working[number] = _start(number, child)
                for number in [n for n, process in working.items() if process.poll() is not None]:
                    check_ended(children[number], working.pop(number).returncode)
                    done += 1
                bar.update(done, _where(children))
                time.sleep(0.2)
        except KeyboardInterrupt as stop:
            number = getattr(stop, "number", SIGINT)
            raise Interrupted(f"stopped, members saved in {run.path}; the same command goes on", number) from None
        finally:
            _stop(working)


def _start(number: int, child: Run) -> subprocess.Popen:
    import torch

    command = [sys.executable, "-P", "-m", "eozoo", "train", child.task, "--run", str(child.path), "--quiet"]
    command += ["--set", "eval.baselines=[]"]  # they are those of the whole run
    if child.settings.runtime.device in ("auto", "cuda") and torch.cuda.is_available():
        command += ["--device", f"cuda:{number % torch.cuda.device_count()}"]
    child.release()  # its own process writes it
    threads = max(1, usable_cores() // child.settings.runtime.member_processes)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with refused(child.path / "train.txt"), (child.path / "train.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)


def check_ended(child: Run, code: int) -> None:
    """Raise ZooError with the last line that a member's process wrote, unless it ended well (code 0)."""
    if code == 0:
        return
    lines = (child.path / "train.txt").read_text(errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("Error: ") if lines else "no message"
    raise ZooError(f"{child.path}: its training ended with code {code}: {last}")


def _stop(working: dict[int, subprocess.Popen]) -> None:
    """Ask what still works to save and end (SIGTERM does that), and wait for it."""
    for process in working.values():
        if process.poll() is None:
            process.terminate()
    for process in working.values():
        process.wait()


def _where(children: list[Run]) -> str:
    def epochs() -> Iterator[str]:
        for child in children:
            lines = child.read_log()
            yield str(lines[-1]["epoch"]) if lines else "-"

    return f"epochs {' '.join(epochs())}"
