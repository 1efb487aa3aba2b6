"""Training refuses what ``check`` calls a leak, and nothing else: every task and the scaffold, case by case."""

import importlib
import json
import sys

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo.scaffold import write_plugin
from eozoo_core import Run, ZooError
from eozoo_core.checking import Findings
from eozoo_core.settings.config import load_settings
from rasterio.crs import CRS
from rasterio.warp import transform

SIDE = 32  # pixels of 10 m
EAST, NORTH = 780_000.0, 5_540_000.0  # in zone 31, near to zone 32
REGISTRY = Registry.discover()


def at(east=0.0, zone=32631, origin=(EAST, NORTH), pixel=10.0):
    """CRS and transform of a sample ``east`` pixels from the origin."""
    return zone, (pixel, 0.0, origin[0] + east * pixel, 0.0, -pixel, origin[1])


def moved(to, east=0.0, pixel=10.0):
    """The ground of ``at(east)`` in another CRS."""
    (x,), (y,) = transform(CRS.from_epsg(32631), CRS.from_epsg(to), [EAST + 10 * east], [NORTH])
    return at(0, to, (x, y), pixel)


LINE = [transform("EPSG:4326", f"EPSG:{z}", [lon], [10.0]) for z, lon in ((32660, 179.999), (32601, -179.9995))]
OVER_THE_LINE = [at(0, z, (x[0], y[0])) for z, (x, y) in zip((32660, 32601), LINE)]
FAR = [at(1000 * i) for i in range(1, 5)]

# name -> (places of two training samples, one of validation, one of test), which samples are alike, what is shared
CASES = {
    "apart": (FAR, None, ""),
    "touching": ([FAR[0], at(0), at(SIDE), FAR[3]], None, ""),
    "0.1 px": ([FAR[0], at(0), at(SIDE - 0.1), FAR[3]], None, ""),
    "0.6 px": ([FAR[0], at(0), at(SIDE - 0.6), FAR[3]], None, "ground"),
    "a whole sample": ([FAR[0], at(0), FAR[2], at(0)], None, "ground"),
    "val and test": ([FAR[0], FAR[1], at(0), at(5)], None, "ground"),
    "only in training": ([at(0), at(5), FAR[2], FAR[3]], None, ""),
    "the next zone": ([FAR[0], at(0), FAR[2], moved(32632)], None, "ground"),
    "beside it in the next zone": ([FAR[0], at(0), FAR[2], moved(32632, SIDE + 4)], None, ""),
    "degrees": ([FAR[0], at(0), moved(4326, pixel=1e-4), FAR[3]], None, "ground"),
    "over the antimeridian": ([FAR[0], OVER_THE_LINE[0], OVER_THE_LINE[1], FAR[3]], None, "ground"),
    "no places": ([None] * 4, None, ""),
    "a copy without a place": ([None] * 4, "bytes", "files"),
    "pixels stored again": ([None] * 4, "pixels", "pixels"),
}
SPLITS = ("train", "train", "val", "test")


def samples(places, alike):
    """Yield (split, number, values (3, SIDE, SIDE), where) and, for the last, whether it is the second one's copy."""
    for number, (split, where) in enumerate(zip(SPLITS, places, strict=True)):
        seed = 1 if alike and number == 3 else number
        values = np.random.default_rng(seed).uniform(0.02, 0.4, (4, SIDE, SIDE)).astype("float32")
        if alike == "pixels" and number == 3:
            values = values[:, ::-1]  # mirrored
        yield split, number, np.ascontiguousarray(values), where


