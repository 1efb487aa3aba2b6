"""Looking on while a task trains, through core's and torch's own doors, and changing what surrounds it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    import torch


@contextmanager
def ambient(seed: int) -> Iterator[None]:
    """Set every global random generator to ``seed``, and put all back afterwards."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


@contextmanager
def saves() -> Iterator[list[dict[str, Any]]]:
    """Yield a list that fills with ``{"which", "epoch", "step"}`` of every checkpoint written, in order."""
    from eozoo_core import Run

    written: list[dict[str, Any]] = []
    save = Run.save

    def watched(run: Run, which: str, content: dict[str, Any]) -> None:
        save(run, which, content)
        written.append({"which": which, "epoch": content["epoch"], "step": content["step"]})

    with patch.object(Run, "save", watched):
        yield written


@contextmanager
def killed_at(path: Path, copy: Path, within: bool) -> Iterator[None]:
    """Keep the run directory ``path`` in ``copy`` as a kill would leave it, and let the training go on.

    The moment is the first current.pt after the first epoch, or (``within``) the first one inside the second epoch.
    What a killed process leaves is its files, so copying them is the kill, without training twice up to it.
    """
    from eozoo_core import Run

    save, ended = Run.save, None

    def watched(run: Run, which: str, content: dict[str, Any]) -> None:
        nonlocal ended
        save(run, which, content)
        if which != "current" or content["epoch"] != 1 or copy.exists():
            return
        ended = content["step"] if ended is None else ended
        if not within or content["step"] > ended:
            shutil.copytree(path, copy, symlinks=True)

    with patch.object(Run, "save", watched):
        yield


@contextmanager
def each_picture_once(drawn: set[tuple[Any, ...]]) -> Iterator[None]:
    """Draw the first picture that a function asks for, ``drawn`` remembers which; the others are blank: 0.2 s each."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def quick(figure: Figure, file: Any, **how: Any) -> None:
        frame, kind = sys._getframe(1), []
        while frame and len(kind) < 5:  # the writer, and who asked it
            kind.append(frame.f_code)
            frame = frame.f_back
        blank = tuple(kind) in drawn
        drawn.add(tuple(kind))
        save(Figure((1, 1)) if blank else figure, file, **how)

    with patch.object(Figure, "savefig", quick):
        yield


def without_bfloat16() -> None:
    """Hide the processor's units for bfloat16 for the rest of the process: precision auto is fp32 then."""
    import torch

    if known := getattr(torch.cpu, "get_capabilities", None):  # older torch does not say
        found = {**known(), "avx512_bf16": False, "amx_bf16": False}
        torch.cpu.get_capabilities = lambda: found


@contextmanager
def trained_parameters() -> Iterator[dict[int, torch.Tensor]]:
    """Yield a dict that fills with every parameter to which an optimiser applied a gradient, by id."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    parameters: dict[int, torch.Tensor] = {}

    def note(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        for group in optimizer.param_groups:
            parameters.update({id(p): p for p in group["params"] if p.grad is not None})

    handle = register_optimizer_step_post_hook(note)
    try:
        yield parameters
    finally:
        handle.remove()


def take_any_files(run: Path) -> None:
    """Let the run.json of a run directory name no hashes: weights that were written by hand are then taken."""
    file = run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "files": {}}))


def not_in_checkpoints(parameters: dict[int, torch.Tensor], path: Path) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of those parameters whose values, bit by bit, are in no current.pt under ``path``."""
    from eozoo_core.run.checkpoint import load_checkpoint

    saved = {_digest(t) for file in path.rglob("current.pt") for t in _tensors(load_checkpoint(file))}
    return tuple(tuple(p.shape) for p in parameters.values() if _digest(p) not in saved)


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _digest(tensor: torch.Tensor) -> tuple:
    import torch

    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tuple(tensor.shape), tensor.dtype, hashlib.sha256(content.numpy()).digest()


def allocated_by(work: Callable[[], object]) -> int:
    """Return the most bytes that ``work()`` allocates at once on the CPU, by torch's own record of allocations."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
