"""Every verb and preparation step on a disk that is full: tiny file systems in memory. Needs Linux and root.

``python -m benchmarks.full_disk [WORD ...]`` prints the table of docs/reliability.md; words choose cases by name. Each
case is run where there is space, then on file systems of several shares of what it wrote. A run is good where it ends
with one line and code 1 (or well: TensorBoard and the profiler are left out), and leaves nothing half written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks import forked, raw_products
from benchmarks.break_worlds import SMALL

SHARES = (0.0, 0.3, 0.6, 0.97)  # of what a case writes
TASKS = forked.SHIPPED
HEAD = ("| command | writes | ended | half files | temporary files | tracebacks |", "| --- " * 6 + "|")
HOME = Path("/tmp/eozoo_full_disk")
_GIVEN = {"prithvi_refine season_pairs": "seasons"}  # what a step works on in place
_SECONDS = 300
_PAGE = 4096
_MAY_BE_TORN = ("events.out.tfevents", "train.txt")  # what other libraries append to, and nobody reads back


@dataclass(frozen=True)
class Case:
    """A command line with ``{d}``, the tiny file system, and ``{b}``, made before. ``given``: copied there."""

    name: str
    command: str
    given: str = ""

    def of(self, task: str) -> bool:
        """Whether it is one of ``task``, or holds that word; "all" = of no task."""
        return task in self.name if task != "all" else not any(task in self.name for task in TASKS)


def cases() -> list[Case]:
    """Return every verb of every task and every preparation step, with what it writes on the tiny file system."""
    found = [Case(f"demo {task}", f"demo {task} --out {{d}}/demo --set train.epochs=1") for task in TASKS]
    for task in TASKS:
        run, more = f"{{b}}/{task}/run", "--set runtime.tensorboard=true --set runtime.profile=true --quiet"
        found += [
            Case(f"train {task}", f"train {task} --run {{d}}/run --config {run}/config.yaml {more}"),
            Case(f"eval {task}", f"eval {task} --run {{d}}/run --quiet", f"{task}/run"),
            Case(f"infer {task}", f"infer {task} --run {run} --input {{source:{task}}} --output {{d}}/maps --quiet"),
            Case(f"card {task}", f"card {task} --run {run} --out {{d}}/card.md"),
            Case(f"check {task}", f"check {task} --config {run}/config.yaml --out {{d}}/checked"),
            Case(f"config {task}", f"config {task} > {{d}}/full.yaml"),
        ]
        for kind, end in (("torch-export", "pt2"), ("onnx", "onnx"), ("safetensors", "safetensors")):
            how = f"--run {run} --format {kind} --output {{d}}/net.{end}"
            found.append(Case(f"export {task} {kind}", f"export {task} {how}"))
    steps = {
        "clay_ta simulate": "--config {b}/clay_ta/run/config.yaml --set prepare.simulate.out={d}/raw",
        "gedi_sparse example": "--set prepare.example.dest={d}/example",
    }
    gedi = "--config {b}/example/gedi.yaml --set prepare"
    steps |= {
        "gedi_sparse shots": f"{gedi}.shots.dest={{d}}/shots",
        "gedi_sparse labels": f"{gedi}.labels.dest={{d}}/labels.tif",
        "gedi_sparse stack": f"{gedi}.stack.dest={{d}}/stack.tif",
        "gedi_sparse patches": f"{gedi}.patches.dest={{d}}/patches",
    }
    steps |= raw_products.steps()
    found += [Case(f"prepare {name}", f"prepare {name} {how}", _GIVEN.get(name, "")) for name, how in steps.items()]
    twins = "--config {b}/barlow_twins/run/config.yaml --set runtime.data_dir={d}/data"
    for step in ("statistics", "store"):
        found.append(Case(f"prepare barlow_twins {step}", f"prepare barlow_twins {step} {twins}", "barlow_twins/data"))
    found += [
        Case("new", "new snow --in {d}"),
        Case("plugins disable", "plugins disable eozoo-clay-ta"),
    ]
    return found


def prepare(base: Path) -> None:
    """Train every task briefly, where there is space."""
    for task in TASKS:
        if not (base / task / "run" / "best.pt").exists():
            shutil.rmtree(base / task, ignore_errors=True)
            sets = [word for one in ("train.epochs=1", *SMALL[task]) for word in ("--set", one)]
            _must("demo", task, "--out", str(base / task), *sets)
    if not (base / "example").exists():
        dest = base / "example"
        _must(*f"prepare gedi_sparse example --set prepare.example.dest={dest}".split())
        for step in ("shots", "labels", "stack", "patches"):
            _must("prepare", "gedi_sparse", step, "--config", f"{dest}/gedi.yaml")
    if not (base / "seasons").exists():
        raw_products.write(base)
        how = raw_products.steps()["prithvi_refine tiles"].replace("{d}/tiles", f"{base}/seasons")
        _must("prepare", "prithvi_refine", "tiles", *how.replace("{b}", str(base)).split())


def measure(task: str, tell: list[str]) -> tuple[list[str], Counter[str], int]:
    """Run the cases of a task ("all": those of none, "": every one); return rows, sums and the number of runs.

    ``tell`` gets a line for everything that went wrong.
    """
    base, disk = HOME / "base", HOME / f"disk{os.getpid()}"
    base.mkdir(parents=True, exist_ok=True)
    disk.mkdir(exist_ok=True)
    prepare(base)
    total: Counter[str] = Counter()
    rows = []
    for case in cases():
        if case.of(task):
            row, counts = _row(case, base, disk, tell)
            total += counts
            rows.append(row)
    return rows, total, len(SHARES) * len(rows)


def main() -> None:
    """Run the cases whose names hold a word, and print a line for each, and the sums."""
    forked.load()
    tell: list[str] = []
    print("\n".join(HEAD))
    for word in sys.argv[1:] or [""]:
        rows, total, _ = measure(word, tell)
        print(*rows, json.dumps(total), sep="\n", flush=True)
    print(*tell, sep="\n", file=sys.stderr)


def _row(case: Case, base: Path, disk: Path, tell: list[str]) -> tuple[str, Counter[str]]:
    with _mounted(disk, 2**30):
        given = _give(case, base, disk)
        code, said = _run(case.command, base, disk)
        if code:
            tell.append(f"{case.name} fails with space: {said[-1500:]}")
            return f"| {case.name} | | fails with space | | | |", Counter(failed=1)
        need = _used(disk) - given
    counts: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for share in SHARES:
        size = given + max(int(need * share) // _PAGE, 1) * _PAGE
        with _mounted(disk, size):
            _give(case, base, disk)
            code, said = _run(case.command, base, disk)
            bad = _judge(code, said, disk)
        ended["well" if code == 0 else "one line" if code == 1 and not bad["tracebacks"] else f"code {code}"] += 1
        counts += bad
        tell += [f"{case.name} at {share:.0%}: {what}: {said[-1500:]}" for what in bad]
    how = ", ".join(f"{n} x {what}" for what, n in ended.items())
    row = [case.name, f"{need / 1e6:.2f} MB", how, *(str(counts[k]) for k in ("half", "temporary", "tracebacks"))]
    return f"| {' | '.join(row)} |", counts


def _judge(code: int, said: str, disk: Path) -> Counter[str]:
    bad: Counter[str] = Counter()
    files = [file for file in disk.rglob("*") if file.is_file()]
    bad["half"] = sum(not whole(file) for file in files)
    for file in files:
        if not whole(file):
            print("half:", file, file.stat().st_size, file=sys.stderr)
    bad["temporary"] = sum(bool(re.search(r"-\d+-\w*\.\w{8}\.part", file.as_posix())) for file in files)
    lines = re.findall(r"^Error: |^error .*cannot be written", said, re.MULTILINE)  # check says it as a finding
    bad["tracebacks"] = int("Traceback" in said or code not in (0, 1) or (code == 1 and len(lines) != 1))
    return +bad


def whole(file: Path) -> bool:
    """Whether a file can be read to its end."""
    import h5py
    import numpy as np
    import rasterio
    import torch

    if file.name.startswith(_MAY_BE_TORN) or "/." in file.as_posix():
        return True
    try:
        content = file.read_bytes()
        match file.suffix:
            case ".npy" | ".npz":
                np.load(file, allow_pickle=False)
                if file.suffix == ".npz":
                    dict(np.load(file))
            case ".pt":
                torch.load(file, weights_only=True)
            case ".tif":
                with rasterio.open(file) as opened:
                    opened.read()
            case ".nc" | ".h5":
                h5py.File(file).close()
            case ".json" | ".geojson":
                json.loads(content)
            case ".jsonl" | ".yaml" | ".csv" | ".md":
                return content.endswith(b"\n") or "full.yaml" in file.name
            case ".html":
                return content.endswith(b"</html>\n")
            case ".png":
                return content[-8:-4] == b"IEND"
            case _:
                return bool(content) or file.name in ("__init__.py", "py.typed", "empty")
    except Exception:
        return False
    return True


def _run(command: str, base: Path, disk: Path) -> tuple[int, str]:
    """Run in a forked process; return its exit code (negative: signal) and what it printed."""
    command = command.replace("{b}", str(base)).replace("{d}", str(disk))
    command = re.sub(r"\{source:(\w+)\}", lambda found: str(_source(base, found.group(1))), command)
    command, _, into = command.partition(" > ")

    def settle() -> None:
        os.environ["EOZOO_CONFIG_DIR"] = os.environ["XDG_CONFIG_HOME"] = str(disk / "settings")

    code, said = forked.start(command.split(), base / f"{disk.name}.txt", into, settle).wait(_SECONDS)
    return (-9 if code is None else code), said


def _source(base: Path, task: str) -> Path:
    settings = {"barlow_twins": "data/**/processed", "clay_ta": "data/map", "gedi_sparse": "data/scene.tif"}
    return sorted((base / task).glob(settings.get(task, "data/*.tif")))[0]


def _give(case: Case, base: Path, disk: Path) -> int:
    if case.given:
        shutil.copytree(base / case.given, disk / Path(case.given).name)
    return _used(disk)


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class _mounted:  # noqa: N801 - a context
    def __init__(self, disk: Path, size: int):
        self.disk, self.size = disk, size

    def __enter__(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.disk], check=True)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.disk], check=True)


def _must(*words: str) -> None:
    subprocess.run([Path(sys.executable).with_name("eozoo"), *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
