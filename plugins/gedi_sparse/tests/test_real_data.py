"""The real run: its parts by hand, seconds of it where the data exist, and every number of its page from its JSON."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE, RESULT = ROOT / "docs" / "real_data_gedi.md", ROOT / "benchmarks" / "results" / "real_gedi.json"


@pytest.fixture
def real(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import benchmarks.real_gedi

    return benchmarks.real_gedi


@pytest.fixture
def tiles(real):
    from benchmarks import real_gedi_tiles

    if not real_gedi_tiles.DATA.is_dir():
        pytest.skip(f"no real tiles at {real_gedi_tiles.DATA}")
    return real_gedi_tiles


@pytest.fixture(scope="module")
def result():
    return json.loads(RESULT.read_text())


def test_square_mean_leaves_out_what_is_missing(real):
    from benchmarks.real_gedi_tiles import square_mean

    rng = np.random.default_rng(0)
    image = rng.random((2, 9, 7)).astype(np.float32)
    image[:, 4, 2:5] = np.nan
    found = square_mean(image, 5)
    for row, col in [(0, 0), (4, 3), (8, 6), (2, 5)]:
        around = image[:, max(0, row - 2) : row + 3, max(0, col - 2) : col + 3]
        np.testing.assert_allclose(found[:, row, col], np.nanmean(around, axis=(1, 2)), rtol=1e-6)


def test_mixture_adds_the_spread_of_the_means(real):
    mean, std = real.ensemble([(np.array([1.0]), np.array([2.0])), (np.array([5.0]), np.array([4.0]))])
    assert mean == [3.0]
    assert std == [math.sqrt((4 + 16) / 2 + 4)]


def test_difference_and_its_interval_by_hand(real):
    a = {"tiles": {str(n): {"rmse": float(n)} for n in range(8)}}
    b = {"tiles": {str(n): {"rmse": 3.0} for n in range(8)}}
    found = real._difference(a, b)
    assert found["mean"] == 0.5
    assert (found["tiles_better"], found["tiles"]) == (3, 8)
    half = 2.364624 * math.sqrt(6.0) / math.sqrt(8)  # t of 7 degrees of freedom; 0 ... 7 has variance 6
    assert found["low"] == pytest.approx(0.5 - half, abs=1e-6)
    assert found["high"] == pytest.approx(0.5 + half, abs=1e-6)
    few = [{"tiles": {n: s["tiles"][n] for n in "01234"}} for s in (a, b)]
    assert "low" not in real._difference(*few)


def test_another_tile_validates_with_every_seed_and_never_the_held_out_one(real):
    for held_out in real.TILES:
        chosen = [real.validation_tile(held_out, seed, real.TILES) for seed in real.SEEDS]
        assert len(set(chosen)) == 5
        assert held_out not in chosen


@pytest.mark.slow
def test_seconds_of_the_real_run(real, tiles, tmp_path):
    some = (1, 3, 4)
    short = real.Network(None, (*real.CONTEXT_NET, "train.epochs=1", "data.crops_per_patch=8"), (0,))
    found = real.measure(tmp_path, some, {real.MAIN: short}, (0,))
    heights = {n: tiles.load(n).heights for n in some}
    for n in some:
        others = np.concatenate([heights[other] for other in some if other != n])
        np.testing.assert_allclose(found["training mean"][n][0][0], others.mean(), rtol=1e-6)
        mean, std = found[real.MAIN][n][0]
        assert mean.shape == std.shape == heights[n].shape
        assert np.isfinite(mean).all()
        assert (std > 0).all()
        data = tmp_path / "few_shots" / "data" / f"tile_{n}" / "seed_0"
        assert [p.name for p in (data / "input" / "test").iterdir()] == [f"tile_{n}.npy"]
        assert not (data / "input" / "train" / f"tile_{n}.npy").exists()
        scored = json.loads((tmp_path / "few_shots" / f"tile_{n}" / "seed_0" / "eval_test.json").read_text())
        error = np.sqrt(np.mean((mean - heights[n]) ** 2))  # the task reports the same
        assert scored["scores"]["model"]["rmse"] == pytest.approx(error, rel=1e-5)
    rows = real.summarise(found, some)["rows"]
    assert set(rows) == {*tiles.SIMPLE, real.MAIN, real.ENSEMBLE}


def test_the_json_comes_from_these_data(real, tiles, result):
    from eozoo_core.run.fingerprint import fingerprint

    assert result["data"] == fingerprint([f for n in real.TILES for f in tiles.files(n)], tiles.DATA)
    loaded = [tiles.load(n) for n in real.TILES]
    assert result["shots"] == {str(n): t.heights.size for n, t in zip(real.TILES, loaded, strict=True)}
    for name in ("training mean", "ridge, pixel"):
        for n in (0, 7):
            rest = [t for other, t in zip(real.TILES, loaded, strict=True) if other != n]
            mean, _ = tiles.SIMPLE[name](rest, loaded[n], 0)
            error = np.sqrt(np.mean((mean - loaded[n].heights) ** 2))
            assert result["rows"][name]["tiles"][str(n)]["rmse"] == pytest.approx(error, rel=1e-4)


def test_every_number_of_the_prose_is_in_the_json(result):
    page = PAGE.read_text()
    prose = "\n".join(line for line in page[page.index("## Results") :].splitlines() if not line.startswith("|"))
    rows = [{**row, "tiles": None} for row in result["rows"].values()]
    known = {f"{abs(v):.2f}" for part in (*rows, result["rmse_differences"]) for v in _leaves(part)}
    known |= {f"{result['nearest_shots']['spread_m']:.2f}"}
    known |= {f"{v * 100:.0f} %" for v in result["within_std"].values()}
    for number in re.findall(r"\d+\.\d+|\d+ %", prose):
        assert number in known, f"{number} stands on the page and not in {RESULT.name}"


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in _leaves(v)]
    return [value] if isinstance(value, float) else []
