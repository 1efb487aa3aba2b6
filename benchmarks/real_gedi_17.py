"""gedi_sparse from 667 shots on 17 tiles: which recipe for few shots, rows of tiles held out.

    python -m benchmarks.real_gedi_17

The protocol is in docs/real_data_gedi_17.md. Trainings are kept under real/few_shots_17 and not repeated. Writes
benchmarks/results/real_gedi_17.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import eozoo
import numpy as np
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.score.forest import Forest, grow_forest
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.score.ridge import fit_ridge
from eozoo_core.settings.config import load_settings
from eozoo_gedi_sparse.settings import GediSettings

from benchmarks.real_gedi import CONTEXT_NET
from benchmarks.real_gedi_galileo import BANDS, FILE, INDICES
from benchmarks.real_gedi_galileo import features as galileo
from benchmarks.real_gedi_tiles import DATA, MASK_BAND, RH95, ROOT, SQUARES, Tile, square_mean

WORK, RESULT = ROOT / "real" / "few_shots_17", ROOT / "benchmarks" / "results" / "real_gedi_17.json"
ROWS = {
    "115": tuple(f"115_{i}" for i in range(5, 10)),
    "116 north": tuple(f"116_{i}" for i in range(4)),
    "116 middle": tuple(f"116_{i}" for i in range(4, 8)),
    "116 south": tuple(f"116_{i}" for i in range(8, 12)),
}
TILES = tuple(tile for tiles in ROWS.values() for tile in tiles)
LAYERS = {"S2": tuple(range(12)), "all layers": (*range(13), 20, 21, 24, 25, 26, 27)}
READ = LAYERS | {"galileo": INDICES}  # the bands of a run
SEEDS = (0, 1, 2)
FOREST = ("data.crop=32", "train.epochs=1", "data.validation=false")
MODELS = {
    "forest": (*FOREST, "model.name=forest"),
    "quantile forest": (*FOREST, "model.name=quantile_forest"),
    "context_net": CONTEXT_NET,
}
# The middle of the rates, the decay, warm-up and clipping of the paper's fine-tuning (docs/real_data_gedi_17.md).
_NAMES = f"names: [{', '.join(name for name, _ in BANDS)}]"
_UNITS = "units: {S2: reflectance, S1: dB, elevation: m, slope: degree}"
TUNED = (
    "model.name=galileo_nano",
    f"model.options={{pretrained: {FILE}, {_NAMES}, {_UNITS}, patch: 4, window: 8, margin: 0, month: 6, width: 64}}",
    "data.crop=32",
    "data.crops_per_patch=12",
    "train.batch_size=8",
    "train.epochs=12",
    "train.learning_rate=3e-4",
    "train.weight_decay=0.01",
    "train.schedule.name=cosine",
    "train.schedule.warmup_steps=20",
    "train.clip_norm=1.0",
)
TRAINED = MODELS | {"fine-tuned": TUNED}
COMMON = (
    f"data.target={RH95}",
    f"data.zero_is_nodata_in={MASK_BAND}",
    "data.unit=m",
    "runtime.device=cpu",
    "train.precision=fp32",
    "runtime.threads=1",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
    "train.members=1",
    "eval.baselines=[]",
)
SIMPLE, BASE = "forest, S2", "forest, all layers"

Shots = tuple[np.ndarray, np.ndarray | None]  # mean (n,) and deviation (n,) at the shots of a tile, m


def files(tile: str) -> tuple[Path, Path]:
    """Input and label file of a tile."""
    return DATA / f"X_tile_tile_{tile}.npy", DATA / f"y_tile_tile_{tile}.npy"


@cache
def load(tile: str, layers: str = "S2") -> Tile:
    """Read a tile, empty pixels missing."""
    image, label = (np.load(file, allow_pickle=False) for file in files(tile))
    empty, target = image[MASK_BAND] == 0, label[RH95].copy()
    image = image[list(READ[layers])]
    image[:, empty], target[empty] = np.nan, np.nan
    return Tile(image, target)


@cache
def columns(tile: str, kind: str) -> np.ndarray:
    """Features (n, F) of the shots of a tile: "S2" or "all layers" with their means, Galileo's, or both."""
    if kind in LAYERS:
        one = load(tile, kind)
        maps = [one.image, *(square_mean(one.image, size) for size in SQUARES)]
        return np.concatenate([m[:, one.labelled] for m in maps]).T
    first, _, rest = kind.partition(" and ")
    found = galileo(np.load(files(tile)[0], allow_pickle=False), load(tile).labelled, first)
    return np.concatenate([found, columns(tile, rest)], axis=1) if rest else found


def ridge(train: list[str], test: str, kind: str, seed: int) -> Shots:
    """The zoo's ridge; its penalty is chosen on tiles left out."""
    x, y, tile = (np.concatenate(part) for part in zip(*(_rows(t, kind, i) for i, t in enumerate(train))))
    fit = fit_ridge(x, y[:, None].astype(float), tile)
    return fit.predict(columns(test, kind))[:, 0], np.full(load(test).heights.shape, fit.residual)


