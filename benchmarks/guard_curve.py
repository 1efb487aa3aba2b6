"""What the guard catches of planted faults, and what it says of honest new places.

    python -m benchmarks.guard_curve DATA OUT.json OUT.png      # DATA: the folder of the real files

Each case is a training set and scenes that are not in it. A scene is judged as it is (false alarms), and with faults
planted: all bands or one moved by training deviations, factors, an offset of 0.1 reflectance, linear power for dB,
the order of the bands turned round.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHIFTS = (2, 5, 10, 20, 50, 100, 1000, 10_000)
S2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
DN = "reflectance x 10000"
LEVELS = ("error", "warning", "ok")


@dataclass(frozen=True)
class Case:
    """``train`` and each of ``scenes`` (C, n), NaN = missing; ``hard``: the training set is one single place."""

    name: str
    names: Sequence[str]
    units: Sequence[str]
    train: np.ndarray
    scenes: Mapping[str, np.ndarray]
    hard: bool = False


def main() -> None:
    """Judge all cases, print and write the counts, and draw them."""
    data, out, picture = (Path(word) for word in sys.argv[1:4])
    counts: dict[str, dict[str, dict[str, int]]] = {}
    said: dict[str, str] = {}
    for case in cases(data):
        for kind, level, text in outcomes(case):
            group = "one place" if case.hard else case.name
            row = counts.setdefault(group, {}).setdefault(kind, dict.fromkeys(LEVELS, 0))
            row[level] += 1
            if kind == "honest" and level == "error":
                said[f"{case.name}: {text[:60]}"] = text
    for group, kinds in counts.items():
        print(group)
        for kind, row in kinds.items():
            print(f"  {kind:28s} refused {row['error']:4d}  warned {row['warning']:4d}  silent {row['ok']:4d}")
    print(*said, sep="\n")
    out.write_text(json.dumps({"counts": counts, "honest scenes refused": said}, indent=1) + "\n")
    draw(counts, picture)


def outcomes(case: Case) -> Iterator[tuple[str, str, str]]:
    """Yield (what was planted, verdict, text) for every scene of a case; "honest" where nothing was."""
    from eozoo_core.checking.guard import Observed, judge
    from eozoo_core.score.statistics import ChannelStatistics
    from eozoo_core.task.survey import surveyed

    statistics = ChannelStatistics(case.names)
    statistics.update(case.train)
    known = surveyed(statistics, tuple(case.units))
    for name, scene in case.scenes.items():
        for kind, change in {"honest": lambda v: v, **faults(case, statistics.std)}.items():
            observed = Observed(known)
            observed.add(change(scene))
            found = judge(observed)
            yield kind, found.level, f"{name}: {found.text}"


def faults(case: Case, std: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what may be planted into a scene of ``case``."""
    units, bands = np.array(case.units), len(case.names)
    first = (np.arange(bands) == bands // 2)[:, None]
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    for k in SHIFTS:
        found[f"all bands + {k} deviations"] = lambda v, k=k: v + k * std[:, None]
        found[f"one band + {k} deviations"] = lambda v, k=k: v + k * std[:, None] * first
    for factor in (10, 100, 10_000, 1 / 100, 1 / 10_000):
        found[f"all bands x {factor:g}"] = lambda v, f=factor: v * f
    optical = np.char.startswith(units, "reflectance")[:, None]
    if optical.any():
        offset = np.where(units == DN, 1000.0, 0.1)[:, None] * optical
        found["reflectance + 0.1"] = lambda v: v + offset
        found["reflectance x 10000"] = lambda v: np.where(optical, v * 10_000, v)
        order = np.arange(bands)
        order[optical[:, 0]] = order[optical[:, 0]][::-1]
        found["optical bands reversed"] = lambda v: v[order]
    radar = (units == "dB")[:, None]
    if radar.any():
        found["linear for dB"] = lambda v: np.where(radar, 10 ** (np.where(radar, v, 0) / 10), v)
    return found


def cases(data: Path) -> Iterator[Case]:
    """Yield the samples of all systems and the real places."""
    yield from samples()
    yield from nicaragua(data / "gedi_sparse")
    yield from world(data / "prithvi_refine" / "s2_world")
    yield from flanders(data / "barlow_s2ts")
    yield from sites(data / "presto_eval" / "fuel_moisture")


def samples() -> Iterator[Case]:
    """Training and validation splits of every system's synthetic sample."""
    from eozoo.registry import Registry
    from eozoo_core.task.guard import known_bands

    registry = Registry.discover()
    for name in ("gedi_sparse", "clay_ta", "barlow_twins", "prithvi_refine"):
        task_class = registry.get("task", name)
        with tempfile.TemporaryDirectory() as folder:
            sample = task_class.sample(Path(folder))
            settings = sample.settings
            if name == "barlow_twins":
                kept = settings.data.model_copy(update={"val_share": 0.2})
                settings = settings.model_copy(update={"data": kept})
            task = task_class(settings, registry)
            survey = task.survey(task.data("train"))
            parts = [_pixels(task.data(split), survey) for split in ("train", "val")]
            bands = known_bands(task, survey)
            units = [DN if b.unit == DN else b.unit for b in bands]
            yield Case(f"sample of {name}", survey.names, units, parts[0], {"validation": parts[1]})


def _pixels(data: object, survey: object) -> np.ndarray:
    chosen = np.unique(np.linspace(0, len(data) - 1, min(len(data), 200)).astype(int))
    images = [np.asarray(data.physical(int(i), survey)[0]) for i in chosen]
    return np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)


