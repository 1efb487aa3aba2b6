"""gedi_sparse on real data: leave one of eight tiles out, five seeds, beside simple predictors.

    make real        (or: python -m benchmarks.real_gedi)

The protocol is in docs/real_data_gedi.md. Trainings are kept under real/ and not repeated; a stopped one goes on where
it was. Writes benchmarks/results/real_gedi.json and docs/images/real_gedi.png.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import eozoo
import numpy as np
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.settings.config import load_settings
from eozoo_gedi_sparse.settings import DOCUMENTED, GediSettings

from benchmarks.real_gedi_tiles import (
    BANDS,
    DATA,
    MASK_BAND,
    RH95,
    ROOT,
    SIMPLE,
    TILES,
    Shots,
    Tile,
    files,
    load,
    nearest_shots,
)

WORK = ROOT / "real"
RESULT = ROOT / "benchmarks" / "results" / "real_gedi.json"
SEEDS = tuple(range(5))
PICTURE, PICTURE_TILE = ROOT / "docs" / "images" / "real_gedi.png", 5
DEVELOPMENT = (1, 3, 4, 6)  # the tiles on which everything was chosen, before the others were looked at
MAIN, ENSEMBLE = "few shots", "few shots, mean of 5 seeds"

_INPUT = f"data.bands={list(BANDS)}", "data.band_names=null", f"data.zero_is_nodata_in={MASK_BAND}"
_COMMON = (
    *_INPUT,
    f"data.target={RH95}",
    "data.unit=m",
    "runtime.device=cpu",
    "runtime.threads=1",
    "train.members=1",
    "train.precision=fp32",
)
_QUIET = ("runtime.tensorboard=false", "runtime.quiet=true")


@dataclass(frozen=True)
class Network:
    """One row of the table that is trained by the plugin: a settings file, what is changed in it, and its seeds."""

    file: Path | None
    changes: tuple[str, ...]
    seeds: tuple[int, ...]

    def settings(self, folder: Path, seed: int) -> GediSettings:
        """Settings that train on the patches under ``folder``."""
        paths = (f"runtime.data_dir={folder}",)
        overrides = (*_COMMON, *_QUIET, *paths, f"train.seed={seed}", *self.changes)
        return load_settings(GediSettings, self.file, overrides)


# The preset few_shots until docs/real_data_gedi_17.md chose a forest.
CONTEXT_NET = (
    "model.name=context_net",
    "model.options={sizes: [3, 7, 15], hidden: 64, dropout: 0.3, noise: 0.5}",
    "data.crop=32",
    "data.crops_per_patch=12",
    "train.epochs=15",
    "train.batch_size=8",
)
# A U-Net of full width would take days of one core; 8 channels keep the same depth and schedule.
NETWORKS = {
    MAIN: Network(None, CONTEXT_NET, SEEDS),
    "U-Net, defaults": Network(None, ("model.options.width=8",), SEEDS[:1]),
    "U-Net, documented": Network(DOCUMENTED, ("model.options.width=8", "train.checkpoint_every=null"), SEEDS[:1]),
}


def validation_tile(held_out: int, seed: int, tiles: tuple[int, ...]) -> int:
    """The training tile whose loss chooses the epoch: another one for every seed."""
    training = [t for t in tiles if t != held_out]
    return training[(held_out + seed) % len(training)]


def lay_out(folder: Path, held_out: int, seed: int, tiles: tuple[int, ...]) -> None:
    """Link the tiles as folder/{input,label}/{train,val,test}/tile_N.npy, as the task reads them."""
    for number in tiles:
        val = number == validation_tile(held_out, seed, tiles)
        split = "test" if number == held_out else "val" if val else "train"
        for kind, file in zip(("input", "label"), files(number), strict=True):
            link = folder / kind / split / f"tile_{number}.npy"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file)


def home(work: Path, name: str) -> Path:
    """The folder of a row's runs."""
    return work / name.replace(", ", "_").replace(" ", "_")


def train(network: Network, work: Path, held_out: int, seed: int, tiles: tuple[int, ...]) -> Path:
    """Train one network with one tile held out, or find that it was done; return its run."""
    data, path = work / "data" / f"tile_{held_out}" / f"seed_{seed}", work / f"tile_{held_out}" / f"seed_{seed}"
    lay_out(data, held_out, seed, tiles)
    settings = network.settings(data, seed)
    registry = Registry.discover()
    run = Run.create(path, "gedi_sparse", settings)
    if not (path / "eval_test.json").exists():
        registry.get("task", "gedi_sparse")(settings, registry).train(run)
    return path


def predict(run: Path, tile: Tile) -> Shots:
    """Mean and standard deviation at the shots of a tile."""
    mean, std = predict_map(run, tile)
    return mean[tile.labelled], std[tile.labelled]


def predict_map(run: Path, tile: Tile) -> Shots:
    """Mean and standard deviation (H, W) of a tile."""
    out = eozoo.load_run(run, "runtime.threads=1").predict({"image": tile.image})
    return out["mean"].astype(np.float64), out["std"].astype(np.float64)


def ensemble(shots: list[Shots]) -> Shots:
    """The mixture of several predictions: mean of means; variance = mean of variances + variance of means."""
    means, stds = np.array([s[0] for s in shots]), np.array([s[1] for s in shots])
    return means.mean(axis=0), np.sqrt((stds**2).mean(axis=0) + means.var(axis=0))


