"""The numbers in docs/real_data_prithvi.md are those of the run, and seconds of it where the data are."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PAGE, RESULT = ROOT / "docs" / "real_data_prithvi.md", ROOT / "docs" / "real_data_prithvi.json"
DATA = ROOT.parent / "shared" / "data" / "prithvi_refine"


@pytest.fixture(scope="module")
def real():
    spec = importlib.util.spec_from_file_location("real_prithvi", ROOT / "benchmarks" / "real_prithvi.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_hold_the_numbers_of_the_run(real):
    page, result = PAGE.read_text(), json.loads(RESULT.read_text())
    for line in real.tables(result):
        assert line in page.splitlines(), line
    numbers = [line for line in page.splitlines() if line.startswith("| ") and any(c.isdigit() for c in line)]
    assert set(numbers) == {line for line in real.tables(result) if any(c.isdigit() for c in line)}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")
def test_real_products_become_plausible_tiles(real, tmp_path):
    from eozoo_prithvi_refine.tile_files import read_tile

    places = real.prepare(DATA, tmp_path)
    assert len(places) == 10
    tiles = [read_tile(file) for files in places.values() for file in files]
    assert {t.month for t in tiles} >= {4, 5, 6, 9, 12}
    for tile in tiles:
        medians = np.nanmedian(tile.image, axis=(1, 2))
        snow = "20180510" in tile.name
        assert medians[2] < (1.2 if snow else 0.25), tile.name
        assert medians[3] > 0.1, tile.name
    parts = {"test": list(places)[:2], "val": list(places)[2:3], "train": list(places)[3:5]}
    data_dir = real.layout(places, parts, tmp_path / "fold")
    run = real.train(tmp_path / "run", data_dir, 0, (*real.MODELS["convnext"], "train.steps=3"))
    scores = real.evaluate(run, data_dir)
    assert 0 < scores["model"]["ndvi_rmse"] < 0.3
    assert scores["affine fit"]["l1"] < 0.1
