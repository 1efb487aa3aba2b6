"""The check of several processes: two learn and score what one does."""

from __future__ import annotations

import math
import os
import socket
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eozoo_core import Run, Task

_SECONDS = 120  # for two steps on the sample; a process that waits for another for longer waits for ever
_GRADIENT = 1e-4  # of the largest: single precision, added up in another order
_KINK = 1e-2  # where activations are rounded too, one of them may change its sign, and one sample's gradient with it
_SCORE, _SINGLE = 1e-12, 1e-5  # relative


def two_processes_are_one(bench: Bench, folder: Path) -> None:
    """Two CPU processes draw the samples of one, and while the weights are held still find its gradients and scores.

    A task whose scores agree in single precision only says why in ``processes_differ``.
    """
    if not hasattr(os, "fork"):
        return
    size = bench.settings().train.batch_size
    one, two = (_trained(bench, folder / f"of_{n}", n, size + size % 2) for n in (1, 2))
    for step, (a, b) in enumerate(zip(one["draws"], two["draws"], strict=False)):
        assert sorted(a) == sorted(b), (
            f"batch {step} holds samples {sorted(a)[:4]}... in one process, {sorted(b)[:4]}... in two: load through "
            "eozoo_core.train.loading"
        )
    assert one["steps"] == two["steps"], f"one process takes {one['steps']} steps, two take {two['steps']}"
    rounded = bench.task_class.processes_differ
    precision = _SINGLE if rounded else _SCORE
    for name, value in one["val"].items():
        other = two["val"].get(name, math.nan)
        assert math.isclose(value, other, rel_tol=precision, abs_tol=precision), (
            f"validation {name!r} is {value!r} in one process and {other!r} in two, with the same weights: score each "
            "sample once (share_of), add float64 sums over processes (all_reduce_sums), or say in "
            "Task.processes_differ why they agree in single precision only"
        )
    if not one["random"]:  # of dropout every process draws its own
        _compare_gradients(one["gradients"], two["gradients"], _KINK if rounded else _GRADIENT)


def _compare_gradients(one: list[list[Any]], two: list[list[Any]], tolerance: float) -> None:
    assert len(one) == len(two), f"one process takes {len(one)} optimiser steps, two take {len(two)}"
    for number, (a, b) in enumerate(zip(one, two, strict=True)):
        largest = max((float(x.abs().max()) for x in a if x.numel()), default=0.0)
        for x, y in zip(a, b, strict=True):
            difference = float((x - y).abs().max()) if x.numel() else 0.0
            assert difference <= tolerance * largest, (
                f"gradients of optimiser step {number} differ by {difference:.3g} of {largest:.3g} between one process "
                "and two: divide by the count of all processes (eozoo_core.train.step.pooled_step)"
            )


def _trained(bench: Bench, folder: Path, world: int, batch_size: int) -> dict[str, Any]:
    """Return what ``world`` processes drew, found as gradients and scored in two steps; ``draws`` by batch, of all."""
    from eozoo_core.run.checkpoint import load_tensors

    task, run = bench.go_on(
        folder / "run",
        f"runtime.devices={world}",
        "runtime.threads=1",
        f"train.batch_size={batch_size}",
        "train.epochs=1",
        "train.steps=2",
        "train.precision=fp32",  # sums rounded to bfloat16 depend on how a batch is shared
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        pid = os.fork()
        if not pid:
            _child(task, run, folder / f"{rank}", {"rank": rank, "world": world, "port": port})
        children.append(pid)
    codes = _wait(children)
    failed = sorted((code < 0, rank, code) for rank, code in enumerate(codes) if code)  # who was killed waited for it
    for _, rank, code in failed[:1]:
        said = folder / f"{rank}.txt"
        text = said.read_text() if said.exists() else "it waited for another, or was killed"
        raise AssertionError(f"process {rank} of {world} ended with code {code}: {text}")
    parts = [load_tensors(folder / f"{rank}.pt") for rank in range(world)]
    log = run.read_log()
    draws = [[draw for share in shares for draw in share] for shares in zip(*(p["draws"] for p in parts), strict=True)]
    return {
        "draws": draws,
        "gradients": parts[0]["gradients"],
        "random": parts[0]["states"][0] != parts[0]["states"][-1],
        "steps": [line["step"] for line in log],
        "val": log[-1]["val"],
    }


def _wait(children: list[int]) -> list[int]:
    """Return the exit codes; what still runs when one failed, or after `_SECONDS`, is killed (-9)."""
    import signal
    import time

    codes: dict[int, int] = {}
    end = time.monotonic() + _SECONDS
    while len(codes) < len(children):
        for pid in (pid for pid in children if pid not in codes):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        if any(codes.values()) or time.monotonic() > end:
            end = min(end, time.monotonic())
            for pid in (pid for pid in children if pid not in codes):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[pid] for pid in children]


def _child(task: Task, run: Run, place: Path, where: dict[str, int]) -> None:
    """Train in this forked process and end it; leaves PLACE.pt, or PLACE.txt with the error."""
    code = 1
    try:
        import torch
        from eozoo_core.run.checkpoint import save_tensors

        torch.set_num_threads(1)  # OpenMP's threads were not forked; who waits for them waits for ever
        if where["world"] > 1:
            named = {"LOCAL_RANK": where["rank"], "NODE_RANK": 0, "WORLD_SIZE": where["world"]}
            os.environ |= {k: str(v) for k, v in {**named, "MASTER_PORT": where["port"]}.items()}
            os.environ["MASTER_ADDR"] = "127.0.0.1"
        with Path(os.devnull).open("w") as nowhere, patch.object(sys, "stderr", nowhere), _watched() as seen:
            task.train(run)
        save_tensors(place.with_suffix(".pt"), seen)
        code = 0
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = (str(error).splitlines() or [""])[0]
        place.with_suffix(".txt").write_text(f"{type(error).__name__}: {text} ({last.filename}:{last.lineno})")
    finally:
        os._exit(code)  # nothing of the process that was forked may run again


@contextmanager
def _watched() -> Iterator[dict[str, list]]:
    """Yield what fills with the draws of every batch and the gradients of every optimiser step.

    Weights stay, and so do the buffers of what Fabric set up: batch norm learns nothing.

    "states": torch's generator before the first batch and at every step; what draws nothing leaves it as it is.
    """
    import torch
    from eozoo_core.train.loading import Loader
    from lightning_fabric import Fabric
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    seen: dict[str, list] = {"draws": [], "gradients": [], "states": []}
    draws, setup, buffers = Loader.draws, Fabric.setup, []

    def set_up(fabric: Fabric, module: Any, *optimizers: Any, **how: Any) -> Any:
        buffers.extend((buffer, buffer.clone()) for buffer in module.buffers())
        return setup(fabric, module, *optimizers, **how)

    def drawn(loader: Loader, epoch: int) -> Any:
        found = draws(loader, epoch)
        seen["states"].append(torch.get_rng_state().numpy().tobytes())
        if not seen["draws"]:
            seen["draws"] += [[tuple(draw) for draw in batch] for batch in found]
        return found

    def still(optimizer: Any, args: tuple, kwargs: dict) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        seen["states"].append(torch.get_rng_state().numpy().tobytes())
        seen["gradients"].append([p.grad.detach().double().clone() for p in parameters])
        for parameter in parameters:
            parameter.grad = None
        for buffer, before in buffers:
            buffer.copy_(before)

    handle = register_optimizer_step_pre_hook(still)
    try:
        with patch.object(Loader, "draws", drawn), patch.object(Fabric, "setup", set_up):
            yield seen
    finally:
        handle.remove()
