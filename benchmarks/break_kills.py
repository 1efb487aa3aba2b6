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
from benchmarks.marks import PHASES, Marks

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_VERBS = ("train", "train", "train", "eval", "infer")
_TEMPORARY = re.compile(r"\.part\b|\.(writer|demo)\.json")


def kill_often(world: World, numbers: range, tell: list[str]) -> tuple[Counter[str], Counter[str]]:
    """Kill a command of a task for each number; return what went wrong, and how many were hit in which phase.

    ``tell`` gets a line for everything that went wrong.
    """
    bad: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for number in numbers:
        draw = random.Random(f"{world.task} {number}")
        verb, sign = draw.choice(_VERBS), SIGNALS[number % 3]
        place = world.home / "killed"
        world.prepare(verb, place)
        faults: dict[str, str] = {}
        fresh = number % 10 == 9
        kills = 1 if fresh else draw.choice((1, 1, 2))
        for _ in range(kills):
            phase = (
                _kill_fresh(world, verb, place, sign, draw, faults)
                if fresh
                else _kill(world, verb, place, sign, draw, faults)
            )
            hit[phase] += 1
        _again(world, verb, place, faults, number % 3 == 0)
        bad.update(faults.keys())
        tell += [f"{world.task} {number}: {verb} {sign.name} in {phase}: {k}: {said}" for k, said in faults.items()]
    return bad, hit


def _kill(world: World, verb: str, place: Path, sign: int, draw: random.Random, faults: dict[str, str]) -> str:
    """Kill at a random write, or at a random moment of a random phase; return the phase that was hit."""
    marks, seconds = world.marks[verb]
    if draw.random() < 0.5:
        running, file = world.start(verb, place, (draw.randrange(1, max(2, marks.writes * 4 // 5)), sign))
    else:
        running, file = world.start(verb, place)
        number, length = marks.moment(seconds, draw)
        while len(Marks.read(file).phases) <= number and not running.ended():
            time.sleep(0.001)
        pace = min(1.0, running.seconds / max(marks.phases[number][0], 0.1)) if number else 0.5  # faster than then?
        time.sleep(draw.uniform(0, 0.8 * length * pace))
        running.send(sign)
    code, said = running.wait(SECONDS)
    _judge(code, said, place, faults)
    phases = Marks.read(file).phases
    return "after its end" if code == 0 else phases[-1][1] if phases else "start"


def _kill_fresh(world: World, verb: str, place: Path, sign: int, draw: random.Random, faults: dict[str, str]) -> str:
    """Kill a process that is still importing; the first 0.1 s are Python's own start."""
    command = [Path(sys.executable).with_name("eozoo"), *world.words(verb, place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(draw.uniform(0.1, 3))
    process.send_signal(sign)
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
        half += [file.name for file in files if _TEMPORARY.search(file.as_posix())]
    if half:
        faults["half files"] = f"code {code}: {half}"


def _step(place: Path) -> int:
    from eozoo_core.run.checkpoint import load_checkpoint

    file = place / "run" / "current.pt"
    return load_checkpoint(file)["step"] if file.exists() else 0


def told(hit: Counter[str]) -> str:
    """Return where kills hit, in words."""
    order = [*PHASES, "a fresh process", "after its end"]
    return ", ".join(f"{hit[phase]} in {phase}" for phase in order if hit[phase])
