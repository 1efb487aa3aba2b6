"""How a network is computed on this machine: decided here, once, for training and for use, and kept in the run.

Arithmetic is decided in `precision`, threads in `launch`. Here is the memory layout of images, and how many samples
go through the network at once where nothing is learned. A rule decides where one is sound. The layout of a long
training is measured (`probe`), because no rule knows every processor. The choice stands in run.json as "execution" and
stays when the run goes on: rounding depends on it. ``python -m benchmarks execution`` measures what the rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eozoo_core.train.launch import all_reduce_sums

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.settings import InferSettings, RuntimeSettings
    from eozoo_core.spec import Port

PLAIN, LAST = "plain", "channels-last"
KEY = "execution"  # in run.json
# Forward and backward channels-last over plain, on a CPU without AVX-512: 0.7 to 0.9 where the widest convolution has
# 64 channels, 0.9 to 1.0 at 128, 1.1 to 1.3 at 256, 1.0 to 1.5 at 512, and 1.2 where all are 1 x 1. Forward alone: 0.6
# to 0.95 at every width, 0.45 where all are 1 x 1.
_NARROW = 128
_PIXELS_CPU, _PIXELS_GPU = 2**15, 2**18  # of a forward pass: on a CPU more gives no speed, and takes memory
_FEW, _PIXELS_FEW = 8, 2**17  # windows of 128 px: 8 at once take 0.88 of the time of 2; of 256 px 2 take 0.97 of 1
_TOO_MANY = 4  # times as many are worth a line
_SERIES = 64  # a series of dates is so many pixels: 256 to 1,024 at once are 1.5 times as fast as 2,048 on a CPU
_CLEAR = 0.9  # less of the time of the other layout is clearly faster; anything nearer may be noise
LEAST = 10**8  # pixels that a training must see; measuring costs about as much as 3 * 10**5


@dataclass(frozen=True)
class Execution:
    """How a network is computed, and what decided it, in words.

    layout: "plain" is (B, C, H, W) in memory; "channels-last" has the channels of a pixel side by side.
    """

    layout: str = PLAIN
    why: str = "no convolutions"

    def lay_out(self, module: torch.nn.Module) -> None:
        """Give the convolutions of ``module`` the layout, in place: what they compute takes it from their weights."""
        lay_out(module, self.layout)

    def __str__(self) -> str:
        return f"{self.layout} ({self.why})"


def plan_training(
    run: Run, fabric: Fabric, system: torch.nn.Module, precision: str, measured: Callable[[], float | None]
) -> Execution:
    """Decide how ``system`` is trained, alike in all processes, lay it out so, and record it in the run.

    ``measured()`` is called in the first process, where neither settings nor run say it: the time of a step channels-
    last as a share of that of plain, None where that is not known.
    """
    chosen = known(run, run.settings.runtime, system)
    if chosen is None:
        chosen = by_rule(system, str(fabric.device), precision, training=True)
        ratio = measured() if fabric.is_global_zero else None
        chosen = _of_the_first(fabric, chosen if ratio is None else settled(chosen, ratio))
    chosen.lay_out(system)
    if run.info().get(KEY, {}).get("layout") != chosen.layout:
        run.note(KEY, asdict(chosen))
    return chosen


def plan_use(run: Run, runtime: RuntimeSettings, scope: str, system: torch.nn.Module, where: tuple) -> Execution:
    """Decide how a trained ``system`` is computed on ``where`` = (device, precision).

    Scores (``scope`` "eval") repeat what training logged, so they take its layout; maps ("infer") the fastest one.
    """
    set_or_kept = known(run, runtime, system)
    if set_or_kept is not None and (scope == "eval" or runtime.layout != "auto"):
        return set_or_kept
    return by_rule(system, str(where[0]), where[1], training=scope == "eval")


def known(run: Run, runtime: RuntimeSettings, system: torch.nn.Module) -> Execution | None:
    """Return what settings say, or what the run was begun with; None where neither says it."""
    if not convolves(system):
        return Execution()
    if runtime.layout != "auto":
        return Execution(runtime.layout, "set")
    kept = run.info().get(KEY, {}).get("layout")
    return Execution(kept, "as the run was begun") if kept in (PLAIN, LAST) else None


def by_rule(system: torch.nn.Module, device: str, precision: str, training: bool) -> Execution:
    """Return what is fastest as far as it is known without measuring."""
    import torch

    width, kind = widest(system), device.partition(":")[0]
    if not convolves(system):
        return Execution()
    if kind == "cuda":  # its matrix units read channels-last, and are used in mixed precision alone
        return Execution(LAST if precision != "fp32" else PLAIN, f"rule: {precision} on a GPU")
    if kind != "cpu":
        return Execution(PLAIN, f"rule: {kind}")
    if not training:
        return Execution(LAST, "rule: forward alone")
    instructions = torch.backends.cpu.get_cpu_capability()
    fits = 0 < width <= _NARROW or "AVX512" in instructions
    told = f"convolutions of {width} channels" if width else "convolutions of single pixels"
    return Execution(LAST if fits else PLAIN, f"rule: {told}, {instructions}")


def convolves(module: torch.nn.Module) -> bool:
    """Whether there are 2-D convolutions in ``module`` but those that cut patches: else the layout is no matter."""
    return any(max(m.stride) == 1 or max(m.kernel_size) > min(m.stride) for m in _convolutions(module))


def widest(module: torch.nn.Module) -> int:
    """Return the channels of the widest 2-D convolution, in a group; 0 where none sees more than a pixel at once."""
    found = (m for m in _convolutions(module) if max(m.kernel_size) > min(m.stride))
    return max((m.out_channels // m.groups for m in found), default=0)


def lay_out(module: torch.nn.Module, layout: str) -> None:
    """Lay the weights of all 2-D convolutions out in memory, in place; no value changes."""
    for part in _convolutions(module):
        part.weight.data = laid_out(part.weight.data, layout)
    module.memory_layout = layout  # a system lays its images out too: `System.staged`


def laid_out(values: torch.Tensor, layout: str) -> torch.Tensor:
    """Return a tensor (B, C, H, W) with the same values, laid out so."""
    import torch

    return values.contiguous(memory_format=torch.channels_last if layout == LAST else torch.contiguous_format)


def _convolutions(module: torch.nn.Module) -> list[Any]:
    import torch

    return [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]


def samples_at_once(device: Any, pixels: int) -> int:
    """Return how many samples of ``pixels`` go through a network at once where nothing is learned."""
    pixels = max(1, pixels)
    if str(device) != "cpu":
        return max(1, _PIXELS_GPU // pixels)
    return max(1, _PIXELS_CPU // pixels, min(_FEW, _PIXELS_FEW // pixels))


def pixels_of(arrays: Mapping[str, Any], ports: Iterable[Port]) -> int:
    """Return the pixels of one sample: those of its largest image, 64 for each series of a sample that has none."""
    known = [(port.axes.split(), arrays[port.role].shape) for port in ports if port.role in arrays]
    sizes = [dict(zip(axes, shape, strict=True)) for axes, shape in known if len(axes) == len(shape)]
    return max((size["H"] * size["W"] for size in sizes if {"H", "W"} <= set(size)), default=_SERIES)


def crowded(infer: InferSettings, device: Any) -> str | None:
    """Say it where ``infer.batch_size`` is so large that it only takes memory; None for maps without windows."""
    window, given = getattr(infer, "window", 0), getattr(infer, "batch_size", None) or 1
    enough = samples_at_once(device, window**2)
    if not window or str(device) != "cpu" or given <= _TOO_MANY * enough:
        return None
    times = f"{given / enough:.0f} times the memory of {enough}"
    return f"infer.batch_size={given} takes {times} and is no faster here: leave it at null"


def slow_layout(runtime: RuntimeSettings, system: torch.nn.Module, device: str, precision: str) -> str | None:
    """Say it where ``runtime.layout`` is slower in training here than what the rule would choose."""
    best = by_rule(system, device, precision, training=True)
    if runtime.layout in ("auto", best.layout) or not convolves(system):
        return None
    return f"runtime.layout={runtime.layout} is slow in training here; {best.layout} is faster ({best.why})"


def settled(chosen: Execution, ratio: float) -> Execution:
    """Return the layout that ``ratio`` (time channels-last / plain) speaks for, or ``chosen`` where it hardly does."""
    told = f"measured: channels-last takes {ratio:.2f} of the time of plain"
    if _CLEAR <= ratio <= 1 / _CLEAR:
        return Execution(chosen.layout, f"{chosen.why}; {told}")
    return Execution(LAST if ratio < 1 else PLAIN, told)


def _of_the_first(fabric: Fabric, chosen: Execution) -> Execution:
    """What the first process chose, in every process."""
    import numpy as np

    first = fabric.is_global_zero and chosen.layout == LAST
    last = all_reduce_sums(fabric, np.array([float(first)]))[0]
    return Execution(LAST if last else PLAIN, chosen.why)