def trees(train: list[str], test: str, kind: str, seed: int) -> Shots:
    """The forest of the zoo on features that it does not compute itself; its size is that of the model ``forest``."""
    fit = _grown(tuple(train), kind, seed)
    return fit.predict(columns(test, kind))[:, 0], np.full(load(test).heights.shape, fit.residual)


@cache
def _grown(train: tuple[str, ...], kind: str, seed: int) -> Forest:
    x, y, tile = (np.concatenate(part) for part in zip(*(_rows(t, kind, i) for i, t in enumerate(train))))
    return grow_forest(x, y[:, None].astype(float), tile * 5 // len(train), False, size=(300, 3), seed=seed)


def mean(train: list[str], test: str, kind: str, seed: int) -> Shots:
    """Mean and deviation of the training shots."""
    heights = np.concatenate([load(tile).heights for tile in train])
    return (np.full(load(test).heights.shape, v) for v in (heights.mean(), heights.std()))


def _rows(tile: str, kind: str, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = columns(tile, kind)
    return x, load(tile).heights, np.full(len(x), number)


def trained(model: str, layers: str, held_out: str, seed: int) -> Path:
    """Train one registered model without the row ``held_out``, or find that it was done; return its run."""
    place = WORK / model.replace(" ", "_") / layers.replace(" ", "_") / held_out.replace(" ", "_") / f"seed_{seed}"
    rest = [tile for row, tiles in ROWS.items() if row != held_out for tile in tiles]
    val = rest[seed * 5 % len(rest)] if model in ("context_net", "fine-tuned") else ""
    for tile in TILES:
        if tile in ROWS[held_out]:
            continue
        split = "val" if tile == val else "train"
        for kind, file in zip(("input", "label"), files(tile), strict=True):
            link = place / "data" / kind / split / f"tile_{tile}.npy"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file)
    chosen = (f"data.bands={list(READ[layers])}", f"runtime.data_dir={place / 'data'}", f"train.seed={seed}")
    settings = load_settings(GediSettings, None, [*COMMON, *chosen, *TRAINED[model]])
    registry = Registry.discover()
    run = Run.create(place / "run", "gedi_sparse", settings)
    done = place / "done"
    if not done.exists():
        print(f"training {place.relative_to(WORK)}", flush=True)
        registry.get("task", "gedi_sparse")(settings, registry).train(run)
        done.touch()
    return run.path


def network(model: str, layers: str) -> dict[str, list[Shots]]:
    """Predictions at the shots of every tile, one per seed; kept beside the runs."""
    found: dict[str, list[Shots]] = {tile: [] for tile in TILES}
    for row, tiles in ROWS.items():
        for seed in SEEDS:
            path = trained(model, layers, row, seed)
            kept = path.parent / "shots.npz"
            if not kept.exists():
                run = eozoo.load_run(path, "runtime.threads=1")
                made = {}
                for tile in tiles:
                    one = load(tile, layers)
                    out = run.predict({"image": one.image})
                    made[tile] = np.stack([out[name][one.labelled] for name in ("mean", "std")]).astype(np.float64)
                np.savez(kept, **made)
            with np.load(kept, allow_pickle=False) as made:
                for tile in tiles:
                    found[tile].append(tuple(made[tile]))
    return found


def simple(predict: Callable[..., Shots], kind: str, seeds: tuple[int, ...] = (0,)) -> dict[str, list[Shots]]:
    """The same of a predictor that is no run."""
    rest = {row: [t for other, tiles in ROWS.items() if other != row for t in tiles] for row in ROWS}
    return {t: [tuple(predict(rest[row], t, kind, s)) for s in seeds] for row, ts in ROWS.items() for t in ts}


def mixture(found: dict[str, list[Shots]]) -> dict[str, list[Shots]]:
    """Mean of means; variance = mean of variances + variance of means."""
    mixed = {}
    for tile, shots in found.items():
        means, stds = (np.array([s[i] for s in shots]) for i in (0, 1))
        mixed[tile] = [(means.mean(axis=0), np.sqrt((stds**2).mean(axis=0) + means.var(axis=0)))]
    return mixed


def stacked(*rows: dict[str, list[Shots]]) -> dict[str, list[Shots]]:
    """The plain mean of predictions, each the mean of its seeds."""
    return {t: [(np.mean([np.mean([s[0] for s in row[t]], axis=0) for row in rows], axis=0), None)] for t in TILES}


def measure() -> dict[str, dict[str, list[Shots]]]:
    """All rows of the table."""
    found = {"training mean": simple(mean, "S2")}
    for layers in LAYERS:
        found[f"ridge, {layers}"] = simple(ridge, layers)
        for model in MODELS:
            found[f"{model}, {layers}"] = network(model, layers)
        found[f"context_net mixture, {layers}"] = mixture(found[f"context_net, {layers}"])
    for kind in ("galileo", "galileo and all layers", "random", "random and all layers", "january"):
        found[f"forest, {kind}"] = simple(trees, kind, SEEDS)
        if kind != "january":
            found[f"ridge, {kind}"] = simple(ridge, kind)
    found["fine-tuned, galileo"] = network("fine-tuned", "galileo")
    found["fine-tuned mixture, galileo"] = mixture(found["fine-tuned, galileo"])
    layers = [found[f"{name}, all layers"] for name in ("forest", "ridge", "context_net mixture")]
    found["stack of all layers"] = stacked(*layers)
    given = [found[f"{name}, galileo and all layers"] for name in ("forest", "ridge")]
    found["stack with galileo"] = stacked(layers[0], *given, layers[2])
    return found


def scores(found: dict[str, list[Shots]]) -> dict:
    """Scores of one row of the table, per tile and over all."""
    heights = {tile: load(tile).heights.astype(float) for tile in TILES}
    seeds = range(len(found[TILES[0]]))

    def of(tiles: tuple[str, ...], seed: int) -> dict[str, float]:
        metrics = RegressionMetrics()
        for tile in tiles:
            metrics.update(found[tile][seed][0], heights[tile], std=found[tile][seed][1])
        return {k: float(v) for k, v in metrics.compute().items() if k in ("rmse", "mae", "bias", "r2", "gaussian_nll")}

    def averaged(tiles: tuple[str, ...]) -> dict[str, float]:
        every = [of(tiles, seed) for seed in seeds]
        return {k: float(np.mean([one[k] for one in every])) for k in every[0] if np.isfinite(every[0][k])}

    tiles = {tile: averaged((tile,))["rmse"] for tile in TILES}
    made = {
        "seeds": len(seeds),
        "rmse": float(np.mean(list(tiles.values()))),
        "pooled": averaged(TILES),
        "tiles": tiles,
    }
    made["rows"] = {row: float(np.mean([tiles[t] for t in members])) for row, members in ROWS.items()}
    if found[TILES[0]][0][1] is not None:
        z = np.concatenate([np.abs(s[0] - heights[t]) / s[1] for t in TILES for s in found[t]])
        made |= {"within_one": float((z <= 1).mean()), "within_two": float((z <= 2).mean())}
    return made


def difference(a: dict, b: dict) -> dict[str, float]:
    """Mean over tiles of the paired difference of RMSE (m), with a 95 % interval of Student's t over the tiles."""
    from scipy.stats import t

    d = np.array([a["tiles"][tile] - b["tiles"][tile] for tile in TILES])
    half = float(t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))
    return {"mean": float(d.mean()), "low": d.mean() - half, "high": d.mean() + half, "better": int((d < 0).sum())}