def write_image(file, values, where):
    """A GeoTIFF, or a .npy file where it lies nowhere."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if where is None:
        np.save(file.with_suffix(".npy"), values)
        return
    profile = {"driver": "GTiff", "dtype": "float32", "count": len(values), "height": SIDE, "width": SIDE}
    with rasterio.open(file, "w", **profile, crs=f"EPSG:{where[0]}", transform=rasterio.Affine(*where[1])) as out:
        out.write(values)


def gedi(root, places, alike):
    from eozoo_core.task.splits import open_splits
    from eozoo_gedi_sparse.task import GediSparse

    for split, number, values, where in samples(places, alike):
        write_image(root / "input" / split / f"p{number}.tif", values, where)
        write_image(root / "label" / split / f"p{number}.tif", values[:1] * 50, where)
    overrides = [f"runtime.input_dir={root / 'input'}", f"runtime.label_dir={root / 'label'}", "data.crop=16"]
    return (
        "gedi_sparse",
        [*overrides, "model.options.width=4"],
        lambda settings, run: open_splits(GediSparse(settings, REGISTRY)),
    )


def prithvi(root, places, alike):
    from eozoo_core.task.splits import open_splits
    from eozoo_prithvi_refine.task import PrithviRefine
    from eozoo_prithvi_refine.tile_files import tile_arrays, write_npz

    for split, number, values, where in samples(places, alike):
        meta = {"place": f"p{number}"}
        if where is not None:
            meta |= {"crs": f"EPSG:{where[0]}", "transform": where[1]}
        write_npz(root / split / f"t{number}.npz", tile_arrays(values, 6, 4), meta)
    overrides = [f"runtime.data_dir={root}", "data.tile_size=16", "model.encoder=none"]
    return "prithvi_refine", overrides, lambda settings, run: open_splits(PrithviRefine(settings, REGISTRY))


def barlow(task):
    def make(root, places, alike):
        from eozoo_barlow_twins.tiles import processed
        from eozoo_core.task.splits import open_splits

        for _, number, values, where in samples(places, alike):
            tile = processed(root, "d") / f"T{number}"
            tile.mkdir(parents=True)
            np.save(tile / "bands.npy", np.stack([(values * 10_000).astype("uint16").transpose(1, 2, 0)] * 12))
            np.save(tile / "masks.npy", np.ones((12, SIDE, SIDE), "uint8"))
            np.save(tile / "doys.npy", np.arange(12) * 20 + 5)
            np.save(tile / "band_mean.npy", np.full(4, 2100.0))
            np.save(tile / "band_std.npy", np.full(4, 1100.0))
            np.save(tile / "labels.npy", np.ones((SIDE, SIDE), "uint8"))
            about = {"bands": ["B02", "B03", "B04", "B08"]}
            if where is not None:
                about |= {"crs": f"EPSG:{where[0]}", "transform": where[1]}
            (tile / "tile.json").write_text(json.dumps(about))
        overrides = [f"runtime.base_path={root}", "data.dataset=d", "data.sample_size=8", "data.min_valid=8"]
        overrides += ["data.val_share=0", "data.val_tiles=[T2]", "data.test_tiles=[T3]"]
        overrides += (
            ["data.test_share=0"] if task == "barlow_twins" else ["data.test_share=0", 'data.legend={"1": "a"}']
        )
        return task, overrides, lambda s, run: open_splits(REGISTRY.get("task", task)(s, REGISTRY))

    return make


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The scaffold as somebody's plugin."""
    folder = write_plugin("honest_task", "regression", tmp_path_factory.mktemp("made"), Registry())
    sys.path.insert(0, str(folder))
    yield importlib.import_module("eozoo_honest_task.task")
    sys.path.remove(str(folder))


def scaffold(root, places, alike):
    from eozoo_core.task.splits import open_splits
    from eozoo_honest_task.task import HonestTask

    for split, number, values, where in samples(places, alike):
        nowhere = (None, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0))
        for kind, array in (("image", values), ("label", values[:1] * 50)):
            write_plain_tif(root / split / kind / f"i{number}.tif", array, where or nowhere)
    return (
        "honest_task",
        [f"runtime.data_dir={root}", "data.crop=16"],
        lambda settings, run: open_splits(HonestTask(settings, REGISTRY)),
    )


def write_plain_tif(file, values, where):
    file.parent.mkdir(parents=True, exist_ok=True)
    place = {} if where[0] is None else {"crs": f"EPSG:{where[0]}", "transform": rasterio.Affine(*where[1])}
    profile = {"driver": "GTiff", "dtype": "float32", "count": len(values), "height": SIDE, "width": SIDE}
    with rasterio.open(file, "w", **profile, **place) as out:
        out.write(values)


TASKS = {"gedi_sparse": gedi, "prithvi_refine": prithvi, "scaffold": scaffold}
TASKS |= {name: barlow(name) for name in ("barlow_twins", "barlow_landcover")}
NO_PRINTS = {"barlow_twins", "barlow_landcover"}  # of series there are no fingerprints


