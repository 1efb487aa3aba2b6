"""What eozoo says to damaged files: ``python -m benchmarks.break_readers [--n 500] [--only WORD] [--show]``.

Every kind of file that it reads is damaged in many ways and read through its public door, in a process of its own with
10 s and 2 GiB more than it began with. A row counts: right values; one line (ZooError that names file or folder);
not seen (other values, in a format without a checksum over them, or that say nothing wrong); wrong (other values in a
format with one); traceback; hang; killed (a signal, or no memory).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import platform
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError

from benchmarks.damage import damage
from benchmarks.more_readers import KINDS
from benchmarks.readers import Kind

SECONDS, BYTES = 10, 2 * 2**30
HEAD = ("| file | right | one line | not seen | wrong | traceback | hang | killed |", "|---" + "|---:" * 7 + "|")
COLUMNS = ("right", "one line", "not seen", "wrong", "traceback", "hang", "killed")


def digest(value: Any) -> str:
    """Hash what a reader returned."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def judged(kind: Kind, file: Path, right: str) -> tuple[str, str]:
    """Read a file that may be damaged; return the column that it falls into, and what was said."""
    try:
        found = digest(kind.read(file))
    except ZooError as error:
        said = str(error)
        names = any(part in said for part in (file.name, file.stem, file.parent.name))
        good = "\n" not in said and names and len(said) < 700
        return ("one line" if good else "traceback"), said[:300]
    except MemoryError:
        return "killed", "no memory: " + _last_line()
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {str(error)[:120]} at {_last_line()}"
    if found == right:
        return "right", ""
    return ("wrong" if kind.sums else "not seen"), ""


def break_kind(kind: Kind, number: int, others: dict[str, bytes]) -> tuple[Counter[str], list[str]]:
    """Damage one kind ``number`` times; return counts by column and a line for each that is worth a look."""
    counts: Counter[str] = Counter()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        file = kind.make(Path(folder))
        foreign = [content for name, content in others.items() if name != kind.name][:6]
        whole, right = file.read_bytes(), digest(kind.read(file))

        def attempt(seed: int) -> tuple[str, str, str]:
            how = damage(file, whole, seed, foreign)
            return (how, *judged(kind, file, right))

        for seed, (how, column, said) in enumerate(_in_children(attempt, number)):
            counts[column] += 1
            if column not in ("right", "one line") or (column == "one line" and seed < 40):
                lines.append(f"{kind.name} | seed {seed}, {how} | {column} | {said.replace(folder, '')}")
    return counts, lines


def _in_children(attempt: Callable[[int], Any], number: int) -> Iterator[Any]:
    """Yield ``attempt(seed)`` of all seeds, made in a process that is replaced when it hangs or dies."""
    seed = 0
    while seed < number:
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            _limit()
            with os.fdopen(into, "wb") as answers:
                for one in range(seed, number):
                    content = pickle.dumps(attempt(one))
                    answers.write(len(content).to_bytes(4) + content)
                    answers.flush()
            os._exit(0)
        os.close(into)
        try:
            while seed < number:
                yield pickle.loads(_receive(out, int.from_bytes(_receive(out, 4))))
                seed += 1
        except TimeoutError:
            yield "?", "hang", f"{SECONDS} s"
            seed += 1
        except EOFError:
            yield "?", "killed", "it died"
            seed += 1
        finally:
            os.close(out)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _receive(pipe: int, size: int) -> bytes:
    found, end = b"", time.monotonic() + SECONDS
    while len(found) < size:
        if not select.select([pipe], [], [], max(0, end - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(pipe, size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _limit() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, held + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=500)
    options.add_argument("--only", default="")
    options.add_argument("--show", action="store_true", help="a line for every bad end, and some of what was said")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"machine: {platform.machine()}, Python {platform.python_version()}; {time.strftime('%Y-%m-%d')}\n")
    tell: list[str] = []
    print("\n".join(HEAD))
    measure(given.n, given.only, tell, show=True)
    if given.show:
        print(*tell, sep="\n", file=sys.stderr, flush=True)


def measure(number: int, only: str, tell: list[str], show: bool = False) -> tuple[list[str], Counter[str]]:
    """Damage every kind of file ``number`` times; return a row of each, printed as soon as it is made, and the sums."""
    others, total, rows = _files(), Counter(), []
    for kind in KINDS:
        if only in kind.name:
            counts, lines = break_kind(kind, number, others)
            total += counts
            tell += lines
            rows.append(f"| {kind.name} | " + " | ".join(str(counts[column]) for column in COLUMNS) + " |")
            if show:
                print(rows[-1], flush=True)
    return rows, total


def _files() -> dict[str, bytes]:
    found = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found[kind.name] = kind.make(Path(folder)).read_bytes()
    return found


def _last_line() -> str:
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [f for f in frames if "eozoo" in f.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} < {frames[-1].name}"


def _add(total: Any, value: Any) -> None:
    total.update(type(value).__name__.encode())
    if isinstance(value, np.ndarray):
        total.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            _add(total, str(key))
            _add(total, value[key])
    elif isinstance(value, list | tuple):
        total.update(str(len(value)).encode())
        for item in value:
            _add(total, item)
    elif is_dataclass(value):
        for field in fields(value):
            _add(total, getattr(value, field.name))
    else:
        total.update(repr(value).encode())


if __name__ == "__main__":
    main()
