"""Kills: a command is ended at a random moment, and the same command again must end as if nothing had been."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.break_worlds import SECONDS, World, wrong
from benchmarks.full_disk import whole
from benchmarks.marks import PHASES, Kill, Marks

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_TEN = (
    "statistics", "training", "checkpoint", "evaluation", "inference",
    "training", "checkpoint", "inference", "validation", "start",
)  # fmt: skip
_TEMPORARY = re.compile(r"\.part\b|\.(writer|demo)\.json")
_TAKEN_UP = re.compile(
    r"/\.[^/]+(?<!\.[0-9a-f]{8})\.part/(values\.npy|done\.json)$"
)  # rows that the same command goes on from


def kill_often(world: World, numbers: range, tell: list[str]) -> tuple[Counter[str], Counter[str]]:
    """Kill a command of a task for each number; return what went wrong, and how many were hit in which phase.

    ``tell`` gets a line for everything that went wrong.
    """
    bad: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for number in numbers:
        draw = random.Random(f"{world.task} {number}")
        phase, sign = _TEN[number % 10], SIGNALS[number % 3]
        fresh = phase == "start" and number % 20 == 9
        verb = draw.choice([verb for verb, (marks, _) in world.marks.items() if phase in marks.phases()])
        place = world.home / "killed"
        world.prepare(verb, place)
        faults: dict[str, str] = {}
        where = []
        for again in range(1 if fresh else draw.choice((1, 1, 1, 2))):
            kill = world.marks[verb][0].draw(phase, sign, bool(again), draw)
            where.append((_kill_fresh if fresh else _kill)(world, verb, place, kill, faults))
        hit.update(where)
        _again(world, verb, place, faults, number % 3 == 0)
        bad.update(faults.keys())
        tell += [f"{world.task} {number}: {verb} {sign.name} in {where}: {k}: {said}" for k, said in faults.items()]
    return bad, hit


def _kill(world: World, verb: str, place: Path, kill: Kill, faults: dict[str, str]) -> str:
    """Let a process kill itself; return the phase that was hit."""
    running, file = world.start(verb, place, kill)
    code, said = running.wait(SECONDS)
    _judge(code, said, place, faults)
    return Marks.read(file).killed or "after its end"


def _kill_fresh(world: World, verb: str, place: Path, kill: Kill, faults: dict[str, str]) -> str:
    """Kill a process that is still importing; the first 0.1 s are Python's own start."""
    command = [Path(sys.executable).with_name("eozoo"), *world.words(verb, place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(random.Random(kill.after).uniform(0.1, 3))
    process.send_signal(kill.sign)
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        faults["hangs"] = "a fresh process does not end"
        return "a fresh process"
    _judge(process.returncode, said, place, faults)
    return "a fresh process"


def _again(world: World, verb: str, place: Path, faults: dict[str, str], map_too: bool) -> None:
    """The same command once more; ``map_too``: and maps of what it trained. Training has scored the test split."""
    kept, maps = _step(place), verb == "infer" or (verb == "train" and map_too)
    for one in (verb, "infer") if verb == "train" and map_too else (verb,):
        running, file = world.start(one, place)
        code, said = running.wait(SECONDS)
        if code is None:
            faults["hangs"] = f"{one} again: {said[-300:]}"
        elif code:
            faults["lost runs"] = f"{one} again: code {code}: {said[-600:]}"
        if code != 0:
            return
        if "Traceback" in said:
            faults["tracebacks"] = said[-2000:]
        steps = Marks.read(file).steps
        if one == "train" and kept and steps and min(steps) <= kept:
            faults["lost runs"] = f"began at step {min(steps)} although current.pt was of step {kept}"
    if left := left_in(place):
        faults["half files"] = f"left in the end: {left}"
    if found := wrong(world, place, maps=maps):
        faults["wrong results"] = found


def left_in(place: Path) -> list[str]:
    """Return the names of half files, temporary ones and leases in a folder."""
    files = [file for file in place.rglob("*") if file.is_file()]
    return [file.name for file in files if _TEMPORARY.search(file.as_posix()) or not whole(file)]


def _judge(code: int | None, said: str, place: Path, faults: dict[str, str]) -> None:
    """What a killed command may leave: whole files, hidden temporary ones after SIGKILL alone, and one line."""
    if code is None:
        faults["hangs"] = said[-300:]
    if "Traceback" in said or code == 70:
        faults["tracebacks"] = said[-2000:]
    files = [file for file in place.rglob("*") if file.is_file()]
    half = [file.name for file in files if not _TEMPORARY.search(file.as_posix()) and not whole(file)]
    if code != -signal.SIGKILL:
        left = (file for file in files if _TEMPORARY.search(file.as_posix()))
        half += [file.name for file in left if not _TAKEN_UP.search(file.as_posix())]
    if half:
        faults["half files"] = f"code {code}: {half}"


def _step(place: Path) -> int:
    from eozoo_core.errors import ZooError
    from eozoo_core.run.checkpoint import load_checkpoint

    file = place / "run" / "current.pt"
    try:
        return load_checkpoint(file)["step"] if file.exists() else 0
    except ZooError:  # half a file, which has been told
        return 0


def told(hit: Counter[str]) -> str:
    """Return where kills hit, in words."""
    order = [*PHASES, "a fresh process", "after its end"]
    return ", ".join(f"{hit[phase]} in {phase}" for phase in order if hit[phase])
