"""Does a frozen, really trained encoder help the refiner? Galileo's tokens in Prithvi's place.

``python -m benchmarks.real_prithvi_context [DATA] [WEIGHTS]`` (../shared/data/prithvi_refine and
../shared/weights/galileo_nano_encoder.pt) writes benchmarks/results/real_prithvi_context.json, anew after every
training.

The protocol, written before any training of the numbers that are given:

- **Places, tiles, degradation, losses, folds and scores** are those of real_prithvi.py (docs/real_data_prithvi.md): ten
  places, five pairs, each pair held out once by a model trained on seven others; four degradations of each held-out
  tile. Less than there: one drawing of the pairs, not two. (First it was 150 steps, on four of the folds and without
  the control: no measure was better in both sets of places. Then, with nothing else changed, it was set to the 500 of
  real_prithvi.py, all folds and the control, for one run whose numbers are those given.)
- **Arms**, the same but for ``model.context``, without Prithvi (``model.encoder=none``):
  ``convnext`` without any; ``galileo``: galileo_nano with its published weights, frozen; ``random``: the same network
  frozen at random weights, which tells what the training of the encoder is worth from what more channels are.
  Galileo sees the degraded input: B02, B03, B04, B08 and NDVI in patches of 8 px, 8 x 8 of them at once (``patch: 8,
  window: 8, margin: 0``, the patch of the small Prithvi); neither month nor place, which one option would say of all
  images alike. A linear map of its 128 features to the head's 16 channels is trained. None of it was tried
  before, but for a test of this script with models of two steps, whose scores were not looked at.
- **s2_world**: each model of a fold also restores the 16 places of s2_world, which no training sees: the middle 120 px
  of each under one degradation. Scores of a place are averaged over the five models before places are.
- **What the files of s2_world do not say**, by rule, here alone (the product asks):
  processing offset: 1000 is taken off where the 0.01st percentile of non-zero pixels of the darkest of B02, B03, B04,
  B08 is at least 900 (with the offset nothing darker is stored), else 0; chosen by the files' percentiles; month: July
  north of the equator, January south of it (the season in which most clear images are); the date is not needed: no
  encoder here takes it; biome: by hand from the coordinates (Dinerstein et al. 2017; of the open sea the
  nearest coast's).
- **Sensitivity**: the models of the first fold score s2_world again with the month half a year off, with no offset
  taken off anywhere, and with the offset taken off where the 0.1st percentile says so (the doubtful case).
- **Question and answer**: mean over places of galileo minus convnext, and galileo minus random, for each measure, with
  the 95 % interval of drawing places anew 10,000 times; the ten and the 16 apart. "Helps" is said of a measure whose
  interval leaves zero out on the right side in both sets; all seven measures are shown.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import real_prithvi as base
from benchmarks.tools import markdown_table

RESULT = base.REPOSITORY / "benchmarks" / "results" / "real_prithvi_context.json"
WEIGHTS = base.REPOSITORY.parent / "shared" / "weights" / "galileo_nano_encoder.pt"
STEPS = 500
PLAIN = (*base.PLAIN, "model.encoder=none", f"train.steps={STEPS}")
SEEN = "freeze: true, width: 0, patch: 8, window: 8, margin: 0"
BANDS = {"B02": 2, "B03": 3, "B04": 4, "B08": 8}  # number in the files of s2_world
BIOMES = {
    "33188": 13, "445": 11, "8845": 6, "252161": 13, "275979": 8, "286743": 4, "322265": 8, "526850": 13, "566084": 7,
    "58000": 13, "61808": 4, "70975": 12, "75123": 4, "752389": 12, "759128": 13, "766272": 7,
}  # fmt: skip
METRICS = base.METRICS[:7]


def main() -> None:
    """Prepare, train, score; write after every training. The control comes last."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else base.DATA
    weights = Path(sys.argv[2]) if len(sys.argv) > 2 else WEIGHTS
    for needed in (data / "s2_world", weights):
        if not needed.exists():
            sys.exit(f"{needed}: not there; give the folder of the real data and Galileo's weights")
    arms = {
        "convnext": PLAIN,
        "galileo": (*PLAIN, f"model.context={{name: galileo_nano, options: {{pretrained: {weights}, {SEEN}}}}}"),
        "random": (*PLAIN, f"model.context={{name: galileo_nano, options: {{{SEEN}}}}}"),
    }
    jobs = [(arm, fold) for fold in range(base.FOLDS) for arm in ("convnext", "galileo")]
    jobs += [("random", fold) for fold in range(base.FOLDS)]
    started, done = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="real_prithvi_context_") as folder:
        work = Path(folder)
        tiles, worlds = base.prepare(data, work), world_variants(data / "s2_world", work)
        layouts = [fold_data(tiles, work, fold) for fold in range(base.FOLDS)]
        for arm, fold in jobs:
            run = work / f"run_{arm}_{fold}"
            done[f"{arm} {fold}"], seconds = scores_of(run, layouts[fold], worlds, arms[arm], fold)
            print(f"{arm}, fold {fold}: {seconds:.0f} CPU s", flush=True)
            write(done, started)


