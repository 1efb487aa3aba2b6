"""gedi_sparse on real biomass: GEDI granules through ``prepare``, and an ensemble on blocks of one Texas chip.

    python -m benchmarks.real_gedi_biomass

The protocol is in docs/gedi_from_granules.md. Reads ../shared/data (or EOZOO_DATA), works under real/ and writes
benchmarks/results/real_gedi_biomass.json. A stopped call goes on where it was.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.settings.config import load_settings
from eozoo_gedi_sparse.prepare.extract import extract
from eozoo_gedi_sparse.prepare.patches import make_patches
from eozoo_gedi_sparse.prepare.settings import PatchesSettings, ShotsSettings, StackSettings
from eozoo_gedi_sparse.prepare.stack import make_stack
from eozoo_gedi_sparse.settings import GediSettings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EOZOO_DATA", ROOT.parent / "shared" / "data")) / "gedi_sparse"
WORK, RESULT = ROOT / "real" / "biomass", ROOT / "benchmarks" / "results" / "real_gedi_biomass.json"
GRANULES = {
    "L4A": ("GEDI04_A_2020036151358_O06515_02_T00198_02_002_01_V002.zip", {}),
    "L2A": ("GEDI02_A_2019108080338_O01964_T05337_02_001_01_sub.zip", {"min_sensitivity": 0.95, "power_beams": True}),
}
BANDS = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
SEEDS = tuple(range(5))
# Fixed before the first training: a narrow network, few steps, because 170 labels carry no more.
TRAINING = (
    "data.unit=Mg/ha",
    "model.options.width=8",
    "train.members=5",
    "train.epochs=40",
    "train.batch_size=8",
    "data.crop=20",
    "runtime.device=cpu",
    "train.precision=fp32",
    "runtime.threads=1",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
)
# Why ridge is better than the networks: single ones, chosen after the scores of the ensemble were known.
_CONTEXT = ("model.name=context_net", "train.members=1", "data.crops_per_patch=12", "train.epochs=15")
_OPTIONS = "model.options={squares: []}"
VARIANTS = {
    "U-Net, 40 steps": ("train.members=1",),
    "U-Net, 200 steps": ("train.members=1", "train.epochs=200"),
    "context_net": (*_CONTEXT, "model.options={}"),
    "context_net, pixel": (*_CONTEXT, "model.options={sizes: []}"),
    "quantile forest, pixel": ("model.name=quantile_forest", _OPTIONS, "train.members=1", "train.epochs=1"),
}


def granules(work: Path) -> dict[str, list[dict[str, str]]]:
    """Filter tables of the two granules: rows with filter, before, removed, left, removes_alone."""
    tables = {}
    for name, (file, filters) in GRANULES.items():
        extract(ShotsSettings(source=DATA / "gedi_h5" / file, dest=work / name, filters=filters))
        with (work / name / "filters.csv").open() as table:
            tables[name] = list(csv.DictReader(table))
    return tables


def cut(work: Path, seed: int) -> Path:
    """Blocks of 20 px (600 m) of the chip with 2 px between them, drawn for train, val and test by ``seed``."""
    chip = DATA / "texas_hls_gedi_agbd"
    layer = {"source": chip / "regression_test_0_input.tif", "bands": tuple(range(1, 8)), "names": BANDS}
    make_stack(StackSettings(layers=[layer], dest=work / "stack.tif"))
    dest = work / f"patches_{seed}"
    more = {"size": 20, "gap": 2, "seed": seed, "shares": {"train": 0.6, "val": 0.2, "test": 0.2}}
    labels = chip / "regression_test_0_label.tif"
    make_patches(PatchesSettings(stack=work / "stack.tif", labels=labels, label_nodata=-1, dest=dest, **more))
    return dest


def train(work: Path, patches: Path, seed: int, changes: tuple[str, ...] = ()) -> dict:
    """Train one ensemble and return its scores on the test blocks, and what is known of its uncertainty."""
    paths = (f"runtime.data_dir={patches}",)
    settings = load_settings(GediSettings, None, [*TRAINING, *paths, f"train.seed={seed}", *changes])
    registry = Registry.discover()
    run = Run.create(work / f"run_{seed}", "gedi_sparse", settings)
    if not (run.path / "eval_test.json").exists():
        registry.get("task", "gedi_sparse")(settings, registry).train(run)
    scores = json.loads((run.path / "eval_test.json").read_text())["scores"]
    found = run.path / "eval_test" / "uncertainty.json"  # of ensembles alone
    return {"scores": scores, "uncertainty": json.loads(found.read_text()) if found.exists() else {}}


def summarise(runs: list[dict]) -> dict:
    """Mean over seeds of every predictor's scores; the members' mean stands as one row."""
    rows: dict[str, dict[str, float]] = {}
    for name in ("model", "member", "ridge", "training mean"):
        metrics = ("rmse", "mae", "bias", "r2", "gaussian_nll")
        chosen = [[v for k, v in run["scores"].items() if k.startswith(name)] for run in runs]
        rows[name] = {m: float(np.mean([np.mean([v[m] for v in one]) for one in chosen])) for m in metrics}
    better = [
        run["scores"]["model"]["rmse"] < np.mean([v["rmse"] for k, v in run["scores"].items() if "member" in k])
        for run in runs
    ]
    calibration = {}
    for key in ("model", "scaled"):
        found = [run["uncertainty"][key] for run in runs if run["uncertainty"][key]]
        if found:
            ninety = [next(c["observed"] for c in f["coverage"] if c["expected"] == 0.9) for f in found]
            calibration[key] = {"seeds": len(found), "coverage_90": float(np.mean(ninety))}
            calibration[key] |= {k: float(np.mean([f[k] for f in found])) for k in ("crps", "mean_squared_z")}
    labels = [int(run["scores"]["model"]["n"]) for run in runs]
    return {
        "rows": rows,
        "seeds_ensemble_better": int(sum(better)),
        "calibration": calibration,
        "labels": labels,
        "per_seed": [
            {name: run["scores"][name]["rmse"] for name in ("model", "ridge", "training mean")} for run in runs
        ],
    }


def correlation(patches: Path, split: str) -> float:
    """Correlation of the band swir2 with biomass over the labels of a split."""
    pairs = []
    for file in sorted((patches / "label" / split).iterdir()):
        label = np.load(file)[0]
        there = np.isfinite(label)
        pairs.append(np.stack([np.load(patches / "input" / split / file.name)[-1][there], label[there]]))
    return float(np.corrcoef(np.concatenate(pairs, axis=1))[0, 1])


def why(work: Path) -> dict:
    """RMSE per seed of the variants and of what stands beside the first, and what one band says in train and test."""
    rows: dict[str, list[float]] = {}
    for name, changes in VARIANTS.items():
        place = work / name.lower().replace(",", "").replace(" ", "_")
        runs = [train(place, work / f"patches_{seed}", seed, changes)["scores"] for seed in SEEDS]
        beside = ("training mean", "ridge", "forest") if not rows else ()
        rows |= {n: [run[n]["rmse"] for run in runs] for n in beside}
        rows[name] = [run["model"]["rmse"] for run in runs]
    kept = {s: [correlation(work / f"patches_{seed}", s) for seed in SEEDS] for s in ("train", "test")}
    return {"rmse": rows, "correlation_swir2": kept}


def main() -> None:
    """Run everything and write the JSON."""
    if not DATA.is_dir():
        raise ZooError(f"{DATA}: holds no data; put it there or set EOZOO_DATA to the folder above gedi_sparse/")
    runs = [train(WORK / "texas", cut(WORK / "texas", seed), seed) for seed in SEEDS]
    result = {"granules": granules(WORK / "granules"), "texas": summarise(runs), "texas_why": why(WORK / "texas")}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(json.dumps(result["texas"], indent=1))


if __name__ == "__main__":
    main()
