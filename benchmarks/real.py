"""Everything that is measured on real data, in one run: ``make real``, or ``python -m benchmarks.real [STAGE ...]``.

Each stage is a script of its own with its protocol; two run at a time, each in one thread. What they print goes to
real/STAGE.log, their trainings to real/, and a stopped call goes on with them. Then the tables of the docs are written
from the results (benchmarks/pages.py). benchmarks/results/real.json says of what code, on which machine, how long each
stage took, and whether it began without anything of an earlier call.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK, RESULT = ROOT / "real", ROOT / "benchmarks" / "results" / "real.json"
AT_ONCE = 2
# stage -> its scripts, one after the other: the later ones read what the earlier ones trained. The longest come first.
STAGES = {
    "barlow": ("real_barlow", "real_barlow_head", "real_barlow_transfer"),
    "gedi_17": ("real_gedi_17",),
    "prithvi": ("real_prithvi",),
    "prithvi_context": ("real_prithvi_context",),
    "gedi": ("real_gedi", "real_gedi_ensemble"),
    "gedi_biomass": ("real_gedi_biomass",),
}


def main() -> None:
    """Run the stages that are named, or all; exit with 1 where one failed."""
    asked = sys.argv[1:] or list(STAGES)
    if wrong := [name for name in asked if name not in STAGES]:
        sys.exit(f"no stage {wrong[0]!r}: {', '.join(STAGES)}")
    WORK.mkdir(exist_ok=True)
    began, code = time.monotonic(), _code()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = dict(zip(asked, pool.map(_run, asked), strict=True))
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    of_same_code = known.get("stages", {}) if known.get("code") == code else {}
    minutes = round((time.monotonic() - began) / 60, 1)
    result = {"code": code, "machine": _machine(), "minutes": minutes, "stages": of_same_code | made}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if failed := [name for name, one in made.items() if one["exit"]]:
        sys.exit(f"failed: {', '.join(failed)}; read real/STAGE.log")
    subprocess.run([sys.executable, "-m", "benchmarks.pages"], check=True, cwd=ROOT)


def _run(stage: str) -> dict:
    """Run the scripts of a stage; return its exit code, minutes, CPU minutes and whether it began fresh."""
    mark, log, began, computed, code = WORK / f"{stage}.begun", WORK / f"{stage}.log", time.monotonic(), 0.0, 0
    fresh = not mark.exists()
    mark.touch()
    with log.open("w") as out:
        for script in STAGES[stage]:
            print(f"{script}: begins, {log}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{script}"]
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)
            code, computed = os.waitstatus_to_exitcode(status), computed + used.ru_utime + used.ru_stime
            if code:
                break
    minutes = round((time.monotonic() - began) / 60, 1)
    print(f"{stage}: {minutes} min, {'exit ' + str(code) if code else 'done'}", flush=True)
    return {"exit": code, "fresh": fresh, "minutes": minutes, "cpu_minutes": round(computed / 60, 1)}


def _code() -> dict:
    """Name the commit and the code files that differ from it."""
    commit, changed = (_git(*command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    return {
        "commit": commit,
        "changed": [line[3:] for line in changed.splitlines() if line.endswith((".py", ".toml", ".yaml"))],
    }


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.rstrip()


def _machine() -> dict:
    import torch

    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    name = cpu.partition(": ")[2] or platform.processor()
    return {"cpu": name, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    main()
