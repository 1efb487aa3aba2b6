"""Foreign code: modules, start-up files and pickles planted wherever eozoo reads; none may be run."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import forked
from benchmarks.break_worlds import SECONDS, World

# Ours, what we import, what Python itself imports while it starts, what libraries look for, and the usual beside them.
MODULES = (
    "eozoo", "eozoo_core", "eozoo_barlow_twins", "eozoo_clay_ta", "eozoo_gedi_sparse", "eozoo_prithvi_refine",
    "eozoo_snow", "torch", "numpy", "rasterio", "h5py", "click", "yaml", "pluggy", "pydantic", "matplotlib", "PIL",
    "scipy", "sklearn", "timm", "lightning_fabric", "tensorboard", "sitecustomize", "usercustomize", "conftest",
    "setup", "plugin", "task", "json", "random", "socket", "pickle", "secrets", "multiprocessing", "concurrent",
    "site", "encodings", "matplotlibrc", "__init__", "__main__",
)  # fmt: skip
_READ = (".pt", ".npy", ".npz", ".json", ".jsonl", ".yaml", ".safetensors", ".csv", ".nc", ".tif")


def planted_modules(world: World, tell: list[str]) -> tuple[int, Counter[str]]:
    """Every verb in a fresh process, in a folder full of planted files, which lie in data, run and maps too.

    Returns the number of commands and what went wrong.
    """
    bad: Counter[str] = Counter()
    place, marker = world.home / "planted", world.home / "foreign.txt"
    shutil.rmtree(place, ignore_errors=True)
    marker.unlink(missing_ok=True)
    shutil.copytree(world.home / "data", place / "data")
    shutil.copytree(world.whole, place, dirs_exist_ok=True)
    text = (world.home / "settings.yaml").read_text().replace(str(world.home / "data"), str(place / "data"))
    (place / "settings.yaml").write_text(text)
    folders = [place, *(folder for folder in place.rglob("*") if folder.is_dir())]
    for folder in folders:
        _plant(folder, marker)
    source, run, made = place / world.source.relative_to(world.home), place / "run", place / "made"
    train = ["train", world.task, "--config", "settings.yaml", "--quiet", "--run"]
    commands = [
        ["list"], ["config", world.task], ["check", world.task, "--config", "settings.yaml"],
        [*train, str(made)], [*train, str(place / "two"), "--devices", "2"],
        [*train, str(place / "loaded"), "--set", "runtime.workers=2"],
        ["eval", world.task, "--run", str(run), "--quiet"],
        ["infer", world.task, "--run", str(run), "--input", str(source), "--output", "maps2", "--quiet"],
        ["card", world.task, "--run", str(run)], ["compare", "run", "made"],
        ["export", world.task, "--run", str(run), "--format", "safetensors", "--output", "w.safetensors"],
        ["show", world.task], ["doctor"],
    ]  # fmt: skip
    hidden = ("PYTHONSAFEPATH",) if world.task == "snow" else ("PYTHONSAFEPATH", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    for words in commands:
        command = [Path(sys.executable).with_name("eozoo"), *words]
        try:
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            bad["hangs"] += 1
            tell.append(f"{world.task}: planted: {words[0]} does not end")
            continue
        said = done.stdout + done.stderr
        for what, found in (("foreign code", marker.exists()), ("tracebacks", "Traceback" in said)):
            if found:
                bad[what] += 1
                tell.append(f"{world.task}: planted: {words}: {what}: {_content(marker)} {said[-1500:]}")
        if done.returncode and words[0] not in ("check", "doctor"):
            bad["lost runs"] += 1
            tell.append(f"{world.task}: planted: {words}: code {done.returncode}: {said[-800:]}")
        marker.unlink(missing_ok=True)
    return len(commands), bad


def planted_pickles(world: World, tell: list[str]) -> tuple[int, Counter[str]]:
    """A pickle, a YAML tag or an array of objects that runs code, in the place of every file of data and run."""
    bad: Counter[str] = Counter()
    place, marker = world.home / "pickled", world.home / "foreign.txt"
    marker.unlink(missing_ok=True)
    count = 0
    for root in ("data", "run"):
        found = world.home / "data" if root == "data" else world.whole / "run"
        names = sorted(f.relative_to(found) for f in found.rglob("*") if f.suffix in _READ)
        kinds = {(name.suffix, name.name if root == "run" else name.parent): name for name in names}
        for name, disguise in ((n, d) for n in list(kinds.values())[:25] for d in _DISGUISES):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(world.home / "data", place / "data")
            shutil.copytree(world.whole / "run", place / "run")
            disguise(place / root / name, _Bomb(marker))
            text = (world.home / "settings.yaml").read_text().replace(str(world.home / "data"), str(place / "data"))
            (place / "settings.yaml").write_text(text)
            verb = random.Random(str(name)).choice(("eval", "infer", "train")) if root == "run" else "check"
            words = {
                "check": ["check", world.task, "--config", str(place / "settings.yaml")],
                "train": ["train", world.task, "--run", str(place / "run"), "--set", "train.epochs=4", "--quiet"],
                "eval": ["eval", world.task, "--run", str(place / "run"), "--quiet"],
                "infer": world.words("infer", place),
            }[verb]
            code, said = forked.start(words, world.home / "said.txt").wait(SECONDS)
            count += 1
            wrong = {
                "hangs": code is None, "foreign code": marker.exists(),
                "tracebacks": "Traceback" in said or code == 70 or (code or 0) < 0,
            }  # fmt: skip
            for what in (what for what, is_so in wrong.items() if is_so):
                bad[what] += 1
                tell.append(f"{world.task}: {root}/{name} as {disguise.__name__}: {verb}: {what}: {said[-1500:]}")
            marker.unlink(missing_ok=True)
    return count, bad


class _Bomb:
    """Leaves ``marker`` where it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.marker, "unpickled")


def _pickled(file: Path, bomb: _Bomb) -> None:
    file.write_bytes(pickle.dumps(bomb))


def _saved(file: Path, bomb: _Bomb) -> None:
    import numpy as np
    import torch

    match file.suffix:
        case ".pt" | ".safetensors":
            torch.save({"model": bomb}, file)
        case ".npy":
            np.save(file, np.array([bomb], object), allow_pickle=True)
        case ".npz":
            np.savez(file, image=np.array([bomb], object))
        case _:
            file.write_text(f'!!python/object/apply:os.system ["touch {bomb.marker}"]\n')


_DISGUISES: tuple[Callable[[Path, _Bomb], None], ...] = (_pickled, _saved)


def _plant(folder: Path, marker: Path) -> None:
    line = f"open({str(marker)!r}, 'a').write(__file__ + '\\n')\n"
    for name in MODULES:
        if not (folder / f"{name}.py").exists():
            (folder / f"{name}.py").write_text(f"{line}raise ImportError('planted')\n")
    if folder.name == "planted":
        info = folder / "foreign-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\nRequires-Dist: eozoo\n")
        (info / "entry_points.txt").write_text("[eozoo]\nforeign = plugin\n")
        (folder / "foreign.pth").write_text(f"import os; {line}")


def _content(marker: Path) -> str:
    return marker.read_text()[:300] if marker.exists() else ""
