"""The check of slots: what the task says that fits does fit."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from eozoo_core import Slot, Task

    from eozoo.testing.strangers import Guests

_STEPS = ("train.epochs=1", "train.steps=2")


def strangers_fit(bench: Bench, folder: Path) -> None:
    """Into every slot fits a stranger's smallest part of the declared Ports: it trains two steps and predicts."""
    slots = bench.task_class.slots
    for path, slot in slots.items():
        also = {p: s for p, s in slots.items() if s.after == path}  # what is fed by it must be content with it
        try:
            _walk(bench, {path: slot, **also}, folder / path)
        except Exception as error:
            wants = f", gives {', '.join(map(str, slot.wants))}" if slot.wants else ""
            feeds = f"takes {', '.join(map(str, slot.feeds))}" if slot.feeds else "takes nothing"
            raise AssertionError(
                f"slot {path!r}: a stranger's {slot.kind} that {feeds}{wants} fits, and yet it cannot be used: "
                f"{type(error).__name__}: {error}"
            ) from error


def _walk(bench: Bench, slots: dict[str, Slot], folder: Path) -> None:
    from eozoo_core import Run

    from eozoo.testing.strangers import Guests, sizes_of

    task_class, path = bench.task_class, next(iter(slots))
    ports = task_class(bench.settings(), bench.registry).network().inputs
    every = task_class.slots
    fed = {p: every[slot.after] for p, slot in slots.items() if slot.after}
    guests = Guests(bench.registry, slots, sizes_of(ports, bench.batch()), fed)
    chosen = [word for p, slot in slots.items() for word in (*slot.also, *_choose(bench.settings(), p))]
    settings = bench.settings(*chosen, *_STEPS)
    guests.check_slots(task_class, settings)
    if path.startswith("prepare."):
        _prepare(bench, task_class(_moved(bench, settings, folder / "sample"), guests), path.split(".")[1], folder)
    else:
        task, run = task_class(settings, guests), Run.create(folder, bench.name, settings, bench.plugin)
        task.train(run)
        outputs = task.predict(run, bench.batch())
        assert outputs.keys() == task.outputs().keys(), f"predict() gives {sorted(outputs)}, not what outputs() names"
    _all_taken(guests, slots)


def _prepare(bench: Bench, task: Task, step: str, folder: Path) -> None:
    """Run a step in ``folder``, where it may write beside a copy of the sample."""
    shutil.copytree(bench.sample_root, folder / "sample")
    with chdir(folder):
        files = task.prepare(step)
        assert files and all(file.exists() for file in files), f"prepare gives {files}, expected what it wrote"


def _moved(bench: Bench, settings: Any, root: Path) -> Any:
    """The settings for a copy of the sample at ``root``."""
    from eozoo_core.settings.config import build_settings, to_dict

    text = json.dumps(to_dict(settings)).replace(str(bench.sample_root), str(root))
    return build_settings(type(settings), json.loads(text))


def _all_taken(guests: Guests, slots: dict[str, Slot]) -> None:
    unused = [path for path in slots if path not in {built for built, _ in guests.built}]
    assert not unused, f"the task builds nothing of what {unused[0]} names: ask Task.build for it"


def _choose(settings: Any, path: str) -> list[str]:
    """Return the overrides that put the stranger's part into the setting ``path``."""
    from eozoo.testing.strangers import NAME

    for name in path.split("."):
        if not hasattr(settings, name):
            raise ZooError(f"{path}: there is no such setting")
        settings = getattr(settings, name)
    return [f"{path}={{name: {NAME}, options: {{}}}}"]
