"""The real-data comparison of docs/real_data_barlow.md: ``python -m benchmarks.real_barlow [--out DIR]``.

Protocol (fixed before the runs that the document reports):
  place     cube 00002806639B424A, Flanders, all pixels; fields = connected areas of equal LC and CT labels
  encoders  one per seed, pre-trained on all pixels without any label
  draws     20: each divides the fields of every class anew (about 60 % of the class's pixels for training, whole fields
            only) and draws 1, 5, 10 and 30 % of the training pixels of each class as labels; draw d uses encoder seed
            d modulo the number of seeds
  score     macro F1 and accuracy on all labelled pixels of the fields that were not trained on
  beside    raw bands (30-day grid, gaps filled linearly) with logistic regression and with a random forest of 100
            trees; a randomly initialised encoder of the same seed with the same probe
  compare   paired differences draw by draw, with percentile intervals over the draws (one place: not over places)
  transfer  the six bands of 20 m that the second cube 000028085BF08E7E has too: an encoder pre-trained on the first
            place only, probed on the fields of the second; and a probe learnt on the first, scored on the second
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from eozoo.registry import Registry
from eozoo_barlow_twins.evaluation import encode, random_system
from eozoo_barlow_twins.pixels import PixelIndex
from eozoo_barlow_twins.prepare.cubes import prepare_cube
from eozoo_barlow_twins.prepare.settings import S2_BANDS, CubeSettings
from eozoo_barlow_twins.prepare.store import write_store
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.probe import Labelled, Probe, draw_labels, raw_features
from eozoo_barlow_twins.settings import BarlowSettings
from eozoo_barlow_twins.tiles import Tile, processed
from eozoo_core import Run
from eozoo_core.score.classes import class_scores, confusion_of
from eozoo_core.settings.config import load_settings
from eozoo_core.task.predict import open_draws

from benchmarks.tools import markdown_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "barlow_s2ts"
RESULT = Path("benchmarks/results/real_barlow.json")
CUBES = {
    "first": ("00002806639B424A", S2_BANDS),
    "second": ("000028085BF08E7E", ("B05", "B06", "B07", "B8A", "B11", "B12")),
}
SIX = CUBES["second"][1]
FIRST_DRAW = 1000  # settings were chosen on draws 0 to 7; these are others
SHARES = (0.01, 0.05, 0.1, 0.3)
CLASSES = {
    "LC": {11: "annual cropland", 13: "grassland", 60: "built-up", 99: "other"},
    "CT": {1200: "maize", 7900: "crop 7900", 9120: "grass"},  # the crops with more than one field
}
PROBES = {
    "barlow": Probe("barlow", "logistic"),
    "barlow_knn": Probe("barlow", "knn"),
    "random_encoder": Probe("random", "logistic"),
    "raw_logistic": Probe("raw", "logistic"),
    "raw_forest": Probe("raw", "forest"),
}
SETTINGS = (
    "data.dataset=flanders",
    "data.tiles=[first]",
    "data.test_share=0",
    "data.val_share=0.1",
    "data.shares_of=blocks",  # the validation fields of the protocol: a tenth of them by number
    "model.projector.width=512",
    "model.projector.hidden_layers=2",
    "model.projector.batch_norm=true",
    "infer.passes=8",
    "runtime.tensorboard=false",
    "runtime.device=cpu",
    "train.precision=fp32",
)


def main() -> None:
    """Prepare, pre-train, compare, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("real/barlow"), help="working folder (default real/barlow)")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the numbers go")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA}: the real data are not beside the clone; nothing to do")
    tiles = prepare(arguments.out)
    result = compare(arguments.out, tiles, arguments.epochs, arguments.seeds, arguments.draws)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n\n".join(tables(result).values()))


def prepare(out: Path) -> dict[str, Tile]:
    """Both cubes as tiles, made once."""
    folder = processed(out, "flanders")
    tiles = {}
    for name, (cube, bands) in CUBES.items():
        if not (folder / name).exists():
            settings = CubeSettings(folder=str(DATA / cube), tile=name, bands=bands, labels=("LC", "CT"), fields=True)
            write_store(Tile(prepare_cube(settings, folder)))
        tiles[name] = Tile(folder / name)
    return tiles