def leaks(task):
    findings = Findings()
    with findings.guard("data"):
        task.check(findings)
    return [f for f in findings.found if f.level == "error" and f.subject.startswith("leakage")]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_check_has_an_error_exactly_where_training_refuses(name, case, tmp_path, plugin):
    places, alike, leak = CASES[case]
    kind, overrides, opens = TASKS[name](tmp_path / "data", places, alike)
    if leak == "pixels" and name in NO_PRINTS:
        leak = ""
    cls = plugin.HonestTask if kind == "honest_task" else REGISTRY.get("task", kind)
    settings = load_settings(cls.Settings, None, overrides)
    task, run = cls(settings, REGISTRY), Run.create(tmp_path / "run", kind, settings)
    found = leaks(task)
    assert bool(found) == bool(leak), [f.measured for f in found]
    if not leak:
        opens(settings, run)
        return
    assert any(f.subject.endswith(f": {leak}") for f in found)
    for verb in (task.plan, task.train):
        with pytest.raises(ZooError) as refused:
            verb(run)
        assert any(f"{f.subject}: {f.measured}" in str(refused.value) for f in found)
        assert "eozoo check" in str(refused.value)
    assert not run.has("current")


# -- clay_ta: what is apart is time, or the windows around stations ---------------------------------------------------


def chunk(folder, split, meta):
    from eozoo_clay_ta.chunks import SCHEMA, chunk_path, write_chunk

    random = np.random.default_rng(len(meta))
    arrays = {n: random.normal(size=(len(meta), *shape)).astype("float32") for n, shape in SCHEMA.items()}
    write_chunk(chunk_path(folder, split, 0), arrays, meta)


DAYS = ("2022-01-01T03:00", "2022-02-01T03:00", "2022-03-01T03:00")


def by_split(*entries):
    return [[entry] for entry in entries]


@pytest.mark.parametrize(
    ("split_by", "meta", "leak"),
    [
        ("blocks", by_split(*((day, 90, 100, 100) for day in DAYS)), False),
        ("blocks", by_split((DAYS[0], 90, 100, 100), (DAYS[1], 90, 100, 100), (DAYS[0], 90, 100, 100)), True),
        ("blocks", by_split((DAYS[0], 90, 100, 100), (DAYS[1], 90, 100, 100), (DAYS[0], 91, 300, 300)), True),
        ("blocks", by_split((DAYS[0], 9, 50, 50), (DAYS[1], 9, 50, 50), ("2022-01-01T04:00", 9, 50, 50)), False),
        ("stations", by_split((DAYS[0], 90, 100, 100), (DAYS[0], 91, 109, 100), (DAYS[0], 92, 200, 100)), False),
        ("stations", by_split((DAYS[0], 90, 100, 100), (DAYS[0], 91, 108, 108), (DAYS[0], 92, 200, 100)), True),
        ("stations", by_split((DAYS[0], 90, 100, 100), (DAYS[1], 90, 100, 100), (DAYS[0], 92, 200, 100)), True),
    ],
    ids=["apart", "a sample twice", "the same hour", "an hour apart", "windows touch", "windows share", "a station"],
)
def test_clay_ta_refuses_exactly_what_its_check_calls_a_leak(split_by, meta, leak, tmp_path):
    for split, entries in zip(("train", "val", "test"), meta, strict=True):
        chunk(tmp_path, split, entries)
    about = {"mean": [0.0] * 19, "std": [1.0] * 19, "ta_mean": 10.0, "ta_std": 9.0}
    (tmp_path / "normalisation.json").write_text(json.dumps(about))
    cls = REGISTRY.get("task", "clay_ta")
    overrides = [f"runtime.patch_dir={tmp_path}", f"prepare.build_index.split_by={split_by}", "model.type=clay_free"]
    settings = load_settings(cls.Settings, None, overrides)
    task, run = cls(settings, REGISTRY), Run.create(tmp_path / "run", "clay_ta", settings)
    found = leaks(task)
    assert bool(found) == leak, [f.measured for f in found]
    if not leak:
        task.plan(run)
        return
    for verb in (task.plan, task.train):
        with pytest.raises(ZooError) as refused:
            verb(run)
        assert any(f"{f.subject}: {f.measured}" in str(refused.value) for f in found)
