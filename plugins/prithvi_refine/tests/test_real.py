"""The numbers in docs/real_data_prithvi.md are those of the run, and seconds of it where the data are."""

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data" / "prithvi_refine"


@pytest.fixture
def real(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import benchmarks.real_prithvi

    return benchmarks.real_prithvi


def test_means_and_the_places_that_no_choice_looked_at(real):
    chosen, other = real.DEVELOPMENT[0], "1_1"
    run = {"l1": 0.01, "edge_l1": 0.02} | dict.fromkeys(real.METRICS[:3], 0.1) | dict.fromkeys(real.METRICS[5:7], 1.0)
    half = {m: v / 2 for m, v in run.items()}
    scores = {
        place: {"prithvi": [half, {m: 2 * v for m, v in half.items()}], "input": [run, run]}
        for place in (chosen, other)
    }
    scores[other]["prithvi"] = [half, half]
    found = real.summarise(scores)
    assert found["mean"]["prithvi"]["l1"] == pytest.approx(0.00625)
    assert found["untouched"]["prithvi"]["l1"] == pytest.approx(0.005)
    gap, low, high = found["prithvi_minus"]["input"]["l1"]
    assert gap == pytest.approx(-0.00375, abs=1e-5)
    assert (low, high) == pytest.approx((-0.005, -0.0025), abs=1e-5)


def test_the_rule_for_the_offset(real):
    import benchmarks.real_prithvi_context as context

    counts = np.full((4, 100, 100), 2000.0)
    counts[0, 0, :2], counts[1, 0, 0] = (899, 950), 0  # 0 is no value
    assert [context.offset_of(counts, percent) for percent in (0, 0.1, None)] == [0, 1000, 0]
    assert context.gap([1.0, 2.0, 3.0, 4.0, 5.0]) == [3.0]
    assert context.gap([2.0] * 6) == [2.0, 2.0, 2.0]


def test_the_filter_that_knows_everything(real):
    """Without blur and noise it gives the target back; of white noise it takes away most, blurred or not."""
    from eozoo_prithvi_refine.degradation import degrade, draw_strengths
    from eozoo_prithvi_refine.demo.landscape import landscape
    from eozoo_prithvi_refine.settings import DegradationSettings
    from scipy.ndimage import gaussian_filter

    from benchmarks.real_prithvi_bound import wiener

    target = gaussian_filter(landscape(0, 48, 40, 6, 4), (0, 1.5, 1.5))  # the landscape's own texture is white noise

    def error(seed=3, **settings):
        settings = DegradationSettings(**settings)
        strengths = draw_strengths(target.shape, settings, np.random.default_rng(seed))
        image = degrade(target, settings, np.random.default_rng(seed))
        return [np.abs(x - target).mean() for x in (wiener(image, target, strengths), image)]

    plain, degraded = error(blur_px=0, noise=1e-6)
    assert plain < 1e-4 < 1e-2 < degraded
    cleaned, noisy = error(blur_px=0, noise=0.02, colour_gain=0, colour_offset=0, haze=0)
    assert cleaned < 0.75 * noisy
    sharpened, blurred = error(1, blur_px=4, noise=1e-4, colour_gain=0, colour_offset=0, haze=0)
    assert sharpened < 0.75 * blurred


@pytest.mark.slow
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