def world_variants(source: Path, work: Path) -> dict[str, Path]:
    """Return for "rule" and each other guess a data folder with s2_world as its test split."""
    how = {"rule": (0.01, 0), "no offset": (None, 0), "offset by 0.1 %": (0.1, 0), "month half a year off": (0.01, 6)}
    return {name: world(source, work / f"world_{i}", *guess) for i, (name, guess) in enumerate(how.items())}


def world(source: Path, folder: Path, percent: float | None, months: int) -> Path:
    """Write the middle of each patch; ``percent``: percentile that tells the offset, None = there is none."""
    import rasterio
    from eozoo_prithvi_refine.tile_files import tile_arrays, write_npz
    from rasterio.warp import transform

    for file in sorted(source.glob("patch_*.tif")):
        with rasterio.open(file) as opened:
            counts = opened.read(list(BANDS.values())).astype(np.float32)
            centre = opened.transform * (opened.width / 2, opened.height / 2)
            (lon,), (lat,) = transform(opened.crs, "EPSG:4326", *([value] for value in centre))
        offset = offset_of(counts, percent)
        image = np.where(counts > 0, np.clip(counts - offset, 0, None) / 10000, np.nan).astype(np.float32)
        month = ((7 if lat >= 0 else 1) - 1 + months) % 12 + 1
        name = file.stem.removeprefix("patch_")
        middle = image[:, 68:188, 68:188]
        meta = {"place": name, "offset": offset, "latitude": lat, "longitude": lon}
        write_npz(folder / "test" / f"{name}.npz", tile_arrays(middle, month, BIOMES[name]), meta)
    return folder


def offset_of(counts: np.ndarray, percent: float | None) -> int:
    """Return 1000 where the darkest band says so, else 0; counts (4, H, W), 0 = missing."""
    if percent is None:
        return 0
    return 1000 if min(np.percentile(band[band > 0], percent) for band in counts) >= 900 else 0


def fold_data(tiles: dict, work: Path, fold: int) -> Path:
    """Return the layout of a fold of real_prithvi.py's first drawing."""
    order = [list(tiles)[i] for i in np.random.default_rng(100).permutation(len(tiles))]
    held, others = order[fold :: base.FOLDS], [p for i, p in enumerate(order) if i % base.FOLDS != fold]
    return base.layout(tiles, {"test": held, "val": others[:1], "train": others[1:]}, work / f"fold_{fold}")


def scores_of(run: Path, data_dir: Path, worlds: dict, options: tuple[str, ...], fold: int) -> tuple[dict, float]:
    """Train an arm without the places of a fold; return set -> place -> predictor -> measure, and CPU seconds."""
    began, found = time.process_time(), {}
    base.train(run, data_dir, 0, options)
    sets = {"ten places": data_dir, **(worlds if fold == 0 else {"rule": worlds["rule"]})}
    for name, folder in sets.items():
        base.evaluate(run, folder)
        groups = json.loads((run / "eval_test" / "groups.json").read_text())
        found[name] = {g.removeprefix("place "): by for g, by in groups.items() if g.startswith("place ")}
    return found, time.process_time() - began


