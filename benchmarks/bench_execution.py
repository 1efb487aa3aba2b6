"""What the execution plan chooses beside every fixed choice: layout, windows at once, optimiser, compilation.

CPU seconds of one thread, medians of alternated passes, as shares of the first choice of a row; the one that the plan
takes is marked. With ``--compile`` torch.compile is measured too: it takes minutes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from eozoo import Registry
from eozoo_core.settings import TrainSettings
from eozoo_core.train.execution import LAST, PLAIN, by_rule, laid_out, lay_out, samples_at_once
from eozoo_core.train.optimizer import make_optimizer

ROUNDS, ENOUGH = 5, 4.0  # passes of each choice, and seconds after which no more are made
SIZES = ((8, 4, 96), (16, 4, 96), (32, 2, 96), (64, 2, 96), (16, 1, 244), (64, 1, 244))  # width, samples, px
WINDOWS = {64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8), 256: (1, 2, 4)}


def main() -> None:
    """Print a row for every case."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread; * = what the plan takes")
    layouts()
    windows()
    optimisers()
    if "--compile" in sys.argv:
        compilation()


def layouts() -> None:
    """U-Net, forward and backward, and forward alone, in both layouts."""
    for width, samples, side in SIZES:
        nets = {layout: _unet(width, layout) for layout in (PLAIN, LAST)}
        image = torch.randn(samples, 14, side, side)
        for name, work in (("training", _both), ("forward", _forward)):
            ours = by_rule(nets[PLAIN], "cpu", "fp32", training=name == "training").layout
            found = seconds({layout: partial(work, net, laid_out(image, layout)) for layout, net in nets.items()})
            row(f"gedi_unet width {width}, {samples} x {side} px, {name}", found, ours)


def windows() -> None:
    """U-Net, forward, per pixel: how many windows at once."""
    net = _unet(16, LAST)
    for side, counts in WINDOWS.items():
        images = {n: torch.randn(n, 14, side, side) for n in counts}
        found = seconds({n: partial(_forward, net, laid_out(image, LAST)) for n, image in images.items()})
        row(f"windows of {side} px at once", {n: s / n for n, s in found.items()}, samples_at_once("cpu", side**2))


def optimisers() -> None:
    """A step of AdamW, as torch makes one by default and as the plan does."""
    for width in (8, 64):
        nets = [_unet(width, PLAIN) for _ in range(2)]
        for parameter in (p for net in nets for p in net.parameters()):
            parameter.grad = torch.randn_like(parameter)
        how = TrainSettings()
        rate, decay = how.learning_rate, how.weight_decay
        plain = torch.optim.AdamW(nets[0].parameters(), lr=rate, weight_decay=decay)
        ours = make_optimizer(nets[1].parameters(), how)
        row(f"AdamW, gedi_unet width {width}", seconds({"torch's default": plain.step, "ours": ours.step}), "ours")


def compilation() -> None:
    """torch.compile of a U-Net and of a transformer, forward and backward, after it is compiled."""
    layer = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, dropout=0.1)
    cases = {
        "gedi_unet width 16": (lambda: _unet(16, LAST), torch.randn(4, 14, 96, 96)),
        "transformer of 3 layers": (lambda: torch.nn.TransformerEncoder(layer, 3), torch.randn(256, 16, 128)),
    }
    for name, (make, given) in cases.items():
        plain, compiled = make().train(), make().train()
        compiled.compile()
        work = {"as it is": partial(_both, plain, given), "compiled": partial(_both, compiled, given)}
        row(f"{name}, training", seconds(work), "as it is")


def row(name: str, found: Mapping[object, float], ours: object) -> None:
    """Print seconds as shares of the first, and how far ours is from the best."""
    first, best = next(iter(found.values())), min(found.values())
    told = "  ".join(f"{choice}{'*' if choice == ours else ''} {s / first:.2f}" for choice, s in found.items())
    print(f"{name:<44}{told}  ours/best {found[ours] / best:.2f}", flush=True)


def seconds(works: Mapping[object, Callable[[], object]]) -> dict[object, float]:
    """Return the median CPU seconds of each, alternated, after one pass that does not count."""
    found: dict[object, list[float]] = {name: [] for name in works}
    began = time.process_time()
    for turn in range(ROUNDS + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if turn:
                found[name].append(time.process_time() - start)
        if turn >= 2 and time.process_time() - began > ENOUGH:
            break
    return {name: statistics.median(values) for name, values in found.items()}


def _unet(width: int, layout: str) -> torch.nn.Module:
    torch.manual_seed(0)
    net = Registry.discover().create("model", "gedi_unet", {"width": width})
    lay_out(net, layout)
    return net


def _both(net: torch.nn.Module, given: torch.Tensor) -> None:
    net.train()
    net(given).float().square().mean().backward()
    net.zero_grad()


def _forward(net: torch.nn.Module, given: torch.Tensor) -> None:
    net.eval()
    with torch.inference_mode():
        net(given)


if __name__ == "__main__":
    main()
