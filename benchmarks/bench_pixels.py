"""barlow_twins: views from disk to batch against a per-pixel reference, training speed, maps and their memory.

Other pixel encoders publish 0.7 to 4.7 thousand pixels a second (TESSERA, GPU servers, models 6 to 240 times larger):
the numbers here are for one CPU thread and the documented 154,880 parameters, and comparable in kind only.
EOZOO_BENCH_COMPILE=1 adds torch.compile, whose first step takes minutes on a CPU.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from eozoo_barlow_twins.loss import BarlowTwinsLoss
from eozoo_barlow_twins.maps import map_tile, open_tile
from eozoo_barlow_twins.networks import MLP, Encoder, Transformer, projector
from eozoo_barlow_twins.pixels import PixelIndex, PixelSeries
from eozoo_barlow_twins.prepare.store import write_store
from eozoo_barlow_twins.prepare.write_tile import write_statistics
from eozoo_barlow_twins.settings import Augment, PretrainData, PretrainInfer, SelectDates
from eozoo_barlow_twins.survey import PixelSurvey
from eozoo_barlow_twins.system import TwinSystem
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import RuntimeSettings, TrainSettings
from eozoo_core.task.data import Batched, as_is, tensors
from eozoo_core.task.predict import to_arrays
from eozoo_core.train.execution import samples_at_once
from eozoo_core.train.loading import Loader
from torch.utils.data import default_collate

from benchmarks.tools import in_process

DATES, BANDS, SIZE, BATCH = 73, 11, 16, 256
NAMES = tuple(f"band_{i + 1}" for i in range(BANDS))


def main() -> None:
    """Print all ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_tile(Path(folder) / "T", 192, 192)
        step = training()
        views(path, step)
        maps(path, Path(folder))
        memory(Path(folder))


def make_tile(path: Path, height: int, width: int, dates: int = DATES) -> Path:
    """A tile of random numbers, 60 % clear, without the pixel-major store."""
    path.mkdir()
    random = np.random.default_rng(0)
    bands = np.lib.format.open_memmap(path / "bands.npy", "w+", np.uint16, (dates, height, width, BANDS))
    masks = np.lib.format.open_memmap(path / "masks.npy", "w+", np.uint8, (dates, height, width))
    for date in range(dates):
        bands[date] = random.integers(100, 6000, (height, width, BANDS))
        masks[date] = random.random((height, width)) < 0.6
    np.save(path / "doys.npy", np.linspace(1, 365, dates).astype(np.int16))
    write_statistics(Tile(path))
    return path


def views(path: Path, step_seconds: float) -> None:
    """Views of random pixels, from disk to batch, against one pixel after the other in Python."""
    reference = _reference_rate(path)
    print(f"views, one pixel at a time (reference)  {reference:9,.0f} pixels/s, whole tile in memory first")
    for store in (False, True):
        if store:
            write_store(Tile(path))
        tile = Tile(path)
        data = PretrainData(min_valid=32)
        pixels = PixelSeries(PixelIndex([tile], data, None), PixelSurvey(), 0, Augment(), BATCH)
        fabric = SimpleNamespace(world_size=1, global_rank=0, device=torch.device("cpu"), to_device=lambda b: b)
        batches = Loader(Batched(pixels), TrainSettings(batch_size=BATCH), RuntimeSettings(), fabric, as_is)
        for _ in zip(range(3), batches.epoch(0), strict=False):
            pass
        count = min(120, len(batches))
        rate = count * BATCH / _cpu(lambda: [b for b, _ in zip(batches.epoch(1), range(count), strict=False)])  # noqa: B023
        name = "pixel-major store" if store else "documented layout"
        print(f"views, vectorised, {name:<20} {rate:9,.0f} pixels/s = {rate / reference:.1f} x the reference")
        print(f"    a training step on this CPU takes {step_seconds * rate / BATCH:.0f} x as long as its batch")


