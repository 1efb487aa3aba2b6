"""Stages of benchmarks.gpu that need networks alone: versions, parity with the CPU, and rates of maps."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from eozoo import create_model, list_models
from eozoo_core.errors import ZooError
from eozoo_core.task.data import tensors
from eozoo_core.train.precision import compute_in, is_fast, resolve_precision
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench_models import inputs_of, prefix_of

PACKAGES = ("torch", "numpy", "timm", "peft", "bitsandbytes", "lightning-fabric", "lightning", "pydantic", "rasterio",
            "h5py", "triton")  # fmt: skip
# The largest difference from the CPU that is taken for rounding, as a share of the largest value: float32 has 24 bits,
# and sums over thousands of terms are taken in another order.
FORWARD, GRADIENT = 1e-4, 1e-3
_LARGE = 100e6  # parameters; of larger networks the CPU would take too long for gradients
Tell = Callable[..., None]


def versions(device: str, tiny: bool, tell: Tell) -> None:
    """Tell what the machine is, and the peak of its matrix products and of its memory."""
    known = {name: _version(name) for name in PACKAGES}
    tell(python=platform.python_version(), packages={name: found for name, found in known.items() if found},
         absent=[name for name, found in known.items() if not found])  # fmt: skip
    place = torch.device(device)
    if place.type == "cuda":
        found = torch.cuda.get_device_properties(place)
        tell(device=found.name, capability=[found.major, found.minor], memory_gb=round(found.total_memory / 1e9, 1),
             multiprocessors=found.multi_processor_count, cuda=torch.version.cuda,
             cudnn=torch.backends.cudnn.version())  # fmt: skip
    tell(auto=resolve_precision("auto", device),
         fast={name: is_fast(name, device) for name in ("fp32", "bf16-mixed", "fp16-mixed")})  # fmt: skip
    for name, dtype in {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}.items():
        tell(**{f"peak_{name}_tflops": peak(place, dtype, tiny)})


def parity(device: str, tiny: bool, tell: Tell) -> None:
    """Tell how far every registered network on the device is from itself on the CPU, in float32 without TF32.

    Numbers per network: [output, gradient], the largest difference as a share of the largest value; gradient: of all
    parameters, of the sum of squares of all outputs. Raises ValueError where any is above FORWARD or GRADIENT.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tell(tolerance=[FORWARD, GRADIENT])
    small = ("btfm_mlp", "clay_micro", "context_net", "patch_discriminator")
    far: list[str] = []
    for name in [n for n in list_models() if prefix_of(n) and (not tiny or n in small)]:
        try:
            found = _distances(name, torch.device(device))
        except (ImportError, ZooError) as error:
            tell(**{name: f"left out: {error}"})
            continue
        tell(**{name: found})
        far += [name] if any(value > most for value, most in zip(found, (FORWARD, GRADIENT))) else []
    if far:
        raise ValueError(f"beyond the tolerance: {', '.join(far)}")


def unet_maps(device: str, tiny: bool, tell: Tell) -> None:
    """Tell the rate of gedi_unet on windows of 244 px, in pixels a second and as a share of the peak; goal 0.5."""
    side, width = (32, 4) if tiny else (244, 64)
    network = create_model("gedi_unet", width=width).eval()

    def windows(count: int) -> dict[str, np.ndarray]:
        return {"x": np.random.default_rng(0).random((count, 14, side, side), np.float32)}

    tell(side=side, goal=0.5)
    for layout in (torch.contiguous_format, torch.channels_last):
        placed = network.to(device, memory_format=layout)
        called = _in_use(lambda x, net=placed, how=layout: net(x.contiguous(memory_format=how)), device)
        for count in (1,) if tiny else (8, 32, 64):
            name = f"{str(layout).removeprefix('torch.')}_{count}"
            _tell_rate(tell, name, device, called, windows(count), count * side * side, tiny)


def clay_maps(device: str, tiny: bool, tell: Tell) -> None:
    """Tell the rate of clay_v1_5_large (random weights) on windows of 24 px, windows a second; goal 0.5 of the peak."""
    network = create_model("clay_micro" if tiny else "clay_v1_5_large").eval().to(device)
    waves, gsd = (torch.tensor(v, device=device) for v in (np.linspace(0.4, 13, 16, dtype=np.float32), 750.0))
    with torch.inference_mode():
        kernel = network.patch_embedding.kernel(waves)
    called = _in_use(lambda x, time, place: network(x, time, place, gsd, waves, kernel)[:, 0], device)
    tell(goal=0.5, weights="random: none were given")
    for count in (4,) if tiny else (512, 2048, 8192):
        draw = np.random.default_rng(0)
        arrays = {name: draw.random((count, *shape), np.float32)
                  for name, shape in {"x": (16, 24, 24), "time": (4,), "place": (4,)}.items()}  # fmt: skip
        _tell_rate(tell, f"batch_{count}", device, called, arrays, count, tiny)


