"""CPU seconds (one thread) of the first epoch with a frozen encoder, which computes the features, and of further ones.

python plugins/clay_ta/benchmarks/features.py [--encoder clay_v1_5_large] [--rows 256]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from eozoo_clay_ta.chunks import SCHEMA, PatchStore, chunk_path, write_chunk
from eozoo_clay_ta.clay import SIZES, ClayEncoder
from eozoo_clay_ta.data import Patches
from eozoo_clay_ta.sample_schema import Normalisation
from eozoo_clay_ta.settings import ClayModel, ClayRuntime, ClaySettings
from eozoo_clay_ta.system import build_model
from eozoo_core import Run
from eozoo_core.settings.ensemble import EnsembleTrain
from eozoo_core.task.data import Batched, as_is
from eozoo_core.task.features import with_features
from eozoo_core.train.loading import Loader
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.step import pooled_step
from lightning_fabric import Fabric


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", default="clay_v1_5_large", choices=SIZES)
    parser.add_argument("--rows", type=int, default=256)
    options = parser.parse_args()
    random, train = np.random.default_rng(0), EnsembleTrain(batch_size=64)
    norm = Normalisation(np.zeros(19, np.float32), np.ones(19, np.float32), 12.0, 10.0)
    fabric = Fabric(accelerator="cpu", devices=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = {n: random.standard_normal((options.rows, *s), dtype=np.float32) for n, s in SCHEMA.items()}
        arrays["loc"][:] = [37, 127, 2000]
        write_chunk(chunk_path(folder, "train", 0), arrays, [("2022-01-01T00:00", 1, 2, 3)] * options.rows)
        data = Patches(PatchStore(folder, "train"))
        runtime = ClayRuntime(cache_dir=str(folder / "cache"), quiet=True)
        run = Run.create(folder / "run", "clay_ta", ClaySettings(train=train, runtime=runtime))
        model = build_model(ClayModel(encoder=options.encoder), norm, ClayEncoder(SIZES[options.encoder]))
        model.adapt()
        run.note("base", "benchmark")
        wrapped, optimizer = fabric.setup(model, make_optimizer(model.parameters(), train))

        def epoch(number):
            """Seconds of one epoch."""
            start = time.process_time()
            kept = with_features(run, model, data, fabric)
            wrapped.train()
            for batch in Loader(Batched(kept), train, runtime, fabric, as_is).epoch(number):

                def loss_sum(batch):
                    squares = (wrapped(model.staged(batch))["z"] - batch["target"]).square().sum()
                    return squares, {"loss": (squares.detach(), batch["count"])}

                pooled_step(fabric, wrapped, optimizer, train, [batch], loss_sum)
            return time.process_time() - start

        seconds = [epoch(i) for i in range(3)]
    print(f"{options.encoder}, {options.rows} samples at 24 pixels, fp32, CPU seconds of one thread")
    print(f"first epoch {seconds[0]:.2f} s, second {seconds[1]:.3f} s, third {seconds[2]:.3f} s")
    print(f"second against first: {seconds[0] / seconds[1]:.0f} times as fast")


if __name__ == "__main__":
    main()
