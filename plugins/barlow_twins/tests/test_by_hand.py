"""What runs of both tasks answer, against numbers worked out on paper: statistics, days and weights are set by hand.

The encoder is the smallest MLP: two dates of a pixel, two bands, no hidden layer but one that passes its input on
(plus 20, so that ReLU cuts nothing). With z the standardised bands of the two dates that it sees, a and b, and the
angle 2 pi day / 365.25, the embedding is

    e0 = z_B2(a) + 2 z_B2(b)      e1 = 3 z_B4(b) - z_B4(a)      e2 = sin(day a) + 10 cos(day b)

B2 has mean 1000 and std 500, pooled from two tiles of equal size with means 900 and 1100 and std sqrt(500^2 - 100^2);
B4 has 2000 and 250 in both.
"""

import json
import math

import eozoo
import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from eozoo.cli import main
from eozoo.testing.watch import take_any_files

NAN = float("nan")
BN_EPS = 1e-5  # of torch.nn.BatchNorm1d: running variance 1 - eps makes it the identity
LN_EPS = 1e-5  # of torch.nn.LayerNorm
DAYS = [10, 100, 190, 280]
ENCODER = {
    # columns: B2, B4, sine, cosine of date a, then of date b
    "backbone.blocks.0.0.weight": np.eye(8).tolist(), "backbone.blocks.0.0.bias": [20] * 8,
    "backbone.blocks.0.1.weight": [1] * 8, "backbone.blocks.0.1.bias": [0] * 8,
    "backbone.blocks.0.1.running_mean": [0] * 8, "backbone.blocks.0.1.running_var": [1 - BN_EPS] * 8,
    "backbone.output.weight": [[1, 0, 0, 0, 2, 0, 0, 0], [0, -1, 0, 0, 0, 3, 0, 0], [0, 0, 1, 0, 0, 0, 0, 10]],
    "backbone.output.bias": [-20 * 3, -20 * 2, -20 * 11],
}  # fmt: skip


def sine(day):
    return math.sin(2 * math.pi * day / 365.25)


def cosine(day):
    return math.cos(2 * math.pi * day / 365.25)


def set_weights(run, values):
    """Overwrite parameters of best.pt; what training measured stays. Every name must end that of one tensor."""
    content = torch.load(run / "best.pt", weights_only=True)
    for end, value in values.items():
        (name,) = [key for key in content["model"] if key.endswith(end)]
        new = torch.tensor(value, dtype=torch.float32)
        assert new.shape == content["model"][name].shape, name
        content["model"][name] = new
    torch.save(content, run / "best.pt")
    take_any_files(run)


