"""Windows per second of the map by size of the encoder and arithmetic, beside the floor from floating-point operations.

    python plugins/clay_ta/benchmarks/maps.py [--device cuda] [--encoders clay_tiny clay_small ...] [--windows 512]

The floor is the operations of the blocks (10 tokens a window at 24 pixels) at the rate of a large matrix product in the
same arithmetic, measured here. On a CPU
seconds are those of one thread that has a core to itself (CPU time). A map is all 795,664 windows of 900 x 900 pixels.
"""

import argparse
import time

import torch
from eozoo_clay_ta.clay import SIZES, ClayEncoder
from eozoo_clay_ta.sample_schema import Normalisation
from eozoo_clay_ta.settings import ClayModel
from eozoo_clay_ta.system import build_model

WINDOWS = 892 * 892


def wait(device):
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def best(function, device, repeat=3):
    """Best seconds of a few calls after a first."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    function()
    seconds = float("inf")
    for _ in range(repeat):
        wait(device)
        start = clock()
        function()
        wait(device)
        seconds = min(seconds, clock() - start)
    return seconds


def peak(device, dtype):
    """10^9 operations per second of a large matrix product."""
    n = 8192 if device == "cuda" else 1536
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / best(lambda: a @ b, device) / 1e9


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoders", nargs="*", default=["clay_tiny", "clay_small", "clay_v1_base", "clay_v1_5_large"])
    parser.add_argument("--windows", type=int, default=128)
    options = parser.parse_args()
    device, n = options.device, options.windows
    norm = Normalisation(torch.zeros(19).numpy(), torch.ones(19).numpy(), 12.0, 10.0)
    rates = {torch.float32: peak(device, torch.float32), torch.bfloat16: peak(device, torch.bfloat16)}
    print(f"{device}, {torch.get_num_threads()} thread(s), {n} windows at a time; matrix product: "
          + ", ".join(f"{str(d)[6:]} {r:,.0f} GFLOP/s" for d, r in rates.items()))  # fmt: skip
    print("encoder            arithmetic   GFLOP/window  windows/s   of the floor   whole map")
    for name in options.encoders:
        model = build_model(ClayModel(encoder=name), norm, ClayEncoder(SIZES[name]))
        model.adapt()
        model.eval().to(device)
        batch = {
            "x": torch.randn(n, 19, 9, 9, device=device), "time7": torch.randn(n, 7, device=device),
            "loc": torch.tensor([[37.0, 127.0, 2000.0]], device=device).repeat(n, 1),
            "landcover_onehot": torch.zeros(n, 17, device=device),
        }  # fmt: skip
        for dtype, rate in rates.items():
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
                seconds = best(lambda: model(batch), device)  # noqa: B023
            speed, floor = n / seconds, rate / SIZES[name].gflop
            print(
                f"{name:18} {str(dtype)[6:]:12} {SIZES[name].gflop:10.3f} {speed:12,.1f} {speed / floor:12.0%} "
                f"{WINDOWS / speed / 3600:9.2f} h"
            )


if __name__ == "__main__":
    main()
