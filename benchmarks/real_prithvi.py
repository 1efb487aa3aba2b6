"""Refinement on real Sentinel-2 tiles: leave places out, the model beside its input and simple refiners.

``python -m benchmarks.real_prithvi [DATA]`` (default ../shared/data/prithvi_refine) writes
benchmarks/results/real_prithvi.json and two pictures for the docs, in one process and one thread. The protocol stands
in docs/real_data_prithvi.md.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.tools import markdown_table

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data" / "prithvi_refine"
PICTURES = REPOSITORY / "docs" / "images"
RESULT = REPOSITORY / "benchmarks" / "results" / "real_prithvi.json"
CUBE = "worldcereal_monthly_belgium/worldcereal_preprocessed_inputs.nc"
SEEDS, FOLDS, SEASON_SEEDS = 2, 5, 5
PER_PLACE = 24  # training samples of each place and epoch, by repeating its tiles: no place outweighs another
DRAWS = 4  # degradations of each held-out tile that are scored
MOST = 4  # tiles of a place that are looked at, spread over its dates
# The places on which the recipe below was chosen; at the other five nothing was looked at before the final run.
DEVELOPMENT = ("349_76", "169_351", "312_77", "218_-36", "281_18")
METRICS = ("ndvi_rmse", "evi_rmse", "sam", "l1", "edge_l1", "psnr", "ssim", "identity_l1", "identity_edge_l1")
# Biome of each source after Dinerstein et al. 2017: temperate broadleaf forest everywhere but boreal Finland,
# Mediterranean Portugal and the Thar desert margin of Punjab.
BIOMES = {"S2B_MSIL2A_20170924T93021_41_29": 6, "S2A_MSIL2A_20180510T94033_19_86": 6, "20171221T112501": 12, "s2a": 13}
COMMON = (
    "model.num_convnext_blocks=2",
    "model.head_width=16",
    "data.tile_size=64",
    "train.steps=500",
    "train.epochs=null",
    "train.batch_size=4",
    "train.accumulate=1",
    "train.precision=fp32",
    "train.learning_rate=0.001",
    "train.schedule.warmup_steps=20",
    "train.target_weight=5",
    "train.target_loss.options={edge: 3}",
    "train.validate_every=1000",
    "train.checkpoint_every=null",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
    "runtime.device=cpu",
    "runtime.threads=1",
    "eval.panels=4",
)
SEASON = ("data.tile_size=48", "train.steps=300", "train.learning_rate=0.002")
# Without pretrained weights there is nothing to preserve: the small Prithvi is trained whole.
PLAIN = ("model.quantization=none", "model.use_lora=false", "model.freeze_base=false")
MODELS = {
    "prithvi": ("model.encoder=prithvi_eo_nano", *PLAIN),
    "convnext": ("model.encoder=none", *PLAIN),
}


def main() -> None:
    """Prepare, train, score, write."""
    from benchmarks.real_prithvi_bound import bound

    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not data.is_dir():
        sys.exit(f"{data}: no such folder; give the folder of the real data")
    started, computed = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="real_prithvi_") as folder:
        work = Path(folder)
        tiles = prepare(data, work)
        result = {"places": {p: len(f) for p, f in tiles.items()}, "bound": bound(tiles, METRICS[:7])}
        result["restore"] = restore(tiles, work)
        result["seasons"] = seasons(data, work)
    result["minutes"] = round((time.monotonic() - started) / 60, 1)
    result["cpu_minutes"] = round((time.process_time() - computed) / 60, 1)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["restore"]["mean"], indent=1), json.dumps(result["seasons"], indent=1), RESULT)


def prepare(data: Path, work: Path) -> dict[str, list[Path]]:
    """Cut all products into tiles; return place -> its tiles."""
    from eozoo_core.settings.config import load_settings
    from eozoo_prithvi_refine.settings import PrithviSettings
    from eozoo_prithvi_refine.task import PrithviRefine

    source = work / "products"
    write_cube(data / CUBE, source / "belgium" / "belgium.tif")
    shutil.copytree(data / "ssl4eo_s12" / "s2a", source / "s2a")
    shutil.copytree(data / "bigearthnet_s2", source / "ben")
    overrides = [
        f"prepare.source={source}",
        f"runtime.data_dir={work / 'tiles'}",
        "prepare.biome=4",
        "prepare.cloud_blue=null",
        "prepare.fractions=[1.0,0,0]",
        "prepare.offset=0",  # of 2017 to 2021; the Belgian composites do not say it
    ]
    PrithviRefine(load_settings(PrithviSettings, None, overrides)).prepare("tiles")
    places: dict[str, list[Path]] = {}
    for file in sorted((work / "tiles" / "train").glob("*.npz")):
        biome = next((code for part, code in BIOMES.items() if part in file.name), 4)
        meta = json.loads(file.with_suffix(".json").read_text())
        set_biome(file, biome)
        places.setdefault(meta["place"], []).append(file)
    chosen = {p: np.linspace(0, len(f) - 1, min(len(f), MOST)).astype(int) for p, f in places.items()}
    return {p: [places[p][i] for i in chosen[p]] for p in sorted(places)}


def set_biome(file: Path, biome: int) -> None:
    """Rewrite the biome code of a tile."""
    from eozoo_prithvi_refine.tile_files import read_npz, read_sidecar, write_npz

    write_npz(file, read_npz(file) | {"biome_code": np.int64(biome)}, read_sidecar(file) | {"biome_code": biome})


def write_cube(cube: Path, path: Path) -> None:
    """Write the monthly Belgian cube as a GeoTIFF whose bands are called B02_20201101 and so on."""
    import h5py
    import rasterio

    names = ("B02", "B03", "B04", "B08")
    with h5py.File(cube) as file:
        days = np.datetime64("1990-01-01") + file["t"][:].astype("timedelta64[D]")
        x, y = file["x"][:], file["y"][:]
        bands = {(b, str(d).replace("-", "")): file[f"S2-L2A-{b}"][i] for b in names for i, d in enumerate(days)}
    kept = {key: values for key, values in bands.items() if (values >= 0).any()}
    path.parent.mkdir(parents=True)
    step = float(x[1] - x[0])
    profile = {"driver": "GTiff", "dtype": "int16", "count": len(kept), "height": len(y), "width": len(x), "nodata": -1}
    flip = slice(None, None, -1 if y[1] > y[0] else 1)
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(step, 0, x[0] - step / 2, 0, -step, y.max() + step / 2)}
    with rasterio.open(path, "w", **profile, **place) as out:
        out.write(np.stack([values[flip] for values in kept.values()]))
        out.descriptions = [f"{band}_{day}" for band, day in kept]


def restore(tiles: dict[str, list[Path]], work: Path) -> dict:
    """Undo the documented degradation at places never seen: every place is held out once per seed."""
    scores: dict[str, dict[str, list[dict[str, float]]]] = {}
    for seed, fold in product(range(SEEDS), range(FOLDS)):
        for place, by_name in _fold(tiles, work, seed, fold).items():
            for name, values in by_name.items():
                scores.setdefault(place, {}).setdefault(name, []).append(values)
    return summarise(scores)


def _fold(tiles: dict[str, list[Path]], work: Path, seed: int, fold: int) -> dict[str, dict[str, dict[str, float]]]:
    """Train all models without the places of one fold; return place -> predictor -> scores of that fold."""
    order = [list(tiles)[i] for i in np.random.default_rng(100 + seed).permutation(len(tiles))]
    held, others = order[fold::FOLDS], [p for i, p in enumerate(order) if i % FOLDS != fold]
    parts = {"test": held, "val": others[:1], "train": others[1:]}
    data_dir = layout(tiles, parts, work / f"fold_{seed}_{fold}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model, options in MODELS.items():
        run = train(work / f"run_{seed}_{fold}_{model}", data_dir, seed, options)
        evaluate(run, data_dir)
        groups_file = json.loads((run / "eval_test" / "groups.json").read_text())
        for place in parts["test"]:
            scores = groups_file[f"place {place}"]
            kept = found.setdefault(place, {})
            kept |= {model: scores["model"]} | {n: v for n, v in scores.items() if n != "model"}
        if seed == fold == 0 and model == "prithvi":
            _picture(run, "prithvi_refine_restored.png")
    print(f"seed {seed}, fold {fold} done", flush=True)
    return found


def summarise(scores: dict) -> dict:
    """Average seeds within a place, then places; intervals by drawing places anew (10000 times)."""
    per_place = {
        place: {n: {m: float(np.mean([s[m] for s in runs])) for m in METRICS if m in runs[0]} for n, runs in by.items()}
        for place, by in scores.items()
    }
    names = list(next(iter(per_place.values())))
    untouched = {place: by for place, by in per_place.items() if place not in DEVELOPMENT}
    random = np.random.default_rng(0)
    draws = random.integers(len(per_place), size=(10000, len(per_place)))
    paired = {}
    for other in (n for n in names if n != "prithvi"):
        for metric in METRICS[:7]:
            gap = np.array([p["prithvi"][metric] - p[other][metric] for p in per_place.values()])
            low, high = np.percentile(gap[draws].mean(axis=1), [2.5, 97.5])
            paired.setdefault(other, {})[metric] = [round(float(v), 5) for v in (gap.mean(), low, high)]
    means = {"mean": _means(per_place, names), "untouched": _means(untouched, names)}
    return means | {"prithvi_minus": paired, "per_place": per_place}


def _means(per_place: dict, names: list[str]) -> dict[str, dict[str, float]]:
    """Average over places what all of them have."""
    found = {n: {m: [p[n][m] for p in per_place.values() if m in p[n]] for m in METRICS} for n in names}
    return {
        n: {m: round(float(np.mean(v)), 5) for m, v in by.items() if len(v) == len(per_place)}
        for n, by in found.items()
    }


def tables(result: dict) -> dict[str, str]:
    """Return the tables of the page, from the numbers of a run."""
    names = ["prithvi", "convnext", "input", "affine fit", "unsharp mask"]
    pairs = result["restore"]["prithvi_minus"]
    rows = [[m, *(between(pairs[n][m]) for n in names[1:])] for m in METRICS[:7]]
    told = ["model", "month told wrong", *names[2:]]
    return {
        "mean": _scores(result["restore"]["mean"], names, METRICS),
        "untouched": _scores(result["restore"]["untouched"], names, METRICS[:7]),
        "differences": markdown_table(["prithvi minus", *names[1:]], rows),
        "bound": _scores(result["bound"], list(result["bound"]), METRICS[:7]),
        "seasons": _scores(result["seasons"], told, METRICS),
    }


def _scores(found: dict[str, dict[str, float]], names: list[str], metrics: tuple[str, ...]) -> str:
    return markdown_table(["", *names], [[m, *(_cell(found[n], m) for n in names)] for m in metrics])


def between(values: list[float]) -> str:
    """Format a mean and its interval."""
    mean, *ends = (f"{v:+.4f}" for v in values)
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def _cell(values: dict[str, float], metric: str) -> str:
    return f"{values[metric]:.4f}" if metric in values else ""


def layout(tiles: dict[str, list[Path]], parts: dict[str, list[str]], folder: Path) -> Path:
    """Link the tiles of places into train/, val/ and test/; in train each place has PER_PLACE links, in test each tile
    DRAWS: a degradation belongs to a file name.
    """
    for split, places in parts.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for place in places:
            count = PER_PLACE if split == "train" else len(tiles[place]) * (DRAWS if split == "test" else 1)
            for i in range(count):
                file = tiles[place][i % len(tiles[place])]
                for each in (file, file.with_suffix(".json")):
                    link = folder / split / f"{i // len(tiles[place])}_{each.name}"
                    if not link.exists():
                        link.symlink_to(each)
    return folder


def train(path: Path, data_dir: Path, seed: int, options: tuple[str, ...]) -> Path:
    """Train one model on a layout."""
    from eozoo.registry import Registry
    from eozoo_core import Run
    from eozoo_core.settings.config import load_settings
    from eozoo_prithvi_refine.settings import PrithviSettings
    from eozoo_prithvi_refine.task import PrithviRefine

    overrides = [*COMMON, *options, f"train.seed={seed}", f"runtime.data_dir={data_dir}"]
    settings = load_settings(PrithviSettings, None, overrides)
    run = Run.create(path, "prithvi_refine", settings, "benchmark")
    PrithviRefine(settings, Registry.discover()).train(run)
    return path


def evaluate(run: Path, data_dir: Path, *overrides: str) -> dict[str, dict[str, float]]:
    """Score a run on the test split of a layout."""
    import eozoo

    return eozoo.load_run(run, f"runtime.data_dir={data_dir}", *overrides).evaluate("test")


def seasons(data: Path, work: Path) -> dict:
    """Bring a month into the next one told: pairs of the Belgian cube, the east of the scene held out.

    One place, two halves: an illustration of conditioning on the month, too little for an interval.
    """
    from eozoo_core.settings.config import load_settings
    from eozoo_prithvi_refine.settings import PrithviSettings
    from eozoo_prithvi_refine.task import PrithviRefine
    from eozoo_prithvi_refine.tile_files import read_npz, read_sidecar, write_npz

    source, data_dir, pairs = work / "cube", work / "season_tiles", work / "season_pairs"
    write_cube(data / CUBE, source / "belgium.tif")
    overrides = [f"prepare.source={source}", f"runtime.data_dir={data_dir}", f"runtime.stage1_dir={pairs}"]
    overrides += ["prepare.biome=4", "prepare.tile_size=50", "prepare.fractions=[1.0,0,0]", "prepare.offset=0"]
    task = PrithviRefine(load_settings(PrithviSettings, None, overrides))
    task.prepare("tiles")
    for file in sorted((data_dir / "train").glob("*.npz")):
        east, south = file.stem.endswith("_00050"), file.stem.split("_")[-2] == "00050"
        split = ("test" if south else "val") if east else "train"
        meta = read_sidecar(file) | {"place": f"belgium_{split}"}
        write_npz(data_dir / split / file.name, read_npz(file), meta)
        if split != "train":
            file.unlink()
            file.with_suffix(".json").unlink()
    task.prepare("season_pairs")
    other_months(data_dir, work / "wrong_months")
    scores: dict[str, list[dict[str, float]]] = {}
    for seed in range(SEASON_SEEDS):
        for name, values in _season(data_dir, pairs, work, seed).items():
            scores.setdefault(name, []).append(values)
    means = {n: {m: float(np.mean([s[m] for s in v])) for m in METRICS if m in v[0]} for n, v in scores.items()}
    return {n: {m: round(v, 5) for m, v in values.items()} for n, values in means.items()}


def _season(data_dir: Path, pairs: Path, work: Path, seed: int) -> dict[str, dict[str, float]]:
    options = (*MODELS["prithvi"], *SEASON, f"runtime.stage1_dir={pairs}")
    run = train(work / f"season_{seed}", data_dir, seed, options)
    wrong = evaluate(run, work / "wrong_months")["model"]
    found = evaluate(run, data_dir)
    if seed == 0:
        _picture(run, "prithvi_refine_seasons.png")
    return found | {"month told wrong": wrong}


def _picture(run: Path, name: str) -> None:
    """Keep the report's tiles for the docs, in 96 colours to stay small."""
    from PIL import Image

    Image.open(run / "eval_test" / "panels.png").convert("RGB").quantize(96).save(PICTURES / name, optimize=True)


def other_months(data_dir: Path, folder: Path) -> Path:
    """Copy the test tiles with the month half a year off."""
    from eozoo_prithvi_refine.tile_files import read_npz, write_npz

    for file in (data_dir / "test").glob("*.npz"):
        arrays = read_npz(file)
        write_npz(folder / "test" / file.name, arrays | {"month": (arrays["month"] + 5) % 12 + 1})
    return folder


if __name__ == "__main__":
    main()
