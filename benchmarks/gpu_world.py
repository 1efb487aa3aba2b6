"""Trainings of benchmarks.gpu on a task's demo data: whole, killed and continued, and with a watch on loading."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from eozoo.registry import Registry
from eozoo_core.run.directory import Run
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.train.loading import Loader

from benchmarks.gpu_rates import synchronize


class KilledError(Exception):
    """Stands for whatever ends a training between two steps."""


class World:
    """The demo's data of a task, and runs on it."""

    def __init__(self, root: Path, name: str, device: str, tiny: bool):
        self._root, self._name, self._device = root, name, device
        self._registry = Registry.discover()
        self._task = self._registry.get("task", name)
        self._settings = _small_sample(self._task, name, root / "data")

    def run(self, name: str, changes: tuple[str, ...], own_workers: bool = False) -> Run:
        """Train a run of that name, or go on with it."""
        run = self._open(name, changes, own_workers)
        self._task(run.settings, self._registry).train(run)
        return run

    def killed(self, name: str, changes: tuple[str, ...]) -> Run:
        """The same, killed within the first epoch after a checkpoint, and then continued."""
        changes = (*changes, "train.save_every_steps=3")
        run = self._open(name, changes, False)
        save = run.save

        def stop(which: str, content: dict[str, Any]) -> None:
            save(which, content)
            if which == "current":
                raise KilledError(which)

        run.save = stop
        try:
            self._task(run.settings, self._registry).train(run)
        except KilledError:
            return self.run(name, changes)
        raise ValueError("training ended before its first checkpoint")

    def memory(self, changes: tuple[str, ...]) -> dict[str, float]:
        """The peak of tensors since the last call, and what a dry run predicts of a step, MB."""
        if not self._device.startswith("cuda"):
            return {}
        most = torch.cuda.max_memory_allocated(self._device)
        plan = self._task(self._with(changes, False), self._registry).plan(
            Run(self._root, self._name, self._with(changes, False))
        )
        torch.cuda.reset_peak_memory_stats(self._device)
        return {"memory_mb": round(most / 1e6, 1), "predicted_mb": round((plan.memory_bytes or 0) / 1e6, 1)}

    def _open(self, name: str, changes: tuple[str, ...], own_workers: bool) -> Run:
        return Run.create(self._root / name, self._name, self._with(changes, own_workers))

    def _with(self, changes: tuple[str, ...], own_workers: bool) -> Any:
        given = (f"runtime.device={self._device}", "runtime.tensorboard=false", "runtime.quiet=true")
        given += () if own_workers else ("runtime.workers=0",)
        return load_settings(self._task.Settings, None, [*given, *changes], to_dict(self._settings))


def _small_sample(task: Any, name: str, root: Path) -> Any:
    """Write the demo's data and return its settings; of clay_ta a part that is simulated in seconds."""
    if name != "clay_ta":
        return task.sample(root).settings
    from eozoo_clay_ta.demo.products import simulate
    from eozoo_clay_ta.demo.sample import sample_settings
    from eozoo_clay_ta.grid import KoGrid
    from eozoo_clay_ta.prepare.index import build_index
    from eozoo_clay_ta.prepare.patches import PatchBuilder
    from eozoo_clay_ta.settings import GridSettings, SimulateSettings

    part = GridSettings(width=24, height=24, left=-540_000.0, top=20_000.0)
    many = SimulateSettings(stations=40, every_days=36, days=10, hours=(0, 4, 8, 12, 16, 20))
    grid = KoGrid(**part.model_dump())
    settings = sample_settings(root, part)
    index = settings.prepare.build_index.model_copy(update={"block_days": 36, "pattern": "tttvttette"})
    prepare = settings.prepare.model_copy(update={"build_index": index})
    settings = settings.model_copy(update={"prepare": prepare})
    simulate(root, many, grid)
    build_index(index, root / "index", grid)
    PatchBuilder(settings).build()
    return settings


def difference(one: Run, other: Run) -> float:
    """The largest difference between the last weights of two runs; 0 where they are equal bit by bit."""
    a, b = one.load("current"), other.load("current")
    if a["step"] != b["step"]:
        raise ValueError(f"{other.path}: ended at step {b['step']}, not {a['step']}")
    pairs = ((a["model"][name].double(), b["model"][name].double()) for name in a["model"])
    return max((float((x - y).abs().max()) for x, y in pairs if x.numel()), default=0.0)


@contextmanager
def watched(place: torch.device, given: bool) -> Iterator[list[float]]:
    """Yield the times at which training gets its batches; ``given``: the first is given again instead of the others."""
    stamps, load = [], Loader.epoch

    def epoch(self: Loader, number: int, start: int = 0) -> Iterator[Any]:
        batches = load(self, number, start)
        if given:
            first = next(iter(batches))
            batches = (dict(first) for _ in range(start, len(self)))
        for batch in batches:
            stamps.append(time.perf_counter())
            yield batch
        synchronize(place)
        stamps.append(time.perf_counter())

    with patch.object(Loader, "epoch", epoch):
        yield stamps
