"""Two at once: trainers of one run, maps into one folder, verbs beside a training, and two processes of one job."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks import forked
from benchmarks.break_kills import left_in
from benchmarks.break_worlds import SECONDS, SMALL, World, wrong, wrong_maps

_HELD = re.compile(r"Error: \S+: is being written by process \d+ on host .* since .*; wait until it is done, end it")
EOZOO = Path(sys.executable).with_name("eozoo")


def two_trainers(world: World, times: int, tell: list[str]) -> Counter[str]:
    """The same training twice, the second at a random moment of the first: one trains, or both end as one did."""
    bad: Counter[str] = Counter()
    seconds = world.marks["train"][1]
    for number in range(times):
        place, faults = world.home / "shared", {}
        world.prepare("train", place)
        first, _ = world.start("train", place)
        time.sleep(random.Random(number).choice((0, 0.01, random.Random(number).uniform(0, seconds))))
        second = forked.start(world.words("train", place), world.home / "second.txt")
        for name, running in (("second", second), ("first", first)):
            code, said = running.wait(SECONDS)
            refused = code == 1 and len(_HELD.findall(said)) == 1
            _judge(f"{name} trainer", code if not refused else 0, said, faults)
        _compare(world, place, faults, trained=True)
        _note(bad, faults, tell, f"{world.task} {number}: two trainers")
    return bad


def two_workers(world: World, times: int, tell: list[str]) -> Counter[str]:
    """Two ``infer`` into one folder; both end well, and every map is whole and right. Then one of them is killed."""
    bad: Counter[str] = Counter()
    seconds = world.marks["infer"][1]
    for number in range(times):
        draw, place, faults = random.Random(number), world.home / "shared", {}
        world.prepare("infer", place)
        first, _ = world.start("infer", place)
        time.sleep(draw.uniform(0, seconds / 2))
        second = forked.start(world.words("infer", place), world.home / "second.txt")
        killed = number % 2 == 1
        if killed:
            time.sleep(draw.uniform(0, seconds / 2))
            first.send(signal.SIGKILL)
        for name, running in (("second", second), ("first", first)):
            code, said = running.wait(SECONDS)
            _judge(f"{name} infer", 0 if killed and name == "first" and code == -signal.SIGKILL else code, said, faults)
        if killed:
            third, _ = world.start("infer", place)
            _judge("third infer", *third.wait(SECONDS), faults)
        _compare(world, place, faults, trained=False)
        _note(bad, faults, tell, f"{world.task} {number}: two workers")
    return bad


def beside_training(world: World, times: int, tell: list[str]) -> Counter[str]:
    """``check``, ``eval``, ``infer``, ``card`` of a run in training: well or one line; training ends as alone."""
    bad: Counter[str] = Counter()
    for number in range(times):
        place, faults = world.home / "shared", {}
        world.prepare("train", place)
        running, _ = world.start("train", place)
        verbs = {
            "check": ["check", world.task, "--config", str(world.home / "settings.yaml")],
            "eval": world.words("eval", place),
            "infer": world.words("infer", place),
            "card": ["card", world.task, "--run", str(place / "run")],
        }
        time.sleep(random.Random(number).uniform(0, world.marks["train"][1] / 2))
        while not running.ended():
            for name, words in verbs.items():
                code, said = forked.start(words, world.home / "second.txt").wait(SECONDS)
                line = code == 1 and len(re.findall(r"^Error: ", said, re.MULTILINE)) == 1
                _judge(name, 0 if line else code, said, faults)
        _judge("train", *running.wait(SECONDS), faults)
        _compare(world, place, faults, trained=True, maps=False)
        _note(bad, faults, tell, f"{world.task} {number}: beside training")
    return bad


def two_processes(world: World, times: int, tell: list[str]) -> Counter[str]:
    """``--devices 2``: the kit's comparison with one process; then jobs of which one process, or all, are killed.

    The same command again must end as an undisturbed job of two.
    """
    from eozoo.testing import task_checks

    bad: Counter[str] = Counter()
    faults: dict[str, str] = {}
    pairs = World(world.task, world.home, world.source, dict(world.marks))
    place = world.home / "two"
    check = next(
        c for c in task_checks(world.task, overrides=SMALL.get(world.task, ())) if c.name == "two_processes_are_one"
    )
    try:
        check(_empty(world.home / "kit"))
    except AssertionError as error:
        faults["wrong results"] = str(error)
    _note(bad, faults, tell, f"{world.task}: two processes against one")
    undisturbed = world.home / "undisturbed"
    seconds = _job(pairs, undisturbed, None, 0, faults)
    for number in range(times):
        draw, faults = random.Random(number), {}
        _job(pairs, place, draw.uniform(0.3, 1) * seconds, number, faults)
        _job(pairs, place, None, number, faults, fresh=False)
        if not faults:
            left = left_in(place)
            faults |= {"half files": f"left: {left}"} if left else {}
            found = wrong(World(world.task, world.home, world.source, {}, "undisturbed"), place, maps=False)
            faults |= {"wrong results": found} if found else {}
        _note(bad, faults, tell, f"{world.task} {number}: two processes, killed")
    return bad


def _job(
    world: World, place: Path, kill: float | None, number: int, faults: dict[str, str], fresh: bool = True
) -> float:
    """Run a training of two processes; return its seconds."""
    if fresh:
        _empty(place)
    begun = time.monotonic()
    command = [EOZOO, *world.words("train", place), "--devices", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0) as job:
        if kill is not None:
            time.sleep(kill)
            sign = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[number % 3]
            if number % 2:
                os.killpg(job.pid, sign)
            else:
                job.send_signal(sign)
        try:
            said, _ = job.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            faults["hangs"] = "a job of two processes does not end"
            return SECONDS
    killed = kill is not None and job.returncode in (0, 1, 130, 143, -9, -15, -2)
    _judge("two processes", 0 if killed else job.returncode, said, faults)
    return time.monotonic() - begun


def _empty(place: Path) -> Path:
    import shutil

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def _judge(name: str, code: int | None, said: str, faults: dict[str, str]) -> None:
    if code is None:
        faults["hangs"] = f"{name}: {said[-300:]}"
    elif "Traceback" in said or code == 70:
        faults["tracebacks"] = f"{name}: {said[-2000:]}"
    elif code:
        faults["lost runs"] = f"{name}: code {code}: {said[-600:]}"


def _compare(world: World, place: Path, faults: dict[str, str], trained: bool, maps: bool = True) -> None:
    if faults:
        return
    if left := left_in(place):
        faults["half files"] = f"left in the end: {left}"
    if found := wrong(world, place, maps=False) if trained else wrong_maps(world, place) if maps else None:
        faults["wrong results"] = found


def _note(bad: Counter[str], faults: dict[str, str], tell: list[str], what: str) -> None:
    bad.update(faults.keys())
    tell += [f"{what}: {name}: {said}" for name, said in faults.items()]