def compare(out: Path, tiles: dict[str, Tile], epochs: int, seeds: int, draws: int) -> dict:
    """All comparisons; encoders are trained where their runs are not finished yet."""
    started, full = time.time(), []
    result: dict = {"epochs": epochs, "seeds": seeds, "draws": draws, "shares": list(SHARES), "encoders": []}
    for seed in range(seeds):
        full.append(pretrain(out / f"run_{seed}", out, epochs, seed, S2_BANDS))
        last = full[-1][1].read_log()[-1]
        result["encoders"].append({"seed": seed, "train": last["train"], "val": last["val"]})
    six = [pretrain(out / f"run_six_{seed}", out, epochs, seed, SIX) for seed in range(min(seeds, 2))]
    first, second = tiles["first"], tiles["second"]
    own = [features(task, run, first) for task, run in full]
    own_six = [features(task, run, first) for task, run in six]
    other = [features(task, run, second) for task, run in six]
    for kind in CLASSES:
        print(f"probing {kind}", flush=True)
        result[kind] = {
            "first_place": few_labels(own, first, kind, draws),
            "second_place": few_labels(other, second, kind, draws),
            "across_places": across(own_six, first, other, second, kind),
        }
    result["minutes"] = round((time.time() - started) / 60, 1)
    return result


def pretrain(
    path: Path, out: Path, epochs: int, seed: int, bands: tuple[str, ...], settings: tuple[str, ...] = SETTINGS
) -> tuple[BarlowTwinsTask, Run]:
    """A finished pre-training run; a run that is there goes on or is left as it is."""
    names = "[" + ",".join(bands) + "]"
    values = [
        *settings,
        f"runtime.data_dir={out}",
        f"train.epochs={epochs}",
        f"train.seed={seed}",
        f"data.bands={names}",
    ]
    loaded = load_settings(BarlowSettings, None, values)
    run, task = Run.create(path, "barlow_twins", loaded), BarlowTwinsTask(loaded, Registry.discover())
    start = time.time()
    task.train(run)
    print(f"{path.name}: {time.time() - start:.0f} s, val {run.read_log()[-1]['val']}", flush=True)
    return task, run


