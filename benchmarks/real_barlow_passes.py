"""How many passes embeddings are worth: ``python -m benchmarks.real_barlow_passes [--out DIR] [--json FILE]``.

The place, encoders, fields and logistic probe of `real_barlow`, on draws 0 to 7, on which settings are chosen: draws
from 1000 on are for what is reported. The default is more than one pass only if the gain, averaged over labels and
shares, is more than twice its error. Every number of passes has the same encoders, draws and labels; the gain over one
pass is paired by draw, with its standard error over draws. CPU seconds are those of encoding the place once.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from eozoo_barlow_twins.evaluation import encode
from eozoo_barlow_twins.pixels import PixelIndex
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import Run
from eozoo_core.score.classes import class_scores, confusion_of
from eozoo_core.task.predict import open_draws

from benchmarks import real_barlow as real

DRAWS = range(8)
PASSES = (1, 2, 4, 8)


def main() -> None:
    """Train what is not there, encode, probe, write and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("real/barlow"), help="working folder of real_barlow")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/real_barlow_passes.json"))
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    tile = real.prepare(arguments.out)["first"]
    result: dict = {"draws": [*DRAWS], "seeds": arguments.seeds, "cpu_seconds": {}, "macro_f1": {}}
    encoders = []
    for seed in range(arguments.seeds):
        task, run = real.pretrain(arguments.out / f"run_{seed}", arguments.out, 15, seed, real.S2_BANDS)
        embeddings, pixels, result["cpu_seconds"][f"encoder {seed}"] = encoded(task, run, tile)
        encoders.append(embeddings)
    everything = [dict.fromkeys(PASSES, 0.0) for _ in DRAWS]
    cells = [(kind, share) for kind in real.CLASSES for share in real.SHARES]
    for kind, share in cells:
        target, fields = real.classes(tile, kind, pixels), tile.layer("blocks.npy").reshape(-1)[pixels]
        rows = [scores(encoders[d % len(encoders)], target, fields, (kind, share, d)) for d in DRAWS]
        result["macro_f1"][f"{kind} {share:g}"] = gains(rows)
        everything = [{p: one[p] + row[p] / len(cells) for p in PASSES} for one, row in zip(everything, rows)]
    result["macro_f1"]["mean of all"] = gains(everything)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def encoded(task: BarlowTwinsTask, run: Run, tile: Tile) -> tuple[dict[int, np.ndarray], np.ndarray, dict[int, float]]:
    """Return embeddings (n, K) of all pixels by number of passes, the flat pixel numbers, and CPU seconds."""
    draws, index = open_draws(task, run, "infer"), PixelIndex([tile], run.settings.data, None)
    numbers, found, taken = np.arange(len(index)), {}, {}
    for passes in PASSES:
        how, start = run.settings.infer.model_copy(update={"passes": passes}), time.process_time()
        found[passes] = encode(draws.systems["member 0"], draws.device, index, numbers, draws.survey, how)
        taken[passes] = round(time.process_time() - start, 2)
    return found, next(index.groups(numbers))[2], taken


def scores(found: dict[int, np.ndarray], target: np.ndarray, fields: np.ndarray, what: tuple) -> dict[int, float]:
    """Return macro F1 of the logistic probe by number of passes; ``what``: kind of labels, share of them, draw."""
    kind, share, draw = what
    train = real.split_fields(target, fields, draw)
    test, out = ~train & np.isin(target, np.unique(target[train])), {}
    for passes, embeddings in found.items():
        parts = [real.labelled({"barlow": embeddings}, target, fields, mask) for mask in (train, test)]
        rows = real.draw_labels(parts[0].target, share, draw)
        predicted = real.PROBES["barlow"].predict(parts[0], rows, parts[1], draw)
        confusion = confusion_of(parts[1].target, predicted, len(real.CLASSES[kind]))
        out[passes] = class_scores(confusion)["macro_f1"]
    return out


def gains(rows: list[dict[int, float]]) -> dict[str, dict[str, float]]:
    """Return by number of passes the mean, the gain over one pass, and its standard error over draws."""
    found = {}
    for passes in PASSES:
        values, more = np.array([r[passes] for r in rows]), np.array([r[passes] - r[1] for r in rows])
        error = more.std(ddof=1) / len(more) ** 0.5
        numbers = {"mean": values.mean(), "gain": more.mean(), "error": error}
        found[str(passes)] = {name: round(float(value), 4) for name, value in numbers.items()}
    return found


if __name__ == "__main__":
    main()
