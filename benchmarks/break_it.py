"""Everything that was tried to break eozoo, as one table: ``python -m benchmarks.break_it [--only WORD ...]``.

Attacks every task, and the one that ``eozoo new`` writes, with kills, a second writer, other verbs beside training,
two processes, planted modules and pickles, full disks (Linux, root) and damaged files. Results are added to
benchmarks/results/break_it.json; ``--table`` prints what is there as docs/reliability.md shows it. Words choose rows:
``--only kills --only gedi_sparse`` runs those that hold both. Kills go on after those that are there: delete them
from that file where the code has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import break_kills, forked
from benchmarks.break_worlds import STRANGER, World, install_stranger, make

RESULTS = Path(__file__).parent / "results" / "break_it.json"
COLUMNS = ("tracebacks", "half files", "lost runs", "foreign code", "wrong results", "hangs")
_KEPT_EVERY = 5
TASKS = (*forked.SHIPPED, STRANGER)
# name -> (what it says in the table, how often it is done by default; 0 = as often as there are cases)
ATTACKS = {
    "kills": ("killed at a random moment, the same command again", 50),
    "trainers": ("two trainers of one run", 10),
    "workers": ("two `infer` into one folder, one of them killed every other time", 10),
    "beside": ("`check`, `eval`, `infer`, `card` beside training", 4),
    "processes": ("2 processes against 1, and one or all of 2 killed", 6),
    "modules": ("modules planted in every folder, every verb", 0),
    "pickles": ("pickles and YAML tags in the place of data and run", 0),
    "disk": ("full disks, every verb and step", 0),
    "readers": ("damaged files, 32 kinds", 500),
}


def attack(name: str, task: str, home: Path, times: int, tell: list[str]) -> dict[str, Any]:
    """Run one attack on one task ("all" for what has none) and return its row: "attempts", counts, "note"."""
    from benchmarks import break_foreign, break_writers

    if name == "disk":
        return _disk(task, tell)
    if name == "readers":
        return _readers(times, tell)
    world = _world(task, home)
    if name == "kills":
        return _kills(world, times, tell)
    if name in ("modules", "pickles"):
        plant = break_foreign.planted_modules if name == "modules" else break_foreign.planted_pickles
        count, bad = plant(world, tell)
        return {"attempts": count, **bad}
    works: dict[str, Callable[[World, int, list[str]], Counter[str]]] = {
        "trainers": break_writers.two_trainers,
        "workers": break_writers.two_workers,
        "beside": break_writers.beside_training,
        "processes": break_writers.two_processes,
    }
    return {"attempts": times + (name == "processes"), **works[name](world, times, tell)}


def main() -> None:
    """Run what was asked for, tell what went wrong, keep the numbers, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", action="append", default=[], help="rows whose attack and task hold this word")
    options.add_argument("--times", type=int, help="how often each is done, instead of its default")
    options.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "eozoo_break_it")
    options.add_argument("--table", action="store_true", help="print the tables of what was measured, nothing else")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if given.table:
        print(tables(json.loads(RESULTS.read_text())))
        return
    given.home.mkdir(parents=True, exist_ok=True)
    install_stranger(given.home / "stranger")
    forked.load(TASKS)
    for name, (_, times) in ATTACKS.items():
        tasks = {"disk": (*forked.SHIPPED, "all"), "readers": ("all",)}.get(name, TASKS)
        for task in (t for t in tasks if all(word in f"{name} {t}" for word in given.only)):
            tell: list[str] = []
            begun = time.monotonic()
            row = attack(name, task, given.home, given.times or times, tell)
            row |= {"seconds": round(time.monotonic() - begun), "on": time.strftime("%Y-%m-%d"), "of": _commit()}
            _keep(name, task, row)
            print(name, task, json.dumps({k: v for k, v in row.items() if k != "rows"}), flush=True)
            print(*tell, sep="\n", file=sys.stderr, flush=True)


def tables(results: dict[str, dict[str, Any]]) -> str:
    """Return what was measured as Markdown: the table, where kills hit, and the rows of disks and readers."""
    lines = [f"| attack | task | times | {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (1 + len(COLUMNS))]
    total: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for name, (said, _) in ATTACKS.items():
        for task, row in results.get(name, {}).items():
            cells = [f"{row['attempts']:,}", *(str(row.get(column, 0)) for column in COLUMNS)]
            lines.append(f"| {said} | {task} | {' | '.join(cells)} |")
            total.update({column: row.get(column, 0) for column in ("attempts", *COLUMNS)})
            hit.update(row.get("hit", {}))
    cells = [f"{total['attempts']:,}", *(str(total[column]) for column in COLUMNS)]
    lines += [f"| **all** | | {' | '.join(cells)} |", "", f"Kills: {break_kills.told(hit)}.", ""]
    for name in ("disk", "readers"):
        lines += ["", *(line for row in results.get(name, {}).values() for line in row["rows"])]
    return "\n".join(lines)


def _world(task: str, home: Path, kept: dict[str, World] = {}) -> World:  # noqa: B006 - one of each in a process
    if task not in kept:
        shutil.rmtree(home / task, ignore_errors=True)
        kept[task] = make(task, home / task)
    return kept[task]


def _kills(world: World, times: int, tell: list[str]) -> dict[str, Any]:
    """Kill up to number ``times``: those that were done before are kept, and every few are."""
    row = _kept().get("kills", {}).get(world.task, {})
    done, hit = row.get("done", 0), Counter(row.get("hit", {}))
    bad = Counter({column: row.get(column, 0) for column in COLUMNS})
    for start in range(done, times, _KEPT_EVERY):
        numbers = range(start, min(times, start + _KEPT_EVERY))
        more, where = break_kills.kill_often(world, numbers, tell)
        bad, hit = bad + more, hit + where
        row = {"attempts": hit.total(), "done": numbers.stop, **bad, "hit": dict(hit)}
        _keep("kills", world.task, row)
        print("kills", world.task, json.dumps(row), flush=True)
    return row


def _disk(task: str, tell: list[str]) -> dict[str, Any]:
    from benchmarks import full_disk

    rows, total, count = full_disk.measure(task, tell)
    bad = {"half files": total["half"] + total["temporary"], "tracebacks": total["tracebacks"]}
    return {"attempts": count, **bad, "lost runs": total["failed"], "rows": rows}


def _readers(times: int, tell: list[str]) -> dict[str, Any]:
    from benchmarks import break_readers

    rows, total = break_readers.measure(times, "", tell)
    bad = {"tracebacks": total["traceback"] + total["killed"], "wrong results": total["wrong"], "hangs": total["hang"]}
    return {"attempts": total.total(), **bad, "rows": rows}


def _commit() -> str:
    here = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(here, capture_output=True, text=True).stdout.strip()


def _kept() -> dict[str, dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _keep(name: str, task: str, row: dict[str, Any]) -> None:
    results = _kept()
    results.setdefault(name, {})[task] = row
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