def nicaragua(folder: Path) -> Iterator[Case]:
    """Tiles of one valley, each left out once; and Texas, another biome, for networks of the bands that both have."""
    import rasterio

    names = (*S2, "VV", "VH", "HH", "HV", "dem", "slope")
    units = ("reflectance 0..1",) * 12 + ("dB", "dB", "digital number", "digital number", "m", "degrees")
    tiles = {}
    for file in sorted((folder / "nicaragua_s2s1_gedi").glob("X_*.npy")):
        values = np.load(file)[[*range(12), 20, 21, 24, 25, 26, 27]].reshape(18, -1).astype(float)
        tiles[file.stem] = np.where(values[2] == 0, np.nan, values)
    for left in tiles:
        train = np.concatenate([values for name, values in tiles.items() if name != left], axis=1)
        yield Case("Nicaragua, tile left out", names, units, train, {left: tiles[left]})
    with rasterio.open(folder / "texas_hls_gedi_agbd" / "regression_test_0_input.tif") as source:
        texas = source.read()[:7].reshape(7, -1) / 1e4
    at = [0, 1, 2, 3, 8, 10, 11]
    train = np.concatenate(list(tiles.values()), axis=1)[at]
    yield Case("Nicaragua to Texas", [names[i] for i in at], ["reflectance 0..1"] * 7, train, {"Texas": texas})


def world(folder: Path) -> Iterator[Case]:
    """Sixteen places of five continents: each left out, and each one alone as training for all others."""
    import rasterio

    places = {}
    for file in sorted(folder.glob("*.tif")):
        with rasterio.open(file) as source:
            values = source.read().astype(float)
        places[file.stem] = np.where((values == 0).all(axis=0), np.nan, values).reshape(12, -1)
    for left, scene in places.items():
        others = {name: values for name, values in places.items() if name != left}
        train = np.concatenate(list(others.values()), axis=1)
        yield Case("16 places, one left out", S2, (DN,) * 12, train, {left: scene})
        yield Case(f"trained on {left} alone", S2, (DN,) * 12, scene, others, hard=True)


def flanders(folder: Path) -> Iterator[Case]:
    """Two fields and two years, clear dates: one for training, the other to map."""
    import h5py

    names, fields = ("B05", "B06", "B07", "B8A", "B11", "B12"), {}
    for file in sorted(folder.glob("*/S2_L2A_20m*.nc")):
        with h5py.File(file) as cube:
            clear = np.isin(cube["SCL"][:], (4, 5))
            fields[file.parent.name] = np.stack([cube[name][:][clear] for name in names]).astype(float)
    for name, values in fields.items():
        others = {other: scene for other, scene in fields.items() if other != name}
        yield Case("Flanders, other field and year", names, (DN,) * 6, values, others)


def sites(folder: Path) -> Iterator[Case]:
    """Sites of the western USA with optical, radar, weather and terrain: those for testing are the new places."""
    values = np.load(folder / "s1_s2_era5_srtm.npy").astype(float)
    site, test = np.load(folder / "site.npy"), np.load(folder / "is_test.npy").astype(bool)
    names = ("VV", "VH", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    names = (*names, "temperature", "precipitation", "elevation", "slope", "NDVI")
    units = ("dB",) * 2 + (DN,) * 11 + ("K", "m", "m", "degrees", "1")
    scenes = {}
    for one in np.unique(site[test]):
        chosen = values[site == one]
        if len(chosen) >= 5:
            scenes[str(one)] = chosen.reshape(-1, 18).T
    yield Case("test sites, western USA", names, units, values[~test].reshape(-1, 18).T, scenes)


def draw(counts: Mapping[str, Mapping[str, Mapping[str, int]]], path: Path) -> None:
    """Draw the shares: planted faults on the left, honest scenes on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"error": "#b5342b", "warning": "#e0a030", "ok": "#c8d0d4"}
    words = {"error": "refused", "warning": "warned of", "ok": "silent"}
    many = {group: kinds for group, kinds in counts.items() if group != "one place"}
    faults = list(dict.fromkeys(kind for kinds in many.values() for kind in kinds if kind != "honest"))
    order = {"all bands +": 0, "one band +": 1}
    faults.sort(key=lambda kind: order.get(kind[:11].rstrip() if kind.startswith("all") else kind[:10], 2))
    figure, axes = plt.subplots(1, 2, figsize=(13, 8), width_ratios=(1.25, 1))
    rows = [(kind, [kinds[kind] for kinds in many.values() if kind in kinds]) for kind in faults]
    honest = [(group, [kinds["honest"]]) for group, kinds in counts.items()]
    titles = ("planted faults (all cases but one-place training)", "honest scenes of places not trained on")
    for axis, bars, title in zip(axes, (rows, honest), titles, strict=True):
        for at, (_, parts) in enumerate(bars):
            total, left = sum(sum(part.values()) for part in parts), 0.0
            for level in LEVELS:
                share = 100 * sum(part[level] for part in parts) / total
                axis.barh(at, share, left=left, color=colours[level])
                left += share
            axis.text(101, at, str(total), va="center", fontsize=8)
        axis.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=9)
        axis.invert_yaxis()
        axis.set_xlim(0, 108)
        axis.set_xlabel("% of scenes (their number at the end of each bar)")
        axis.set_title(title, fontsize=10)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[level]) for level in LEVELS]
    figure.legend(handles, [words[level] for level in LEVELS], loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
