"""The head on the GPU, or on the CPU when the GPU has no memory left: the same numbers, slower, counted and said."""

from __future__ import annotations

import copy
import time
import warnings
from typing import Any

import torch
from eozoo_core.run.progress import print_message
from torch import nn

_BOX = "=" * 70
_MESSAGE = f"""
{_BOX}
GPU OUT OF MEMORY - ConvNeXt Head Fallback
{_BOX}
Moving refinement head to CPU. This will be slower but allows
processing to continue. Consider:
  1. Reducing batch size
  2. Reducing tile size
  3. Disabling discriminator
  4. Reducing num_convnext_blocks
{_BOX}
"""


# How cuBLAS and cuDNN, called by torch, say that they could not get memory.
_FULL = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "DEVICE_ALLOCATION_FAILED",
         "unable to find an engine to execute this computation")  # fmt: skip
_OFTEN = "⚠️  CPU fallback occurred {count} times this epoch"
_ADVICE = "   Consider reducing memory usage to avoid performance penalty."
_SPEED = 10  # a GPU is so many times as fast, as the document estimates


def runtime_line(seconds: float) -> str:
    """Return the document's line about one fallback; what a GPU would have taken is estimated, not measured."""
    expected = seconds / _SPEED
    penalty = seconds - expected
    return f"CPU fallback runtime: {seconds:.3f}s (expected GPU: ~{expected:.3f}s, penalty: ~{penalty:.3f}s)"


class Fallback(nn.Module):
    """Runs ``head(x, keep)``; on a GPU, out of memory in forward or backward is repeated on the CPU in float32.

    On a GPU nothing between input and output is kept for backward: the head is computed again there (which also saves
    memory), on the GPU where it fits and else on the CPU. What goes to the CPU goes there as it is and is cast there: a
    full GPU has no room for casts. Any other error passes through. ``count`` is the number of
    repetitions since the last `take`. `tell` says how often and how long it was in an epoch.
    """

    def __init__(self, head: nn.Module, enabled: bool = True):
        super().__init__()
        self.head, self.enabled = head, enabled
        self.count, self._warned, self._guarded = 0, False, False
        self._epoch = (0, 0.0)  # repetitions and their seconds since the last `tell`

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the head returns, on the device of ``x``."""
        if not (self.enabled and self.guards(x)):
            return self.head(x, keep)
        return _Guarded.apply(self, x, keep, *self.head.parameters())

    def guards(self, x: torch.Tensor) -> bool:
        """Whether memory can run out where ``x`` lies, or is to be planned for such a place."""
        return x.is_cuda or self._guarded

    def runs_on(self, device: torch.device) -> None:
        """Say where training runs: a step that is followed for its memory has tensors on no GPU."""
        self._guarded = device.type == "cuda"

    def on_device(self, x: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the head where it is. A place of its own, so that a test can let it fail."""
        return self.head(x, keep)

    def take(self) -> int:
        """Return how often the CPU stepped in since the last call, and start counting anew."""
        count, self.count = self.count, 0
        return count

    def tell(self) -> str:
        """Return what to say at the end of an epoch, "" where the GPU did all; and start counting that anew."""
        (count, seconds), self._epoch = self._epoch, (0, 0.0)
        return f"{_OFTEN.format(count=count)} ({seconds:.3f}s in all)\n{_ADVICE}" if count else ""

    def step_in(self, work: Any) -> Any:
        """Count and time ``work()``; say so the first time."""
        first, self._warned = not self._warned, True
        if first:
            warnings.warn(f"CPU fallback{_MESSAGE}", RuntimeWarning, stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
        if first:
            print_message(runtime_line(seconds))
        self.count, self._epoch = self.count + 1, (self._epoch[0] + 1, self._epoch[1] + seconds)
        return result


class _Guarded(torch.autograd.Function):
    """One differentiable step that can be computed in two places. Parameters are inputs: gradients flow as usual."""

    @staticmethod
    def forward(ctx: Any, guard: Fallback, x: torch.Tensor, keep: torch.Tensor, *parameters: torch.Tensor) -> tuple:
        kind = x.device.type
        ctx.guard, ctx.amp = guard, (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.save_for_backward(x, keep)
        try:
            return guard.on_device(x, keep)
        except RuntimeError as error:  # leave the handler first: its traceback holds tensors on the GPU
            _require_full(error)
        outputs = guard.step_in(lambda: _on_cpu(guard.head)(x.cpu().float(), keep.cpu()))
        return tuple(y.to(x.device, ctx.amp[1] if ctx.amp[2] else x.dtype) for y in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        guard, (x, keep) = ctx.guard, ctx.saved_tensors
        kind, dtype, enabled = ctx.amp
        try:
            with torch.autocast(kind, dtype, enabled):
                found = _gradients(guard.on_device, list(guard.head.parameters()), x, keep, gradients)
        except RuntimeError as error:
            _require_full(error)
            found = None
        if found is None:
            found = guard.step_in(lambda: _gradients_on_cpu(guard.head, x, keep, gradients))
            found = [g.to(x.device, p.dtype) for g, p in zip(found, [x, *guard.head.parameters()])]
        return None, found[0], None, *found[1:]


def _require_full(error: RuntimeError) -> None:
    """Raise ``error`` again unless it says that a GPU has no memory left: torch's own, or a library's in its words."""
    if not isinstance(error, torch.OutOfMemoryError) and not any(words in str(error) for words in _FULL):
        raise error


def _gradients(run: Any, parameters: list, x: torch.Tensor, keep: torch.Tensor, cotangents: tuple) -> list:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        outputs = run(x, keep)
    return list(torch.autograd.grad(outputs, [x, *parameters], cotangents))


def _gradients_on_cpu(head: nn.Module, x: torch.Tensor, keep: torch.Tensor, cotangents: tuple) -> list:
    twin = _on_cpu(head)
    cotangents = tuple(g.cpu().float() for g in cotangents)
    return _gradients(twin, list(twin.parameters()), x.cpu().float(), keep.cpu(), cotangents)


def _on_cpu(head: nn.Module) -> nn.Module:
    """A copy of the head on the CPU, made there; the original stays where its optimiser knows it."""
    tensors = [*head.parameters(), *head.buffers()]
    there = {id(t): t.detach().cpu().float() if t.is_floating_point() else t.detach().cpu() for t in tensors}
    made = {id(p): nn.Parameter(there[id(p)], p.requires_grad) for p in head.parameters()}
    return copy.deepcopy(head, there | made)
