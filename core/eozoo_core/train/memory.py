"""How much memory a training step will take, without taking it: the step is followed on fake tensors.

They have shapes and types and no numbers (torch's FakeTensorMode), so that every operation of forward and backward
runs, mixed precision and recomputation included, and what is alive at any moment can be added up.
"""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.train.optimizer import may_fuse
from eozoo_core.train.precision import is_fast, resolve_precision

if TYPE_CHECKING:
    import torch

    from eozoo_core.settings import TrainSettings

# Beyond its tensors a process on a CPU holds the libraries' code and workspace, and holes in the heap. Measured as
# resident memory on x86-64 with glibc's allocator; see benchmarks/bench_prithvi.py, which prints both. Where the
# processor has units for bf16, oneDNN keeps more code and scratch for them.
_CPU_LIBRARIES, _CPU_LIBRARIES_BF16 = 45e6, 100e6
_CPU_HEAP = 0.55  # of what a step allocates and frees


@dataclass(frozen=True)
class StepMemory:
    """Bytes by what they are for; ``total`` is the peak of a step.

    weights: parameters and buffers. optimizer: its states. step: the most that forward and backward hold at once beside
    these, gradients included. overhead: on a CPU libraries and heap (measured, not counted); on a GPU 0: CUDA's own
    context, some hundred MB a process, comes on top.
    """

    weights: int
    optimizer: int
    step: int
    overhead: int

    @property
    def tensors(self) -> int:
        """Return the peak of tensors alone, which on a GPU is ``torch.cuda.max_memory_allocated``."""
        return self.weights + self.optimizer + self.step

    @property
    def total(self) -> int:
        """Return the peak with what the libraries take."""
        return self.tensors + self.overhead

    def parts(self) -> dict[str, int]:
        """Return bytes by name, as ``Plan`` shows them."""
        named = {"weights": self.weights, "optimiser": self.optimizer, "gradients and activations": self.step}
        return named | ({"libraries": self.overhead} if self.overhead else {})


def step_memory(
    networks: list[torch.nn.Module],
    work: Callable[[list[torch.nn.Module]], Any],
    train: TrainSettings,
    device: str = "cpu",
) -> StepMemory | None:
    """Return the memory of a step that calls ``work(networks)``, which runs forward and backward of one batch.

    ``networks``: on any device, "meta" too; they are left as they are. ``work`` gets copies in train mode and makes its
    inputs by itself. With several batches per optimiser step (``accumulate``) gradients are there from the start.
    ``device``: "cpu", "cuda", "cuda:N" or "mps", where the step is to run; the step itself is always followed as one on
    a CPU. None where ``work`` looks at values (``.item()``, ``if tensor``, boolean indexing): then nothing is known.
    """
    weights = sum(_bytes(t) for network in networks for t in _tensors(network))
    trained = [p for network in networks for p in network.parameters() if p.requires_grad]
    gradients = sum(map(_bytes, trained))
    states = {"adam": 2, "adamw": 2, "sgd": 1 if train.momentum else 0}[train.optimizer]
    # A fused update holds nothing, others a copy or two: of one parameter after the other on a CPU, of all on a GPU.
    copies = 0 if may_fuse(train, device) else 2
    update = gradients + copies * (max(map(_bytes, trained), default=0) if device == "cpu" else gradients)
    # What is set is followed on any machine; only "auto" is asked of this one.
    precision = resolve_precision("auto", device) if train.precision == "auto" else train.precision
    try:
        step = max(follow(networks, work, precision, train.accumulate > 1)[0], update)
    except needs_values():
        return None
    libraries = _CPU_LIBRARIES_BF16 if precision != "fp32" and is_fast("bf16-mixed", "cpu") else _CPU_LIBRARIES
    heap = round(libraries + _CPU_HEAP * step) if device == "cpu" else 0
    return StepMemory(weights, states * gradients, step, heap)


