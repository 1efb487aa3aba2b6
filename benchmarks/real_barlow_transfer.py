"""Does an encoder of one Flemish cube beat simple predictors on the fields of another? ``eozoo train --cv``, repeated.

``python -m benchmarks.real_barlow_transfer`` goes on from the tiles and encoders of real_barlow.py under real/barlow
and writes benchmarks/results/real_barlow_transfer.json. The same as the command of docs/cross_validation.md, with more
arms at once. The protocol, written before the runs. What was known: with a head that hardly learnt (learning rate
1e-3, some 20 steps, the defaults of then) the first arm had macro F1 0.232 at 5 % of the labels, the forest 0.278; with
3e-2 and 100 steps 0.393. The head's rate is now chosen on the first cube, with the encoder of the second
(real_barlow_head.py); on the second cube nothing was chosen but the settings of ``presto, fine-tuned``.

- **Task**: ``barlow_landcover`` at its defaults: four LC classes, a linear head on a frozen encoder. **Division**: two
  folds of whole fields, 12 draws; 5 and 30 % of the labels of training and validation. **Score**: macro F1 of all
  pixels, pooled over a draw's folds; differences paired, their 95 % intervals from resampling whole fields.
- **Arms** on the second cube, six bands of 20 m: ``encoder``: btfm_transformer, 15 epochs on the first cube, seed 0;
  ``longer``: 60 epochs; ``random``: the same network at random; at 5 % also ``presto``: presto_series with its
  published weights. All are frozen. ``presto, fine-tuned`` is trained whole, at the rate 3e-4 with weight decay 0.05,
  chosen before by training and validation loss on the second cube in 10 epochs, when the head had the same rate.
- **Back**, at 5 %: an encoder of the second cube (15 epochs, seed 0) and the random one, on the 68 fields of the first,
  where the head's rate was chosen, on the validation fields of other draws.
- **Question**: is an arm better than every simple predictor (most frequent class, ridge, logistic regression, forest,
  boosted trees) by more than chance, at which share, in both directions? Does longer pre-training change it?
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings
from eozoo_core.task import crossval
from eozoo_core.task.folds import Fold

from benchmarks import real_barlow as base
from benchmarks.tools import markdown_table

WORK = Path("real/barlow")
RESULT = Path(__file__).parent / "results" / "real_barlow_transfer.json"
WEIGHTS = Path(__file__).parents[2] / "shared" / "weights" / "presto_default_model.pt"
FOLDS, DRAWS, FEW, MORE = 2, 12, 0.05, 0.3
TUNED = ("model.trainable=all", "train.learning_rate=3e-4", "train.weight_decay=0.05")
BESIDE = (
    "forest",
    "boosting",
    "ridge",
    "logistic",
    "most_frequent",
    "random",
    "encoder",
)  # of the table; the JSON has all
METRICS = ("macro_f1", "accuracy", "mean_iou")
COMMON = (
    "data.dataset=flanders",
    'data.legend={"11": annual cropland, "13": grassland, "60": built-up, "99": other}',
    "runtime.tensorboard=false",
    "runtime.device=cpu",
    "train.precision=fp32",
    "runtime.threads=1",
)


def main() -> None:
    """Train the encoders that are not there, cross-validate both directions, write the numbers."""
    started = time.monotonic()
    base.prepare(WORK)
    encoders = {
        "encoder": pretrained("run_six_0", "first", 15),
        "longer": pretrained("run_six_longer", "first", 60),
        "back": pretrained("run_six_back", "second", 15),
    }
    bands = f"data.bands=[{','.join(base.SIX)}]"
    presto = f"model.backbone={{name: presto_series, options: {{pretrained: {WEIGHTS}}}}}"
    there = {name: (f"model.pretrained={encoders[name]}",) for name in ("encoder", "longer")}
    there |= {"random": (bands,)}
    published = {
        "presto": (bands, presto),
        "presto, fine-tuned": (bands, presto, *TUNED),
    }
    back = {"encoder": (f"model.pretrained={encoders['back']}",), "random": (bands,)}
    result = {"folds": FOLDS, "draws": DRAWS, "second": scored("second", there | published, FEW)}
    result["second, more labels"] = scored("second", there, MORE)
    result["first"] = scored("first", back, FEW)
    result["minutes"] = round((time.monotonic() - started) / 60, 1)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print("\n\n".join(tables(result).values()))


def pretrained(name: str, tile: str, epochs: int) -> Path:
    """Return the run of an encoder of the six bands of a tile, seed 0; train it where it is not there."""
    settings = (*base.SETTINGS, f"data.tiles=[{tile}]")
    return base.pretrain(WORK / name, WORK, epochs, 0, base.SIX, settings)[1].path


def scored(tile: str, arms: dict[str, tuple[str, ...]], share: float) -> dict:
    """Cross-validate the arms on the fields of a tile; return "scores" by predictor and by arm the "differences"."""
    registry = Registry.discover()
    cls = registry.get("task", "barlow_landcover")
    tasks = {}
    for name, options in arms.items():
        given = [*COMMON, f"runtime.data_dir={WORK}", f"data.tiles=[{tile}]", *options]
        tasks[name] = cls(load_settings(cls.Settings, None, given), registry)
    first, *others = tasks
    run = Run.create(WORK / f"cv_{tile}", "barlow_landcover", tasks[first].settings, "benchmark")
    against = {name: tasks[name] for name in others}
    how = crossval.CrossValidation(Fold("fields", FOLDS), DRAWS, (share,), against, metric="macro_f1")
    found = crossval.cross_validate(tasks[first], run, how)["shares"][f"{share:g}"]
    scores = {first if name == "model" else name: one for name, one in found["scores"].items()}
    return {
        "labels": share,
        "scores": {name: {m: one[m] for m in METRICS} for name, one in scores.items()},
        "differences": {first: found["differences"], **found["differences_of_others"]},
    }


def tables(result: dict) -> dict[str, str]:
    """Return the tables of docs/cross_validation.md."""
    made = {}
    for name in ("second", "second, more labels", "first"):
        one = result[name]
        rows = [[n, *(f"{s[m]:.3f}" for m in METRICS)] for n, s in one["scores"].items()]
        made[name] = markdown_table([f"mean of {result['draws']} draws", "macro F1", "accuracy", "mean IoU"], rows)
        arms = {arm: by for arm, by in one["differences"].items() if arm != "random"}
        rows = [[f"{arm} - {n}", *_difference(by[n])] for arm, by in arms.items() for n in BESIDE if n in by]
        made[f"{name}, differences"] = markdown_table(["difference", "macro F1", "95 %", "draws won"], rows)
    return made


def _difference(d: dict) -> list[str]:
    low, high = d["interval"]
    return [f"{d['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{d['above']} of {d['draws']}"]


if __name__ == "__main__":
    main()