def measure(
    work: Path, tiles: tuple[int, ...], networks: dict[str, Network], seeds: tuple[int, ...]
) -> dict[str, dict[int, list[Shots]]]:
    """Predict every tile by what was fitted on the others: row -> tile -> one prediction per seed."""
    loaded = {n: load(n) for n in tiles}
    found: dict[str, dict[int, list[Shots]]] = {}
    for name, simple in SIMPLE.items():
        drawn = seeds if "forest" in name or "trees" in name else seeds[:1]
        for n, tile in loaded.items():
            rest = [loaded[other] for other in tiles if other != n]
            found.setdefault(name, {})[n] = [simple(rest, tile, seed) for seed in drawn]
        _say(f"{name}: done")
    for name, network in networks.items():
        for n, tile in loaded.items():
            runs = []
            for seed in network.seeds:
                _say(f"{name}: tile {n} held out, seed {seed}")
                runs.append(train(network, home(work, name), n, seed, tiles))
            found.setdefault(name, {})[n] = [predict(run, tile) for run in runs]
            if name == MAIN:
                found.setdefault(ENSEMBLE, {})[n] = [ensemble(found[name][n])]
    return found


def summarise(found: dict[str, dict[int, list[Shots]]], tiles: tuple[int, ...]) -> dict:
    """Scores per row and tile (mean over seeds), their mean over tiles, and paired differences."""
    heights = {n: load(n).heights for n in tiles}
    rows = {name: _row(by_tile, heights) for name, by_tile in found.items()}
    pairs = [(a, b) for a in (MAIN, ENSEMBLE) if a in rows for b in rows if b not in (MAIN, ENSEMBLE)]
    if "U-Net, documented" in rows:
        pairs.append(("U-Net, defaults", "U-Net, documented"))
    return {
        "shots": {str(n): int(h.size) for n, h in heights.items()},
        "rows": rows,
        "rmse_differences": {f"{a} - {b}": _difference(rows[a], rows[b]) for a, b in pairs},
        "within_std": _within(found[ENSEMBLE], heights) if ENSEMBLE in found else None,
    }


def _row(by_tile: dict[int, list[Shots]], heights: dict[int, np.ndarray]) -> dict:
    per_tile = {str(n): _mean([_scores([s], [heights[n]]) for s in by_tile[n]]) for n in heights}
    seeds = range(len(next(iter(by_tile.values()))))
    pooled = _mean([_scores([by_tile[n][s] for n in heights], list(heights.values())) for s in seeds])
    clean = {n: v for n, v in per_tile.items() if int(n) not in DEVELOPMENT}
    return {
        "seeds": len(seeds),
        "tiles": per_tile,
        "mean": _mean(list(per_tile.values())),
        "pooled": pooled,
        "rmse_untouched_tiles": float(np.mean([v["rmse"] for v in clean.values()])) if clean else None,
    }


def _scores(shots: list[Shots], heights: list[np.ndarray]) -> dict[str, float]:
    metrics = RegressionMetrics()
    for (mean, std), target in zip(shots, heights, strict=True):
        metrics.update(mean, target, std=std)
    values = metrics.compute()
    names = ("rmse", "mae", "bias", "r2", "gaussian_nll")
    return {k: float(values[k]) for k in names if values.get(k) is not None and np.isfinite(values[k])}


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}


def _difference(a: dict, b: dict) -> dict[str, float]:
    """Mean over tiles of the paired difference of RMSE (m), with a 95 % interval of Student's t over the tiles."""
    from scipy.stats import t

    tiles = a["tiles"]
    d = np.array([tiles[n]["rmse"] - b["tiles"][n]["rmse"] for n in tiles])
    result = {"mean": float(d.mean()), "tiles_better": int((d < 0).sum()), "tiles": d.size}
    if d.size >= 6:  # fewer places carry no interval
        half = float(t.ppf(0.975, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size))
        result |= {"low": result["mean"] - half, "high": result["mean"] + half}
    return result


def _within(by_tile: dict[int, list[Shots]], heights: dict[int, np.ndarray]) -> dict[str, float]:
    """Share of all shots that lie within one and within two predicted standard deviations."""
    z = np.concatenate([abs(heights[n] - by_tile[n][0][0]) / by_tile[n][0][1] for n in heights])
    return {"one": float((z <= 1).mean()), "two": float((z <= 2).mean())}


def _say(text: str, begun: float = time.monotonic()) -> None:
    print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)


def picture(work: Path) -> None:
    """Draw the tile that the protocol names, and the shots of all tiles, from the runs of the network."""
    from benchmarks.real_gedi_picture import draw

    tiles = {n: load(n) for n in TILES}
    maps = {
        n: ensemble([predict_map(home(work, MAIN) / f"tile_{n}" / f"seed_{s}", tile) for s in SEEDS])
        for n, tile in tiles.items()
    }
    shots = [(maps[n][0][tile.labelled], maps[n][1][tile.labelled]) for n, tile in tiles.items()]
    heights = [tile.heights for tile in tiles.values()]
    draw(PICTURE, PICTURE_TILE, tiles[PICTURE_TILE], maps[PICTURE_TILE], shots, heights)


def main() -> None:
    if not DATA.is_dir():
        raise ZooError(f"{DATA}: holds no tiles; put them there or set EOZOO_DATA to the folder above gedi_sparse/")
    begun, cpu = time.monotonic(), time.process_time()
    found = measure(WORK, TILES, NETWORKS, SEEDS)
    result = {
        "data": fingerprint([f for n in TILES for f in files(n)], DATA),
        "development_tiles": list(DEVELOPMENT),
        "bands": list(BANDS),
        "nearest_shots": nearest_shots([load(n) for n in TILES]),
        **summarise(found, TILES),
        "wall_seconds_of_this_call": round(time.monotonic() - begun),
        "cpu_seconds_of_this_call": round(time.process_time() - cpu),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    picture(WORK)
    for name, row in result["rows"].items():
        print(f"{row['mean']['rmse']:6.2f} m RMSE  {name}")


if __name__ == "__main__":
    main()
