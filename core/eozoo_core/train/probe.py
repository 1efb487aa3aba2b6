"""The faster memory layout of a training, measured on some real samples, and kept in the user's cache.

A file there says what was measured for a machine, version of torch, number of threads, network and shape of samples.
So two runs of one seed on one machine compute the same. Without a cache nothing is measured: noise could decide, and
the rule does. A damaged file is measured again.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import read_object
from eozoo_core.run.user_cache import user_cache
from eozoo_core.run.writing import make_folder
from eozoo_core.run.written import write_text
from eozoo_core.train.execution import LAST, PLAIN, lay_out
from eozoo_core.train.rng import kept_generators

if TYPE_CHECKING:
    import torch

_SECONDS, _ROUNDS = 20.0, 5


def place(system: torch.nn.Module, given: Mapping[str, Any], device: str, precision: str) -> Path:
    """Return the file in the user's cache for this machine, ``system`` and samples such as ``given``."""
    import torch

    cuda = device.startswith("cuda")
    machine = torch.cuda.get_device_name(device) if cuda else f"{platform.processor()} {_cpu()}"
    key = {
        "machine": [platform.machine(), machine, torch.get_num_threads(), precision],
        "torch": torch.__version__,
        "network": [str(system), *(str(tuple(p.shape)) + str(p.requires_grad) for p in system.parameters())],
        "samples": {name: list(values.shape[1:]) for name, values in given.items()},
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return user_cache() / "execution" / f"{digest[:24]}.json"


def ratio_of(file: Path, system: torch.nn.Module, step: Callable[[], Any], device: str) -> float | None:
    """Return the time of ``step()`` channels-last as a share of that of plain.

    What ``file`` says is taken; otherwise it is measured and written there. None where it cannot be kept.
    ``step``: forward and backward of ``system`` on some samples. Its buffers and the random generators are put back.
    """
    if (ratio := kept_ratio(file)) is None:
        try:
            make_folder(file.parent)
            ratio = _measured(system, step, device)
            if (other := kept_ratio(file)) is not None:  # another process was faster: one choice for all
                ratio = other
            else:
                write_text(file, json.dumps({"channels_last_over_plain": ratio}) + "\n")
        except ZooError:  # no folder, or a full disk: what is not kept would not be found again
            return None
    return ratio


def kept_ratio(file: Path) -> float | None:
    """Return what was measured, None where nothing was or the file is damaged."""
    try:
        ratio = read_object(file)["channels_last_over_plain"]
    except (ZooError, KeyError):
        return None
    return ratio if isinstance(ratio, float) and 0 < ratio < float("inf") else None


def _measured(system: torch.nn.Module, step: Callable[[], Any], device: str) -> float:
    """Seconds channels-last over seconds plain: the median of rounds, the first left out, for at most some seconds."""
    began, ratios = time.perf_counter(), []
    with kept_generators(), _kept(system):
        while len(ratios) < 2 or (len(ratios) < _ROUNDS and time.perf_counter() - began < _SECONDS):
            seconds = {layout: _seconds(system, layout, step, device) for layout in (PLAIN, LAST)}
            ratios.append(seconds[LAST] / seconds[PLAIN])
    return statistics.median(ratios[1:])


def _seconds(system: torch.nn.Module, layout: str, step: Callable[[], Any], device: str) -> float:
    import torch

    lay_out(system, layout)
    for parameter in system.parameters():
        parameter.grad = None  # it would keep the other layout
    cuda = device.startswith("cuda")
    wait, clock = (torch.cuda.synchronize, time.perf_counter) if cuda else (lambda: None, time.process_time)
    wait()
    began = clock()  # on a CPU its own seconds: neighbours do not count
    step()
    wait()
    return max(clock() - began, 1e-9)


@contextmanager
def _kept(system: torch.nn.Module) -> Iterator[None]:
    """Put buffers and modes back as they were; there were no gradients."""
    import torch

    modes = {module: module.training for module in system.modules()}
    buffers = {name: values.clone() for name, values in system.named_buffers()}
    system.train()
    try:
        yield
    finally:
        with torch.no_grad():
            for name, values in system.named_buffers():
                values.copy_(buffers[name])
        for parameter in system.parameters():
            parameter.grad = None
        for module, training in modes.items():
            module.training = training


def _cpu() -> str:
    import torch

    known = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
    return f"{known.get('cpu_name', '')} {torch.backends.cpu.get_cpu_capability()}"
