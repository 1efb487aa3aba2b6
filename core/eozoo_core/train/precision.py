"""The arithmetic of a network: what ``precision`` settings mean on a device, in training and in use.

Training computes in ``train.precision``; what ``auto`` became stands in run.json and stays when the run goes on
elsewhere. Validation, scores and maps compute in the training's precision where their device is fast at it, else in
fp32: so a checkpoint scores on a machine what its training logged there, and maps anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    from eozoo_core.run.directory import Run

    M = TypeVar("M", bound=torch.nn.Module)

_FABRIC = {"bf16-mixed": "bf16-mixed", "fp16-mixed": "16-mixed"}


def resolve_precision(precision: str, device: str | torch.device) -> str:
    """Return "fp32", "bf16-mixed" or "fp16-mixed": what ``precision`` is on ``device``.

    "auto" is bf16-mixed where the device is fast at it, else fp32. Raises ZooError for what the device does not have.
    """
    import torch

    kind = str(device).partition(":")[0]
    if precision == "auto":
        return "bf16-mixed" if is_fast("bf16-mixed", device) else "fp32"
    if precision == "fp16-mixed" and kind == "cpu":
        raise ZooError("precision 'fp16-mixed' does not exist on the CPU; use 'bf16-mixed' or 'fp32'")
    if precision == "bf16-mixed" and kind == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise ZooError("precision 'bf16-mixed' is not supported by this GPU; use 'fp16-mixed' or 'fp32'")
    return precision


def is_fast(precision: str, device: str | torch.device) -> bool:
    """Whether ``device`` has units for ``precision``: without them bf16 is several times slower than fp32."""
    import torch

    kind = str(device).partition(":")[0]
    if precision == "fp32":
        return True
    if kind == "cuda":
        least = (8, 0) if precision == "bf16-mixed" else (7, 0)
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= least
    if kind == "cpu" and precision == "bf16-mixed":
        known = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return False


def slow_precision(precision: str, device: str | torch.device) -> str | None:
    """Return a line about a resolved ``precision`` that is slow on ``device``, None where it is not."""
    if is_fast(precision, device):
        return None
    return f"{precision} is slow on this device, which has no units for it; fp32 is faster"


def training_precision(run: Run, device: str | torch.device) -> str:
    """Return what ``run`` trains in: ``train.precision``, and for "auto" what it became when the run began.

    Raises ZooError where ``device`` does not have it.
    """
    precision = _trained(run)
    try:
        return resolve_precision(precision, device)
    except ZooError as error:
        if not run.has("current"):
            raise ZooError(f"train.{error}") from None
        raise ZooError(
            f"{run.path}: was begun in {precision}, which {device} does not have; go on where it was begun, or start "
            f"a new --run with --resume {run.file('current')} and another train.precision"
        ) from None


def precision_in_use(run: Run, scope: str, device: str | torch.device) -> str:
    """Return what scores (``scope`` "eval") or maps ("infer") of ``run`` are computed in on ``device``.

    "auto" is the training's precision where the device is fast at it, else fp32. Raises ZooError for another one that
    the device does not have.
    """
    wanted = getattr(run.settings, scope).precision
    if wanted != "auto":
        try:
            return resolve_precision(wanted, device)
        except ZooError as error:
            raise ZooError(f"{scope}.{error}") from None
    trained = resolve_precision("auto", device) if _trained(run) == "auto" else _trained(run)
    return trained if is_fast(trained, device) else "fp32"


def compute_in(precision: str, model: M, device: str | torch.device) -> M:
    """Make a trained ``model`` compute in a resolved ``precision`` on ``device`` and give float32, in place; return it.

    It does what validation during training does, so that the numbers are the same.
    """
    import torch
    from torch.utils._pytree import tree_map

    if precision == "fp32":
        return model
    forward, dtype = model.forward, torch.bfloat16 if precision == "bf16-mixed" else torch.float16

    def computed(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(torch.device(device).type, dtype):
            made = forward(*args, **kwargs)
        return tree_map(lambda x: x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, made)

    model.forward = computed
    return model


def step_plugin(precision: str, kind: str) -> MixedPrecision | None:
    """Return Fabric's part for a resolved precision; None for fp32. Arrays enter the network as they are.

    Fabric's own would round them first: a temperature of 290.6 K would be 290, the year 2021 would be 2024.
    """
    from lightning_fabric.plugins import MixedPrecision

    if precision == "fp32":
        return None

    class Mixed(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data

    return Mixed(_FABRIC[precision], kind)


@contextmanager
def validating(fabric: Fabric) -> Iterator[None]:
    """Compute inside as scores and maps on this device do: in fp32 where it is slow at the training's precision."""
    part = fabric.strategy.precision
    trained = next((name for name, theirs in _FABRIC.items() if theirs == part.precision), "fp32")
    if is_fast(trained, fabric.device):
        yield
        return
    before, part.precision, part.forward_context = part.precision, "32-true", nullcontext
    try:
        yield
    finally:
        part.precision = before
        del part.forward_context


def _trained(run: Run) -> str:
    precision = run.settings.train.precision
    return run.info().get("precision", "auto") if precision == "auto" else precision