def write_tile(folder, bands, masks, names, labels=None, west=500_000):
    """Write a tile of digital numbers (T, H, W, C) as the README's layout says; ``west``: its left edge."""
    folder.mkdir(parents=True)
    np.save(folder / "bands.npy", np.asarray(bands, np.uint16))
    np.save(folder / "masks.npy", np.asarray(masks, np.uint8))
    np.save(folder / "doys.npy", np.array(DAYS))
    if labels is not None:
        np.save(folder / "labels.npy", np.array(labels, np.uint8))
    place = {"crs": "EPSG:32633", "transform": [10, 0, west, 0, -10, 5_600_000]}
    (folder / "tile.json").write_text(json.dumps({"bands": names, **place}))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Tiles A and B of 3 x 4 pixels; labels: A tree 3 (of two codes), crop 6, water 3; B tree 6, crop 3, water 2."""
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    labels = {
        "A": [[10, 20, 20, 80], [40, 40, 40, 80], [40, 40, 40, 80]],
        "B": [[10, 10, 10, 80], [20, 20, 20, 80], [40, 40, 40, 0]],
    }
    for name, mean in (("A", 900), ("B", 1100)):
        folder = root / "data" / "sentinel2" / "processed" / name
        values, west = random.integers(500, 3000, (4, 3, 4, 2)), 500_000 if name == "A" else 510_000
        write_tile(folder, values, np.ones((4, 3, 4)), ["B2", "B4"], labels[name], west)
        np.save(folder / "band_mean.npy", np.array([mean, 2000.0]))
        np.save(folder / "band_std.npy", np.array([math.sqrt(500**2 - 100**2), 250]))
    return root


def train(task, root, run, *sets):
    small = [
        f"runtime.data_dir={root}", "data.val_share=0", "data.test_share=0", "train.epochs=null", "train.steps=1",
        "train.batch_size=8", "train.schedule.warmup_steps=0", "runtime.tensorboard=false", "runtime.quiet=true",
        "runtime.device=cpu", "runtime.threads=1", "runtime.workers=0", "infer.passes=1", "infer.block_threads=1",
        "eval.trees=1", "eval.draws=1", "eval.shares=[0.3]", "eval.bootstrap=10", "train.precision=fp32",
    ]  # fmt: skip
    options = [part for value in [*small, *sets] for part in ("--set", value)]
    done = CliRunner().invoke(main, ["train", task, "--run", str(run), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return run


@pytest.fixture(scope="module")
def twins(world, tmp_path_factory):
    mlp = "model.backbone={name: btfm_mlp, options: {latent_dim: 3, hidden_dim: 8, layers: 0}}"
    small = ("data.sample_size=2", "data.min_valid=1", "model.projector.width=4")
    run = train("barlow_twins", world, tmp_path_factory.mktemp("runs") / "twins", mlp, *small)
    set_weights(run, ENCODER)
    return run


@pytest.fixture(scope="module")
def landcover(twins, world, tmp_path_factory):
    """A classifier on the encoder set by hand: score of tree is ln 6 times the first normalised dimension."""
    sets = (f"model.pretrained={twins}", "data.sample_size=2", "data.min_valid=1", "data.val_tiles=[B]")
    legend = 'data.legend={"10": Tree, "20": Tree, "40": Crop, "80": Water}'
    run = train("barlow_landcover", world, tmp_path_factory.mktemp("runs") / "classes", *sets, legend)
    set_weights(run, HEAD)
    return run


HEAD = {
    "head.0.weight": [1, 1, 1], "head.0.bias": [0, 0, 0],
    "head.1.weight": [[math.log(6), 0, 0], [0, 0, 0], [0, 0, 0]], "head.1.bias": [0, math.log(3), 0],
}  # fmt: skip

# A pixel's four dates in digital numbers and as z.
B2, B4 = [1000, 1500, 1250, 500], [2250, 2250, 1750, 1500]
Z2, Z4 = [0, 1, 0.5, -1], [1, 1, -1, -2]


def batch(clear=(0, 1, 2, 3)):
    bands = np.full((1, 4, 2), NAN, np.float32)
    for date in clear:
        bands[0, date] = B2[date], B4[date]
    return {"bands": bands, "doys": np.array([DAYS])}


def embedding(a, b):
    """Of dates number a and b."""
    return np.array([Z2[a] + 2 * Z2[b], 3 * Z4[b] - Z4[a], sine(DAYS[a]) + 10 * cosine(DAYS[b])])


def probabilities(a, b):
    """exp of the scores ln 6 x normalised e0, ln 3 and 0, divided by their sum."""
    e = embedding(a, b)
    first = (e[0] - e.mean()) / math.sqrt(((e - e.mean()) ** 2).mean() + LN_EPS)
    scores = np.array([6.0**first, 3, 1])
    return scores / scores.sum()


def test_numbers_of_the_comments():
    np.testing.assert_allclose(embedding(1, 3), [-1, -7, 0.9890 + 10 * 0.1041], atol=1e-3)
    assert (np.array(B2) - 1000).tolist() == [500 * z for z in Z2]
    assert (np.array(B4) - 2000).tolist() == [250 * z for z in Z4]


@pytest.mark.parametrize(
    ("clear", "seen"),
    [
        ((0, 1, 2, 3), (1, 3)),  # of four dates the second of each half
        ((0, 2, 3), (0, 3)),  # places 0.5 x 1.5 and 1.5 x 1.5 of three: the first and the last
        ((1, 2), (1, 2)),
    ],
)
def test_embedding_of_the_dates_that_are_seen(twins, clear, seen):
    run = eozoo.load_run(twins)
    assert run.outputs == {"embedding": "1"}
    np.testing.assert_allclose(run.predict(batch(clear))["embedding"], [embedding(*seen)], atol=5e-5)


def test_a_mask_hides_a_date_as_nan_does(twins):
    given = {**batch(), "masks": np.array([[1, 0, 1, 1]])}
    np.testing.assert_allclose(eozoo.load_run(twins).predict(given)["embedding"], [embedding(0, 3)], atol=5e-5)


def test_passes_are_averaged(twins):
    found = eozoo.load_run(twins, "infer.passes=2").predict(batch())["embedding"]
    np.testing.assert_allclose(found, [(embedding(0, 2) + embedding(1, 3)) / 2], atol=5e-5)


@pytest.mark.parametrize("clear", [(2,), ()])
def test_one_clear_date_is_too_few(twins, landcover, clear):
    for run in (twins, landcover):
        for array in eozoo.load_run(run).predict(batch(clear)).values():
            assert np.isnan(array).all()


def test_probabilities_and_class(landcover):
    run = eozoo.load_run(landcover)
    assert run.outputs == {"probabilities": "1", "class": "class code"}
    # e = (-1, -7, 2.03): e0 is 0.26 std above their mean, so 6^0.26 = 1.6 to 3 and 1: crop
    found = run.predict(batch())
    np.testing.assert_allclose(found["probabilities"], [probabilities(1, 3)], atol=2e-6)
    assert found["class"].tolist() == [40]
    # dates 0 and 1: e = (2, 2, 0.17 - 1.49): e0 is 0.71 std above their mean, so 6^0.71 = 3.6 to 3 and 1: tree
    found = run.predict(batch((0, 1)))
    np.testing.assert_allclose(found["probabilities"], [probabilities(0, 1)], atol=2e-6)
    assert found["class"].tolist() == [10]


def test_probabilities_not_scores_are_averaged(landcover):
    found = eozoo.load_run(landcover, "infer.passes=2").predict(batch())["probabilities"]
    np.testing.assert_allclose(found, [(probabilities(0, 2) + probabilities(1, 3)) / 2], atol=2e-6)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A tile of 1 x 3 pixels whose bands are stored the other way round: whole, one date hidden, one date left."""
    bands = np.stack([np.repeat([[v4, v2]], 3, axis=0)[None] for v2, v4 in zip(B2, B4)])
    masks = np.ones((4, 1, 3))
    masks[1, 0, 1] = masks[:3, 0, 2] = 0
    folder = tmp_path_factory.mktemp("scene") / "M"
    write_tile(folder, bands, masks, ["B4", "B2"])
    return folder


