"""Presto on two of its paper's evaluation sets, through the zoo's own task and with scikit-learn on frozen features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.run.written import write_table
from eozoo_core.settings.config import load_settings
from eozoo_pretrained.plugin import BANDS
from eozoo_pretrained.presto_columns import SCALES, presto
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

SEEDS = (0, 1, 2)
_B9 = 10  # of the 18 bands as stored; Presto does not take it
PUBLISHED = {"fuel_moisture": {"fine-tuned": "25.28"}, "algae_blooms": {"fine-tuned": "0.815"}}  # arXiv 2304.14065
TRAINING = (
    "data.target=target",
    "data.unit=1",
    'data.features=["*_*",lat,lon]',
    "data.split.column=split",
    "model.encoder.name=presto",
    "model.name=linear",
    "model.loss.name=huber",
    "train.epochs=40",
    "train.epoch_steps=null",
    "train.batch_size=64",
    "train.learning_rate=3e-4",
    "train.weight_decay=0.05",
    "train.clip_norm=null",
    "train.schedule.name=constant",
    "runtime.device=cpu",
    "train.precision=fp32",
    "runtime.threads=1",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
)


def presto_scores(data: Path, weights: Path, work: Path) -> dict[str, Any]:
    """Return the RMSE on the test sites of every row of the protocol, with its spread over seeds."""
    found = {name: np.load(data / f"{name}.npy", allow_pickle=False) for name in
             ("s1_s2_era5_srtm", "dynamic_world", "month", "latlon", "target", "is_test")}  # fmt: skip
    errors: dict[str, list[float]] = {}
    for seed in SEEDS:
        table = write_rows(found, validation(data, found, seed), work / f"table_{seed}.csv")
        for row, pretrained in (("fine-tuned", str(weights)), ("from random weights, trained", None)):
            scores = train(table, work / f"{row.split()[0].strip(',')}_{seed}", seed, pretrained)
            errors.setdefault(row, []).append(scores["model"]["rmse"])
        if seed == 0:
            errors |= {name: [scores[name]["rmse"]] for name in scores if name != "model"}
        for row, value in frozen(found, weights, seed).items():
            errors.setdefault(row, []).append(value)
    digits = 2 if data.name == "fuel_moisture" else 3
    published = PUBLISHED[data.name]
    rows = [{"row": row, "published": published.get(row), "rmse": float(np.mean(values)),
             "spread": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, "seeds": len(values),
             "each": [float(v) for v in values]} for row, values in errors.items()]  # fmt: skip
    return {"rows": rows, "digits": digits, "test": int(found["is_test"].sum()), "all": len(found["target"])}


def validation(data: Path, found: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Which rows (N,) choose the epoch: eight training sites by chance; of algae those of the north-west."""
    if (data / "site.npy").exists():
        sites = np.load(data / "site.npy", allow_pickle=False)
        training = np.unique(sites[found["is_test"] == 0])
        return np.isin(sites, np.random.default_rng(seed).choice(training, 8, replace=False))
    lat, lon = found["latlon"].T
    return (lat > 42.5) & (lon < -92.5)


def write_rows(found: dict[str, np.ndarray], chosen: np.ndarray, path: Path) -> Path:
    """Write the samples as a table: BAND_MONTH with its unit, class, month (1..12), place, target and split."""
    bands = np.delete(found["s1_s2_era5_srtm"], _B9, axis=2)
    columns: dict[str, np.ndarray] = {}
    for t in range(bands.shape[1]):
        columns |= {f"{band}_{t} [{SCALES[band][0]}]": bands[:, t, k] for k, band in enumerate(BANDS)}
        columns |= {f"dynamic_world_{t}": found["dynamic_world"][:, t], f"month_{t}": found["month"][:, t] + 1}
    columns |= {"lat": found["latlon"][:, 0], "lon": found["latlon"][:, 1], "target": found["target"]}
    columns["split"] = np.where(found["is_test"] == 1, "test", np.where(chosen, "val", "train"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_table(path, list(columns), zip(*(column.tolist() for column in columns.values()), strict=True))


def train(table: Path, folder: Path, seed: int, pretrained: str | None) -> dict[str, Any]:
    """Train ``scalar_regression`` with Presto inside, unless it is there, and return its scores on the test split."""
    options = json.dumps({"pretrained": pretrained})
    changes = [*TRAINING, f"runtime.table={table}", f"train.seed={seed}", f"model.encoder.options={options}"]
    registry = Registry.discover()
    task = registry.get("task", "scalar_regression")
    settings = load_settings(task.Settings, None, changes)
    run = Run.create(folder, "scalar_regression", settings)
    if not (run.path / "eval_test.json").exists():
        task(settings, registry).train(run)
    return json.loads((run.path / "eval_test.json").read_text())["scores"]


def frozen(found: dict[str, np.ndarray], weights: Path, seed: int) -> dict[str, float]:
    """Linear regression and a forest of scikit-learn's defaults on frozen features, and on those of random weights."""
    errors = {}
    for name, pretrained in (("frozen", weights), ("random weights, frozen", None)):
        torch.manual_seed(seed)
        features = encode(presto(pretrained=pretrained).eval().encoder, found)
        for kind, model in (
            ("linear regression", LinearRegression()),
            ("forest", RandomForestRegressor(random_state=seed)),
        ):
            errors[f"{name}, {kind}"] = error_of(model, features, found)
    raw = np.delete(found["s1_s2_era5_srtm"], _B9, axis=2).reshape(len(features), -1)
    raw = np.concatenate([raw, found["latlon"]], axis=1)
    errors["bands and place, forest"] = error_of(RandomForestRegressor(random_state=seed), raw, found)
    errors["bands and place, linear regression"] = error_of(LinearRegression(), raw, found)
    return errors


def encode(encoder: torch.nn.Module, found: dict[str, np.ndarray]) -> np.ndarray:
    """Features (N, 128) of all samples; nothing is masked."""
    bands = np.delete(found["s1_s2_era5_srtm"], _B9, axis=2)
    shift, divide = (np.array([SCALES[band][k] for band in BANDS]) for k in (1, 2))
    x = torch.from_numpy((bands + shift) / divide).float()
    cover, month = (torch.from_numpy(found[name]).long() for name in ("dynamic_world", "month"))
    place = torch.from_numpy(found["latlon"]).float()
    with torch.inference_mode():
        return encoder(x, cover, place, month, torch.zeros(x.shape, dtype=torch.bool)).numpy()


def error_of(model: Any, features: np.ndarray, found: dict[str, np.ndarray]) -> float:
    """Fit on all rows that are not test, as the published code does, and return the RMSE on the test rows."""
    test = found["is_test"] == 1
    model.fit(features[~test], found["target"][~test])
    return float(np.sqrt(np.mean((model.predict(features[test]) - found["target"][test]) ** 2)))