def memory_of(device: str) -> int:
    """Return the bytes of a GPU, or those that this process may have on a CPU, by the machine and by its container."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # "max": no limit
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    return found


def needs_values() -> tuple[type[Exception], ...]:
    """Return what torch raises on fake tensors where code looks at values, or cannot be followed without them."""
    from torch._subclasses import fake_tensor as fake

    return (
        fake.DataDependentOutputException,
        fake.DynamicOutputShapeException,
        fake.UnsupportedFakeTensorException,
        fake.UnsupportedOperatorException,
    )


def shapes_of(network: torch.nn.Module, call: Callable[[torch.nn.Module], dict]) -> dict[str, tuple]:
    """Return name -> (shape, dtype) of the tensors that ``call(network)`` gives, found on fake tensors.

    {} where ``call`` looks at values.
    """
    import torch
    from torch._subclasses import fake_tensor as fake

    twin = copy.deepcopy(network).to("meta")
    try:
        with fake.FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            return {name: (tuple(t.shape), t.dtype) for name, t in call(_faked(twin)).items()}
    except needs_values():
        return {}


def predict_memory(
    model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], train: TrainSettings, device: str = "cpu"
) -> StepMemory | None:
    """Return the memory of a step of one model whose loss is small beside it. ``device``: see ``step_memory``.

    ``inputs``: example arguments of the right shapes and types on any device; their values are not read.
    """

    def work(networks: list[torch.nn.Module]) -> None:
        import torch

        outputs = networks[0](*(torch.empty(x.shape, dtype=x.dtype) for x in inputs))
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        sum(y.float().sum() for y in outputs if y is not None and y.requires_grad).backward()

    return step_memory([model], work, train, device)


def follow(
    networks: list[torch.nn.Module], work: Callable[[list[torch.nn.Module]], Any], precision: str, accumulate: bool
) -> tuple[int, int]:
    """Return the bytes beyond parameters and buffers: the most at once in ``work(networks)``, and those left by it.

    What ``work`` returns is counted as left.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    dtype = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}.get(precision)
    shapes = [copy.deepcopy(network).to("meta") for network in networks]
    with FakeTensorMode(allow_non_fake_inputs=True):
        twins = [_faked(network).train() for network in shapes]
        live = _live_bytes()
        if accumulate:
            for p in (p for network in twins for p in network.parameters() if p.requires_grad):
                p.grad = torch.empty_like(p)
                live.see(p.grad)
        with live, _layers_in_parts(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            kept = work(twins)
        left = live.now
        del kept
    return live.most, left


@contextmanager
def _layers_in_parts() -> Iterator[None]:
    """Switch off the fused layers whose inside cannot be seen: recurrent ones, and those of frozen transformers.

    On a CPU a fused transformer layer takes about a quarter less than its parts, oneDNN's LSTM twice as much.
    """
    import torch

    fused, onednn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # mkldnn.flags() would set precisions too
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        torch.backends.mkldnn.enabled = onednn


def _faked(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network on the meta device fake CPU tensors; shared ones stay shared."""
    import torch

    made: dict[int, Any] = {}
    for module in network.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
                    needs = tensor.requires_grad
                    made[id(tensor)] = torch.nn.Parameter(fake, needs) if held is module._parameters else fake
                held[name] = made[id(tensor)]
    return network


def _live_bytes() -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class LiveBytes(TorchDispatchMode):
        """Adds up the storages that operations make, until they are freed. A view adds nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.now, self.most = 0, 0
            self._seen: dict[int, int] = {}

        def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
            made = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(made):
                if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                    self.see(tensor)
            return made

        def see(self, tensor: torch.Tensor) -> None:
            """Count a tensor's storage from now until it is freed."""
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._seen:
                self._seen[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._free, key).atexit = False

        def _free(self, key: int) -> None:
            self.now -= self._seen.pop(key)

    return LiveBytes()


def _tensors(network: torch.nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
