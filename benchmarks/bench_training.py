"""gedi_sparse: the loader alone against what the network consumes, and training speed by precision and layout."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from eozoo import Registry, create_loss
from eozoo_core.task.data import tensors
from eozoo_core.train.loading import Draw
from eozoo_gedi_sparse.data import Patches
from eozoo_gedi_sparse.demo.landscape import write_landscape
from eozoo_gedi_sparse.settings import DataSettings

from benchmarks.tools import seconds

BATCH, CROP = 8, 96


def main() -> None:
    """Print samples per second and the ratios loader / training and variant / fp32."""
    print(f"batch {BATCH}, 14 x {CROP} x {CROP} px, {torch.get_num_threads()} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        patches = _patches(Path(folder))
        loader = _loader_rate(patches)
        batch = _batch(patches)
        for width in (16, 64):
            rates = {name: _training_rate(batch, width, *how) for name, how in _VARIANTS.items()}
            for name, rate in rates.items():
                text = f"{rate:8.1f} samples/s, {rate / rates['fp32']:.2f} x fp32"
                print(f"gedi_unet width {width}, {name:<22} {text}; the loader gives {loader / rate:.0f} x that")
        print(f"loader alone, one process            {loader:8.0f} samples/s")


# name -> (bf16 autocast, channels-last)
_VARIANTS = {
    "fp32": (False, False),
    "fp32 channels-last": (False, True),
    "bf16-mixed": (True, False),
    "bf16-mixed channels-last": (True, True),
}


def _patches(root: Path) -> Patches:
    made = write_landscape(root, tiles=(16, 2, 2), size=244, scene=(128, 128))
    return Patches(made.input_dir, made.label_dir, "train", DataSettings(crop=CROP))


def _loader_rate(patches: Patches) -> float:
    def epoch() -> None:
        for first in range(0, 64, BATCH):
            tensors(patches.batch([Draw(first + i, 0) for i in range(BATCH)]))

    return 64 / seconds(epoch)


def _batch(patches: Patches) -> dict:
    return tensors(patches.batch([Draw(i, 0) for i in range(BATCH)]))


def _training_rate(batch: dict, width: int, bf16: bool, channels_last: bool) -> float:
    model = Registry.discover().create("model", "gedi_unet", {"width": width})
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = batch["image"].nan_to_num().contiguous(memory_format=layout)
    loss, optimizer = create_loss("gaussian_nll"), torch.optim.AdamW(model.parameters())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            mean, log_scale = model(image).split(1, dim=1)
            total, count = loss(mean, log_scale, batch["target"])
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()

    began = time.perf_counter()
    step()
    repeats = max(2, min(10, int(6 / (time.perf_counter() - began))))
    return BATCH / seconds(step, repeats)
