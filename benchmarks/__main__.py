"""``python -m benchmarks [NAME ...]``: run all measurements, or those named."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path


def main() -> None:
    """Run the modules in this folder that have a ``main``, in the order of their names."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("bench_*.py"))
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")] or [
        name.removeprefix("bench_") for name in names
    ]
    print(f"machine: {platform.machine()}, {_cpu()}, Python {platform.python_version()}")
    for name in chosen:
        if f"bench_{name}" not in names:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(n.removeprefix('bench_') for n in names)}")
        print(f"\n== {name}")
        importlib.import_module(f"benchmarks.bench_{name}").main()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor()


if __name__ == "__main__":
    main()