def write(done: dict[str, dict], started: float) -> None:
    """Write what whole arms say, beside the scores of every training."""
    folds = [f for f in range(base.FOLDS) if {f"convnext {f}", f"galileo {f}"} <= {*done}]
    whole = [arm for arm in ("convnext", "galileo", "random") if folds and all(f"{arm} {f}" in done for f in folds)]
    result = {
        "minutes": round((time.monotonic() - started) / 60, 1),
        "steps": STEPS,
        "folds": folds,
        "arms": whole,
        "sets": {},
    }
    if 0 in folds:
        first = {"rule, first fold": "rule"} | {name: name for name in done["convnext 0"]}
        result["sets"] = {shown: summary(done, whole, folds, name, shown) for shown, name in first.items()}
    kept = {
        job: {s: {p: by["model"] for p, by in places.items()} for s, places in sets.items()}
        for job, sets in done.items()
    }
    RESULT.write_text(json.dumps(result | {"scores": kept}, indent=1) + "\n")


def summary(done: dict[str, dict], arms: list[str], folds: list[int], name: str, shown: str) -> dict:
    """Return of a set the means over places, and paired differences [mean, low, high] of the arms."""
    folds = folds[:1] if shown.endswith("first fold") else folds
    gathered: dict[str, dict[str, list[dict[str, float]]]] = {}
    for arm in arms:
        for sets in (done[f"{arm} {fold}"] for fold in folds):
            for place, by in sets.get(name, {}).items():
                for predictor, scores in by.items():
                    called = arm if predictor == "model" else predictor
                    gathered.setdefault(place, {}).setdefault(called, []).append(scores)
    places = {
        place: {n: {m: float(np.mean([one[m] for one in runs])) for m in METRICS} for n, runs in by.items()}
        for place, by in gathered.items()
    }
    names = list(next(iter(places.values())))
    mean = {n: {m: round(float(np.mean([p[n][m] for p in places.values()])), 5) for m in METRICS} for n in names}
    pairs = [
        (a, b) for a, b in (("galileo", "convnext"), ("galileo", "random"), ("random", "convnext")) if {a, b} <= {*arms}
    ]
    gaps = {f"{a} minus {b}": {m: gap([p[a][m] - p[b][m] for p in places.values()]) for m in METRICS} for a, b in pairs}
    return {"places": len(places), "mean": mean, "differences": gaps}


def tables(result: dict) -> dict[str, str]:
    """Return the tables of the page, from the numbers of a run."""
    made = {}
    for name in ("ten places", "rule"):
        mean, gaps = result["sets"][name]["mean"], result["sets"][name]["differences"]
        rows = [[m, *(f"{mean[n][m]:.4f}" for n in mean), *(base.between(gaps[n][m]) for n in gaps)] for m in METRICS]
        made[name] = markdown_table([f"{result['sets'][name]['places']} places", *mean, *gaps], rows)
    guesses = [name for name in result["sets"] if name not in ("ten places", "rule")]
    found = [result["sets"][name]["differences"]["galileo minus convnext"] for name in guesses]
    rows = [[m, *(base.between(gaps[m]) for gaps in found)] for m in METRICS]
    return made | {"guesses": markdown_table(["galileo minus convnext", *guesses], rows)}


def gap(values: list[float]) -> list[float]:
    """Return the mean of differences of places and its interval; below six places the mean alone."""
    gaps = np.array(values)
    if len(gaps) < 6:
        return [round(float(gaps.mean()), 5)]
    draws = np.random.default_rng(0).integers(len(gaps), size=(10000, len(gaps)))
    return [round(float(v), 5) for v in (gaps.mean(), *np.percentile(gaps[draws].mean(axis=1), [2.5, 97.5]))]


if __name__ == "__main__":
    main()