def features(task: BarlowTwinsTask, run: Run, tile: Tile) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features by kind and the flat pixel numbers that they belong to."""
    draws = open_draws(task, run, "infer")
    bands = draws.survey.names
    index = PixelIndex([tile], run.settings.data, None)
    numbers = np.arange(len(index))
    pixels = next(index.groups(numbers))[2]
    series, clear = tile.series(pixels)
    systems = {"barlow": draws.systems["member 0"], "random": random_system(task, run, draws)}
    kinds = {
        name: encode(system, draws.device, index, numbers, draws.survey, run.settings.infer)
        for name, system in systems.items()
    }
    kinds["raw"] = raw_features(series[:, :, tile.select(bands)], clear, tile.days)
    return kinds, pixels


def few_labels(encoders: list, tile: Tile, kind: str, draws: int) -> dict:
    """Scores of every draw at every share, their means, and paired differences of "barlow" to the others."""
    pixels = encoders[0][1]
    target, fields = classes(tile, kind, pixels), tile.layer("blocks.npy").reshape(-1)[pixels]
    found: dict[str, dict] = {}
    for share in SHARES:
        values: dict[str, dict[str, list[float]]] = {p: {"macro_f1": [], "accuracy": []} for p in PROBES}
        for draw in range(FIRST_DRAW, FIRST_DRAW + draws):
            train = split_fields(target, fields, draw)
            test = ~train & np.isin(target, np.unique(target[train]))
            parts = [labelled(encoders[draw % len(encoders)][0], target, fields, m) for m in (train, test)]
            rows = draw_labels(parts[0].target, share, draw)
            for name, probe in PROBES.items():
                scores = class_scores(
                    confusion_of(parts[1].target, probe.predict(parts[0], rows, parts[1], draw), len(CLASSES[kind]))
                )
                for metric in values[name]:
                    values[name][metric].append(scores[metric])
        found[f"{share:g}"] = {"labels": len(rows)} | summary(values)
    return found


def across(here: list, first: Tile, there: list, second: Tile, kind: str) -> dict:
    """Learn on all labels of the first place, score on all of the second: classes of both, one value per seed."""
    both = sorted(set(np.unique(classes(first, kind))) & set(np.unique(classes(second, kind))) - {-1})
    values: dict[str, dict[str, list[float]]] = {p: {"macro_f1": [], "accuracy": []} for p in PROBES}
    for (own, p), (other, q) in zip(here, there, strict=True):
        a, b = classes(first, kind, p), classes(second, kind, q)
        width = min(own["raw"].shape[1], other["raw"].shape[1])
        own, other = ({**f, "raw": f["raw"][:, :width]} for f in (own, other))
        train, test = labelled(own, a, a, np.isin(a, both)), labelled(other, b, b, np.isin(b, both))
        for name, probe in PROBES.items():
            predicted = probe.predict(train, np.arange(len(train.target)), test, 0)
            scores = class_scores(confusion_of(test.target, predicted, len(CLASSES[kind])))
            for metric in values[name]:
                values[name][metric].append(scores[metric])
    names = list(CLASSES[kind].values())
    return {"classes": [names[k] for k in both]} | summary(values)


def classes(tile: Tile, kind: str, pixels: np.ndarray | None = None) -> np.ndarray:
    """Class number of each pixel, -1 = none of the classes compared."""
    layer = tile.layer("labels.npy" if kind == "LC" else "labels_ct.npy").reshape(-1)
    layer = layer if pixels is None else layer[pixels]
    out = np.full(layer.shape, -1)
    for number, code in enumerate(CLASSES[kind]):
        out[layer == code] = number
    return out


def split_fields(target: np.ndarray, fields: np.ndarray, draw: int) -> np.ndarray:
    """Training pixels (bool): of each class whole fields in random order up to 60 % of its pixels, at least one field
    and never all."""
    random, train = np.random.default_rng(draw), np.zeros(len(target), bool)
    for k in range(target.max() + 1):
        names, sizes = np.unique(fields[target == k], return_counts=True)
        if len(names) < 2:
            continue  # this place has no two fields of the class: it is in no split
        order = random.permutation(len(names))
        chosen = np.cumsum(sizes[order]) <= 0.6 * sizes.sum()
        chosen[0], chosen[-1] = True, False
        train |= np.isin(fields, names[order[chosen]]) & (target == k)
    return train


def labelled(kinds: dict[str, np.ndarray], target: np.ndarray, fields: np.ndarray, mask: np.ndarray) -> Labelled:
    """The pixels under a mask."""
    return Labelled({name: f[mask] for name, f in kinds.items()}, target[mask], fields[mask])


def summary(values: dict[str, dict[str, list[float]]]) -> dict:
    """Means, and differences of "barlow" to each other predictor with 95 % intervals from resampled draws."""
    out: dict = {
        "mean": {p: {m: float(np.mean(v)) for m, v in ms.items()} for p, ms in values.items()},
        "difference": {},
    }
    random = np.random.default_rng(0)
    for name in values:
        if name != "barlow":
            d = np.array(values["barlow"]["macro_f1"]) - np.array(values[name]["macro_f1"])
            means = random.choice(d, (2000, len(d))).mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            out["difference"][name] = {
                "macro_f1": float(d.mean()),
                "low": float(low),
                "high": float(high),
                "won": int((d > 0).sum()),
            }
    return out


NAMES = {
    "barlow": "embedding, logistic",
    "barlow_knn": "embedding, 5-NN",
    "random_encoder": "random encoder, logistic",
    "raw_logistic": "raw bands, logistic",
    "raw_forest": "raw bands, forest",
}


def tables(result: dict) -> dict[str, str]:
    """Return the tables of the page."""
    made, others = {}, [p for p in NAMES if p != "barlow"]
    for kind in CLASSES:
        for place in ("first_place", "second_place"):
            name, by_share = f"{kind}, {place.replace('_', ' ')}", result[kind][place]
            rows = [
                [f"{float(share):.0%} ({r['labels']})", *(f"{r['mean'][p]['macro_f1']:.3f}" for p in NAMES)]
                for share, r in by_share.items()
            ]
            made[name] = markdown_table(["labels", *NAMES.values()], rows)
            rows = [
                [f"{float(share):.0%}", *(_difference(r["difference"][p]) for p in others)]
                for share, r in by_share.items()
            ]
            made[f"{name}, differences"] = markdown_table(["labels", *(NAMES[p] for p in others)], rows)
        across = result[kind]["across_places"]
        row = [f"{across['mean'][p]['macro_f1']:.3f}" for p in NAMES]
        made[f"{kind}, across"] = markdown_table(list(NAMES.values()), [row])
    return made


def _difference(d: dict) -> str:
    return f"{d['macro_f1']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}] {d['won']}"


if __name__ == "__main__":
    main()