CANDIDATES = ("forest", "quantile forest", "context_net mixture")


def choose(table: dict[str, dict], rows: tuple[str, ...]) -> str:
    """The model of the preset by the protocol's rule, judged on some rows of tiles."""
    tiles = [t for row in rows for t in ROWS[row]]
    judged = {n: float(np.mean([table[f"{n}, {k}"]["tiles"][t] for k in LAYERS for t in tiles])) for n in CANDIDATES}
    near = [name for name in CANDIDATES if judged[name] <= min(judged.values()) + 0.02]
    return min(near, key=lambda n: np.mean([table[f"{n}, {k}"]["pooled"]["gaussian_nll"] for k in LAYERS]))


def summarise(found: dict[str, dict[str, list[Shots]]]) -> dict:
    """The table, the differences, and what the protocol chooses."""
    table = {name: scores(row) for name, row in found.items()}
    pairs = [(name, SIMPLE) for name in table if name != SIMPLE]
    pairs += [(name, BASE) for name in table if "galileo" in name or "random" in name or "january" in name]
    chosen = {row: choose(table, tuple(other for other in ROWS if other != row)) for row in ROWS}
    nested = [table[f"{chosen[row]}, {kind}"]["rows"][row] for row in ROWS for kind in LAYERS]
    return {
        "shots": {tile: int(load(tile).heights.size) for tile in TILES},
        "rows": table,
        "rmse_differences": {f"{a} - {b}": difference(table[a], table[b]) for a, b in pairs},
        "preset": choose(table, tuple(ROWS)),
        "chosen_without": chosen,
        "rmse_of_choosing": float(np.mean(nested)),
    }


def main() -> None:
    """Measure and write the JSON. With "models" train the registered models alone."""
    if not DATA.is_dir():
        raise ZooError(f"{DATA}: holds no tiles; put them there or set EOZOO_DATA to the folder above gedi_sparse/")
    if sys.argv[1:] == ["models"]:
        for model in MODELS:
            for layers in LAYERS:
                row = scores(network(model, layers))
                print(f"{row['rmse']:6.2f} m RMSE  {model}, {layers}", flush=True)
        return
    result = {"data": fingerprint([f for tile in TILES for f in files(tile)], DATA), **summarise(measure())}
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    for name, row in sorted(result["rows"].items(), key=lambda one: one[1]["rmse"]):
        print(f"{row['rmse']:6.2f} m RMSE  {name}")
    print(f"preset few_shots: {result['preset']}")


if __name__ == "__main__":
    main()