def _reference_rate(path: Path) -> float:
    """Choose, sort and gather pixel by pixel, then collate, as the documented loader does. What it does once per tile
    (load, standardise: seconds before the first batch) is not counted, nor is its shuffle buffer."""
    bands, masks, doys = (np.load(path / f"{n}.npy") for n in ("bands", "masks", "doys"))
    mean, std = np.load(path / "band_mean.npy"), np.load(path / "band_std.npy")
    standard = ((bands[:, :8] - mean) / std).astype(np.float32)
    random = np.random.default_rng(42)

    def run() -> None:
        made = []
        for row in range(4):
            for col in range(192):
                valid = np.nonzero(masks[:, row, col])[0]
                if len(valid) > 32:
                    chosen = [np.sort(random.choice(valid, SIZE, replace=False)) for _ in range(2)]
                    values = np.stack([standard[c, row, col] for c in chosen])
                    days = np.stack([doys[c] // 7 for c in chosen])
                    made.append({"bands": torch.from_numpy(values), "week": torch.from_numpy(days)})
                if len(made) == BATCH:
                    default_collate(made)
                    made = []

    run()
    return 4 * 192 / _cpu(run)


def training() -> float:
    """Examples (pixels, both views in one forward) a second by precision; returns seconds of an fp32 step."""
    net = _system(Transformer(BANDS), 1)
    loss, optimizer = BarlowTwinsLoss(), torch.optim.AdamW(net.parameters())
    bands = torch.randn(2 * BATCH, SIZE, BANDS)
    days = torch.randint(1, 367, (2 * BATCH, SIZE))

    def step(bf16: bool, at_once: bool = True) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            if at_once:
                z1, z2 = net({"bands": bands, "doys": days})["projection"].chunk(2)
            else:
                parts = zip(bands.chunk(2), days.chunk(2), strict=True)
                z1, z2 = (net({"bands": b, "doys": d})["projection"] for b, d in parts)
        optimizer.zero_grad()
        loss.parts(z1, z2).total.backward()
        optimizer.step()

    variants = {"fp32": (False, True), "fp32, two forwards": (False, False), "bf16-mixed": (True, True)}
    base = None
    for name, how in variants.items():
        step(*how)
        spent = _cpu(lambda: [step(*how) for _ in range(4)]) / 4  # noqa: B023
        base = base or spent
        print(f"training, {name:<20} {BATCH / spent:9,.0f} examples/s = {base / spent:.2f} x fp32")
    if os.environ.get("EOZOO_BENCH_COMPILE"):
        net.encoder.backbone.compile()
        step(False)
        spent = _cpu(lambda: [step(False) for _ in range(4)]) / 4
        print(f"training, compiled             {BATCH / spent:9,.0f} examples/s = {base / spent:.2f} x fp32")
    return base


def maps(path: Path, folder: Path) -> None:
    """Pixels a second of map inference, and the share of the time that is not the encoder's."""
    inside, net = 0.0, _system(Transformer(BANDS), 1).eval()
    encode = net.encoder.forward

    def forward(bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        nonlocal inside
        start = time.thread_time()
        result = encode(bands, doys)
        inside += time.thread_time() - start
        return result

    net.encoder.forward = forward
    total = _cpu(lambda: _map(net, path, PretrainInfer(passes=1, workers=1), folder / "out"))
    print(
        f"maps, one pass                 {192 * 192 / total:9,.0f} pixels/s, "
        f"{1 - inside / total:.1%} outside the encoder"
    )


def memory(folder: Path) -> None:
    """Peak of the process's own memory while two tiles are encoded, one four times as tall."""
    peaks = {}
    for height in (512, 2048):
        make_tile(folder / f"tall_{height}", height, 128, 40)
        out = in_process("benchmarks.bench_pixels", str(folder / f"tall_{height}"))
        peaks[height] = float(out.split()[-1])
        print(f"maps, 128 x {height:<5} pixels        {peaks[height]:9,.0f} MB above the start")
    print(f"    four times the pixels take {peaks[2048] / peaks[512]:.2f} x the memory")


def child(path: Path) -> None:
    """Encode a tile with a small network and print the peak of private memory in MB."""
    net = _system(MLP(BANDS, position="index"), 1, min_valid=16).eval()
    net({"bands": torch.zeros(2, SIZE, BANDS), "doys": torch.ones(2, SIZE, dtype=torch.int64)})
    before, peak, stop = _private(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.005):
            peak = max(peak, _private())

    thread = threading.Thread(target=watch)
    thread.start()
    _map(net, path, PretrainInfer(passes=1, workers=2, block_pixels=8192), path / "out")
    stop.set()
    thread.join()
    print(peak - before)


class _Drawn:
    """One network as ``Task.map`` calls it."""

    def __init__(self, system: TwinSystem, survey: PixelSurvey, dest: Path):
        self._system, self.survey, self.dest = system, survey, dest

    def at_once(self, pixels: int) -> int:
        """As the product decides."""
        return samples_at_once("cpu", pixels)

    def __call__(self, arrays: dict) -> dict:
        with torch.inference_mode():
            return to_arrays(self._system.predict(tensors(arrays)))

    unwatched = __call__

    def look(self, arrays: dict) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        pass


def _map(system: TwinSystem, path: Path, infer: PretrainInfer, out: Path) -> None:
    survey = PixelSurvey(min_valid=system.least)
    for _ in map_tile(_Drawn(system, survey, out), open_tile(path, survey, infer), infer, infer.block_threads):
        pass


def _system(backbone: torch.nn.Module, passes: int, min_valid: int = 32) -> TwinSystem:
    survey = PixelSurvey(min_valid=min_valid)
    return TwinSystem(Encoder(backbone, BANDS), projector(64, 128, 1, False), survey, SelectDates(passes=passes))


def _private() -> float:
    """This process's memory in MB without mapped files, whose pages the system can take back."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def _cpu(work) -> float:
    """CPU seconds of ``work``: other programs on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    child(Path(sys.argv[1]))
