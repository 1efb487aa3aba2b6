"""A training step of each system beside a plain one of its document, in CPU time, and what its batch takes.

Ours is what ``eozoo train`` calls: `Task.step` on a batch of `Task.data`. Both take turns (A B A B ...); the ratios are
of medians. ``python -m benchmarks training --unet`` runs those named; OMP_NUM_THREADS=1 on a machine that others use.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from eozoo import Registry
from eozoo_core.settings.config import load_settings
from eozoo_core.task.data import Batched
from eozoo_core.task.system import KEPT
from eozoo_core.task.train import Trainer
from eozoo_core.train.execution import by_rule
from eozoo_core.train.loading import Draw
from lightning_fabric import Fabric

from benchmarks import reference_steps

Work = Callable[[], object]


def main() -> None:
    """Print a row for every system."""
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {torch.backends.cpu.get_cpu_capability()}")
    systems = {"unet": unet, "twins": twins, "clay": clay, "refine": refine}
    named = [name for name in systems if f"--{name}" in sys.argv]
    for name in named or systems:
        with tempfile.TemporaryDirectory() as folder:
            systems[name](Path(folder))


def unet(folder: Path) -> None:
    """The document's network and patches of 244 px, a batch of 4."""
    from eozoo_gedi_sparse.demo.landscape import write_landscape
    from eozoo_gedi_sparse.settings import DOCUMENTED

    write_landscape(folder, tiles=(4, 1, 1), size=244, scene=(64, 64))
    ours = _Ours("gedi_sparse", [f"runtime.data_dir={folder}", "train.batch_size=4"], 4, DOCUMENTED)
    theirs = reference_steps.unet_step(ours.batch["image"], ours.batch["target"])
    _row("U-Net, 64 wide, 244 px, batch 4", ours, theirs, 2)
    _row("    the same, channels-last", ours.channels_last(), theirs, 1)


def twins(folder: Path) -> None:
    """The document's encoder, 256 pixels of 73 dates, two views of 16."""
    import eozoo_barlow_twins

    from benchmarks.bench_pixels import make_tile

    tiles = folder / "data" / "sentinel2" / "processed"
    tiles.mkdir(parents=True)
    make_tile(tiles / "T", 96, 96)
    documented = Path(eozoo_barlow_twins.__file__).with_name("documented.yaml")
    ours = _Ours("barlow_twins", [f"runtime.data_dir={folder}"], 256, documented)
    views = (ours.batch["views"] - 3000.0) / 1700.0
    theirs = reference_steps.twins_step(views[:, 0].contiguous(), views[:, 1].contiguous())
    _row("pixel encoder, batch 256", ours, theirs, 7)


def clay(folder: Path) -> None:
    """A head over the frozen tiny encoder, 256 windows; ours keeps what the encoder says."""
    from eozoo_clay_ta.chunks import SCHEMA, chunk_path, write_chunk
    from eozoo_clay_ta.sample_schema import Normalisation

    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(2048, *shape)).astype(np.float32) for name, shape in SCHEMA.items()}
    meta = [(f"2022-01-{1 + i % 28:02d}T00:00", i % 95, 100, 200) for i in range(2048)]
    write_chunk(chunk_path(folder, "train", 0), arrays, meta)
    Normalisation.of([0.0] * 19, [1.0] * 19, 10.0, 8.0).write(folder / "normalisation.json")
    ours = _Ours("clay_ta", [f"runtime.data_dir={folder}", "model.encoder=clay_tiny"], 256)
    system, batch = ours.trainer.system, dict(ours.batch)
    staged = system.stage(batch)
    context = torch.cat([staged["time7"], staged["loc"], staged["landcover_onehot"]], dim=1)
    theirs = reference_steps.clay_step(lambda: system.features(staged)["features"], context, batch["target"])
    with torch.no_grad():
        ours.batch |= {KEPT + name: values for name, values in system.features(staged).items()}
    _row("head over frozen clay_tiny, batch 256", ours, theirs, 7)


def refine(folder: Path) -> None:
    """The document's tiles of 120 px, a batch of 4; the tiny encoder, in fp32, adapted, with the discriminator."""
    from eozoo_prithvi_refine.demo.landscape import write_world
    from eozoo_prithvi_refine.variants import VARIANTS

    from benchmarks.reference_refine import refine_step

    name = "prithvi_eo_v2_tiny"
    world, variant = write_world(folder, size=120, train=4, held_out=1), VARIANTS[name]
    overrides = [f"runtime.data_dir={world.data_dir}", f"model.encoder={name}", "model.quantization=none"]
    ours = _Ours("prithvi_refine", [*overrides, "train.batch_size=4", "train.accumulate=1"], 4)
    image, target = (ours.batch[role].nan_to_num(0.1) for role in ("opt_v1", "target"))
    theirs = refine_step(image, target, (variant.embed_dim, variant.depth, variant.heads, variant.patch))
    _row("refiner, tiny encoder, 120 px, batch 4", ours, theirs, 7)


class _Ours:
    """A task on its data: ``batch`` of ``size`` draws, a step on it, and how the batch is made."""

    def __init__(self, name: str, overrides: list[str], size: int, config: Path | None = None):
        registry = Registry.discover()
        kind = registry.get("task", name)
        settings = load_settings(kind.Settings, config, [*overrides, "runtime.device=cpu", "train.precision=fp32"])
        task = kind(settings, registry)
        self._data, self._draws = Batched(task.data("train")), [Draw(i, 0) for i in range(size)]
        survey = task.survey(self._data.data)
        system = task.system(survey, fresh=True)
        system.adapt()
        execution = by_rule(system, "cpu", "fp32", training=True)
        fabric = Fabric(accelerator="cpu", devices=1)
        run = SimpleNamespace(settings=settings, path=Path())
        self.trainer = Trainer(run, fabric, system, task.loss(survey), survey, None, steps=1000, execution=execution)
        task.optimizers(self.trainer)
        self._step, self.batch = task.step(self.trainer), self.load()
        system.train()

    def load(self) -> dict:
        """Make the batch, as the loader's process does."""
        return self._data.__getitems__(self._draws)

    def __call__(self) -> object:
        """Take a step."""
        return self._step([self.batch], 0)

    def channels_last(self) -> _Ours:
        """Lay images and convolutions out so, in place."""
        self.trainer.system.to(memory_format=torch.channels_last)
        self.batch["image"] = self.batch["image"].contiguous(memory_format=torch.channels_last)
        return self


def _row(name: str, ours: _Ours, theirs: Work, rounds: int) -> None:
    """Print how long both take, and the share of a batch in a step."""
    ours(), theirs()
    times = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    mine, reference = (statistics.median(column) for column in zip(*times, strict=True))
    ours.load()
    loading = statistics.median(_seconds(ours.load) for _ in range(5))
    print(
        f"{name:<40} ours {mine:7.3f} s, document's {reference:7.3f} s: {reference / mine:5.2f} times as fast; "
        f"a batch is made in {loading / mine:6.2%} of a step",
        flush=True,
    )


def _seconds(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