def embeddings(device: str, tiny: bool, tell: Tell) -> None:
    """Tell how many pixels a second get an embedding: btfm_transformer, 16 dates of 11 bands, four passes and one.

    Beside it stands what was published for a larger encoder on an L4: 4,700 pixels a second.
    """
    from eozoo_barlow_twins.networks import Encoder

    network = Encoder(create_model("btfm_transformer"), 11).eval().to(device)

    def mean(bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        return sum(network(bands[:, i], doys[:, i]) for i in range(bands.shape[1])) / bands.shape[1]

    called, draw = _in_use(mean, device), np.random.default_rng(0)
    tell(published_px_per_s_of_a_larger_encoder_on_an_l4=4700)
    for passes, count in ((4, 64), (1, 64)) if tiny else ((4, 2048), (4, 32768), (1, 32768)):
        arrays = {"bands": draw.random((count, passes, 16, 11), np.float32),
                  "doys": draw.integers(1, 366, (count, passes, 16))}  # fmt: skip
        _tell_rate(tell, f"passes_{passes}_batch_{count}", device, called, arrays, count, tiny)


def peak(place: torch.device, dtype: torch.dtype, tiny: bool = False) -> float:
    """Return the 10^12 operations a second of a large matrix product of random numbers."""
    side = 256 if tiny else 8192 if dtype != torch.float32 else 4096
    a, b = (torch.randn(side, side, device=place).to(dtype) for _ in range(2))
    return float(f"{2 * side**3 / seconds_of(lambda: a @ b, place, 0.05 if tiny else 0.5) / 1e12:.4g}")


def seconds_of(work: Callable[[], Any], place: torch.device, least: float) -> float:
    """Return the median seconds of ``work()`` over at least three calls and ``least`` seconds, after two to warm up."""
    taken: list[float] = []
    for _ in range(2):
        work()
    while len(taken) < 3 or sum(taken) < least:
        synchronize(place)
        began = time.perf_counter()
        work()
        synchronize(place)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def synchronize(place: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _tell_rate(
    tell: Tell, name: str, device: str, called: Callable, arrays: dict[str, np.ndarray], count: int, tiny: bool
) -> None:
    """Tell the rate with the arrays on the device, and from numpy to numpy as maps go, and their shares of the peak."""
    place = torch.device(device)
    given, least = tensors(arrays, place), 0.02 if tiny else 1.0
    with FlopCounterMode(display=False) as counter:
        called(*given.values())
    alone = seconds_of(lambda: called(*given.values()), place, least)
    whole = seconds_of(lambda: called(*tensors(arrays, place).values()).float().cpu().numpy(), place, least)
    work, best = counter.get_total_flops(), peak(place, torch.bfloat16, tiny) * 1e12
    told = {"per_s": round(count / alone, 1), "per_s_numpy_to_numpy": round(count / whole, 1),
            "share_of_peak": round(work / alone / best, 4),
            "share_of_peak_numpy_to_numpy": round(work / whole / best, 4)}  # fmt: skip
    if place.type == "cuda":
        told["memory_gb"] = round(torch.cuda.max_memory_allocated(place) / 1e9, 2)
    tell(**{name: told})


class _Called(torch.nn.Module):
    def __init__(self, function: Callable):
        super().__init__()
        self._function = function

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self._function(*given)


def _in_use(function: Callable, device: str) -> Callable:
    """``function`` as maps call a network: in the precision that "auto" is, without gradients, float32 out."""
    module = compute_in(resolve_precision("auto", device), _Called(function), torch.device(device))
    return torch.inference_mode()(module)


def _distances(name: str, place: torch.device) -> list[float]:
    torch.manual_seed(0)
    network, inputs = create_model(name).eval(), inputs_of(name)
    size = sum(p.numel() for p in network.parameters())
    here = _outputs_and_gradients(network, inputs, size < _LARGE)
    there = _outputs_and_gradients(network.to(place), [x.to(place) for x in inputs], size < _LARGE)
    return [_distance(a, b) for a, b in zip(here, there) if a]


def _outputs_and_gradients(network: torch.nn.Module, inputs: list, with_gradients: bool) -> tuple[list, list]:
    with torch.set_grad_enabled(with_gradients):
        found = network(*inputs)
        found = list(found) if isinstance(found, (tuple, list)) else [found]
    if with_gradients:
        sum(values.square().sum() for values in found).backward()
    gradients = [p.grad.cpu().double() for p in network.parameters() if p.grad is not None]
    network.zero_grad(set_to_none=True)
    return [values.detach().cpu().double() for values in found], gradients


def _distance(here: list[torch.Tensor], there: list[torch.Tensor]) -> float:
    """The largest difference of all tensors as a share of the largest value of all."""
    largest = max(float(values.abs().max()) for values in here)
    return float(f"{max(float((a - b).abs().max()) for a, b in zip(here, there)) / max(largest, 1e-30):.2e}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