def read(file):
    """Values as they are stored; the place must be the tile's."""
    with rasterio.open(file) as data:
        assert data.crs.to_epsg() == 32633
        assert data.transform[:6] == (10, 0, 500_000, 0, -10, 5_600_000)
        return data.read()[:, 0], data.nodata, set(data.units)


def test_maps_of_embeddings(twins, scene, tmp_path):
    # Grey at 0, one end of the scale at 2.5 std: value 1 + 254 (0.5 + e / (5 std))
    colours = {"mean": [0, 0, 0], "components": np.eye(3).tolist(), "std": [1, 2, 4]}
    (tmp_path / "colours.json").write_text(json.dumps(colours))
    eozoo.load_run(twins, f"infer.colours={tmp_path / 'colours.json'}").infer(scene, tmp_path / "out")
    expected = np.array([embedding(1, 3), embedding(0, 3), [NAN] * 3]).T
    values, nodata, units = read(tmp_path / "out" / "M_embedding.tif")
    np.testing.assert_allclose(values, expected, atol=5e-5)
    assert (math.isnan(nodata), units) == (True, {"1"})
    small, nodata, _ = read(tmp_path / "out" / "M_embedding_int8.tif")
    assert small[0].tolist() == [127, -127, nodata]  # e0 is -1 and -2, the ends of its range
    assert small[1].tolist() == [0, 0, nodata]  # e1 is -7, all of its range
    shown, nodata, _ = read(tmp_path / "out" / "M_false_colour.tif")
    assert shown[0].tolist() == [round(1 + 254 * (0.5 - 1 / 5)), round(1 + 254 * (0.5 - 2 / 5)), nodata]
    assert shown[1].tolist() == [1, 1, nodata]  # -7 is beyond 2.5 x 2


def test_maps_of_classes(landcover, scene, tmp_path):
    eozoo.load_run(landcover).infer(scene, tmp_path / "out")
    values, nodata, units = read(tmp_path / "out" / "M_probabilities.tif")
    np.testing.assert_allclose(values, np.array([probabilities(1, 3), probabilities(0, 3), [NAN] * 3]).T, atol=2e-6)
    classes, nodata, units = read(tmp_path / "out" / "M_classes.tif")
    assert classes[0].tolist() == [40, 40, nodata]
    assert units == {"class code"}


def test_scores_beside_the_most_frequent_class(landcover):
    """The same probabilities everywhere: 0.6 tree, 0.3 crop, 0.1 water; tree, crop, water: 6, 3 and 2 pixels of B."""
    set_weights(landcover, {"head.1.weight": [[0] * 3] * 3, "head.1.bias": [math.log(p) for p in (0.6, 0.3, 0.1)]})
    try:
        scores = eozoo.load_run(landcover).evaluate("val")
    finally:
        set_weights(landcover, HEAD)
    tree = 2 * 6 / (6 + 11)  # F1: all 11 are called tree
    expected = {
        "loss": -(6 * math.log(0.6) + 3 * math.log(0.3) + 2 * math.log(0.1)) / 11,
        "accuracy": 6 / 11, "macro_f1": tree / 3, "weighted_f1": 6 * tree / 11,
    }  # fmt: skip
    assert {name: scores["model"][name] for name in expected} == pytest.approx(expected, rel=1e-5)
    # A has 3 tree, 6 crop and 3 water
    base = scores["most_frequent"]
    assert base["accuracy"] == pytest.approx(3 / 11)
    assert base["loss"] == pytest.approx(-(8 * math.log(0.25) + 3 * math.log(0.5)) / 11, rel=1e-6)
