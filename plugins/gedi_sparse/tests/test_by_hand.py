"""What a run answers, against numbers worked out on paper: from files of known values to maps and scores.

Two bands, two training patches, so that everything that training measures is known:

    patch  B1   B2  label        B1: mean 0.2, std 0.1   B2: mean 20, std 10 (population)
    a      0.1  10  10 m         label: mean 20 m, std 10 m
    b      0.3  30  30 m

The networks' weights are set by hand after one step of training. With z1, z2 the standardised bands (both above 0):

    member  standardised mean     log-variance         so the mean in m          std in m
    0       z1 + 2 z2 + 0.5       log 0.04 = 2 log 0.2   20 + 10 (...)           10 x 0.2 = 2
    1       the same + 0.4        log 0.16 = 2 log 0.4   4 m above member 0      10 x 0.4 = 4
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

SIDE = 8
NAN = float("nan")
BN_EPS = 1e-5  # of torch.nn.BatchNorm2d: running variance 1 - eps makes it the identity
# Of both members together at z = (1, 0): mean 20 + 10 x 1.5 = 35 and 39, so 37; variance (4 + 16) / 2 = 10 and, of the
# means about 37, 2^2 = 4: 14. Five labels 6 m and fifteen 4 m off have the mean square (5 x 36 + 15 x 16) / 20 = 21.
ERRORS = [6.0] * 5 + [-4.0] * 15
FACTOR = 21 / 14


def weights(member, scale_log):
    """Tensors by the end of their name: z1 + 2 z2 + 0.5 + 0.4 member, and a constant log-scale."""
    return {
        "standardise.running_mean": [0, 0], "standardise.running_var": [1 - BN_EPS] * 2,
        "mix.0.weight": [[[[1]], [[0]]], [[[0]], [[1]]]], "mix.1.weight": [1, 1], "mix.1.bias": [0, 0],
        "mix.1.running_mean": [0, 0], "mix.1.running_var": [1 - BN_EPS] * 2,
        "head.weight": [[[[1]], [[2]]], [[[0]], [[0]]]], "head.bias": [0.5 + 0.4 * member, scale_log],
    }  # fmt: skip


def set_weights(file, values):
    """Overwrite parameters of a checkpoint; what training measured stays. Every value must find its tensor."""
    content = torch.load(file, weights_only=True)
    for end, value in values.items():
        (name,) = [key for key in content["model"] if key.endswith(end)]
        old = content["model"][name]
        new = torch.tensor(value, dtype=torch.float32)
        assert new.shape == old.shape, name
        content["model"][name] = new
    torch.save(content, file)
    take_any_files(file.parent)


def write_world(root):
    """Training patches a and b; a val patch of z = (1, 0) with labels ERRORS around 37 m."""
    values = {"train/a": (0.1, 10), "train/b": (0.3, 30), "val/c": (0.3, 20)}
    for number, (name, bands) in enumerate(values.items()):
        image = np.ones((2, SIDE, SIDE)) * np.reshape(bands, (2, 1, 1))
        label = np.full((1, SIDE, SIDE), NAN)
        if number < 2:
            label[0, 2, 3] = 10 + 20 * number
        else:  # prediction - target = error
            label[0].flat[: len(ERRORS)] = 37 - np.array(ERRORS)
            image[0, 7, 4] = NAN  # a label of 99 m that no score may see
            label[0, 7, 4] = 99
        write_raster(root / "input" / f"{name}.tif", image, ("B1", "B2"), left=500_000 + 1000 * number)
        write_raster(root / "label" / f"{name}.tif", label, ("height",), left=500_000 + 1000 * number)


def write_raster(file, values, names, left, nodata=None):
    """Write (C, H, W) with 10 m pixels and named bands."""
    count, height, width = values.shape
    file.parent.mkdir(parents=True, exist_ok=True)
    size = {"count": count, "height": height, "width": width, "dtype": "float32", "nodata": nodata}
    transform = rasterio.Affine(10, 0, left, 0, -10, 1_900_000)
    with rasterio.open(file, "w", driver="GTiff", crs="EPSG:32647", transform=transform, **size) as out:
        out.write(values.astype(np.float32))
        out.descriptions = names


def train(root, run, *sets):
    small = [
        "model.name=context_net", "model.options={sizes: [], hidden: 2, dropout: 0.0, noise: 0.0}",
        "data.crop=null", "train.epochs=null", "train.steps=1", "train.batch_size=2",
        "train.schedule.warmup_steps=0", f"runtime.input_dir={root / 'input'}", f"runtime.label_dir={root / 'label'}",
        "runtime.tensorboard=false", "runtime.quiet=true", "runtime.device=cpu", "runtime.threads=1",
        "train.precision=fp32",
        "infer.window=16", "infer.stride=16", "infer.picture=false",
    ]  # fmt: skip
    options = [part for value in [*small, *sets] for part in ("--set", value)]
    done = CliRunner().invoke(main, ["train", "gedi_sparse", "--run", str(run), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


@pytest.fixture(scope="module")
def pair(world):
    """The ensemble of both members; training once more fits the factor of the variances to these weights."""
    path = world / "pair"
    train(world, path, "train.members=2")
    for member, variance in enumerate((0.04, 0.16)):
        set_weights(path / f"member_{member}" / "best.pt", weights(member, math.log(variance)))
    train(world, path, "train.members=2")
    return path


@pytest.fixture(scope="module")
def laplace(world):
    """One network that learns log b: b = 0.3 of the target's std, so 3 m and a standard deviation of 3 sqrt(2) m."""
    path = world / "laplace"
    train(world, path, "train.members=1", "model.loss.name=laplacian_nll")
    set_weights(path / "best.pt", weights(0, math.log(0.3)))
    return path


def image(*pixels):
    """One row of pixels (B1, B2) as (2, 1, n) float32."""
    return np.array(pixels, dtype=np.float32).T[:, None, :]


def test_training_measures_bands_and_labels(pair):
    state = torch.load(pair / "member_1" / "current.pt", weights_only=True)["model"]
    for name, expected in (
        ("input_mean", [0.2, 20]),
        ("input_std", [0.1, 10]),
        ("target_mean", [20]),
        ("target_std", [10]),
    ):
        np.testing.assert_allclose(state[name].flatten(), expected, rtol=1e-6)


def test_one_member(pair):
    run = eozoo.load_run(pair, "infer.draws.members=[0]", "infer.scale_variance=false")
    assert run.outputs == {"mean": "m", "std": "m"}
    # z = (2, 0.5): 20 + 10 (2 + 2 x 0.5 + 0.5) = 55; with the bands swapped it would be 70
    # z = (0.5, 2): 20 + 10 (0.5 + 4 + 0.5) = 70;   z = (0, 0): 20 + 10 x 0.5 = 25
    maps = run.predict({"image": image((0.4, 25), (0.25, 40), (0.2, 20))})
    np.testing.assert_allclose(maps["mean"], [[55, 70, 25]], rtol=1e-5)
    np.testing.assert_allclose(maps["std"], [[2, 2, 2]], rtol=1e-5)


def test_two_members_add_noise_and_disagreement(pair):
    batch = {"image": image((0.4, 25), (0.2, 20))[None]}
    maps = eozoo.load_run(pair, "infer.scale_variance=false").predict(batch)
    # 55 and 59, 25 and 29; variances 4 and 16, and 2^2 of the means about their mean
    np.testing.assert_allclose(maps["mean"], [[[57, 27]]], rtol=1e-5)
    np.testing.assert_allclose(maps["aleatoric_std"], np.full((1, 1, 2), 10**0.5), rtol=1e-5)
    np.testing.assert_allclose(maps["epistemic_std"], np.full((1, 1, 2), 2), rtol=1e-5)
    np.testing.assert_allclose(maps["std"], np.full((1, 1, 2), 14**0.5), rtol=1e-5)


def test_variances_are_scaled_as_the_validation_labels_ask(pair):
    fitted = json.loads((pair / "run.json").read_text())["fitted"]
    assert fitted["variance_factor"] == pytest.approx(FACTOR, rel=1e-5)
    assert fitted["labels"] == 20  # not the one under a missing band
    maps = eozoo.load_run(pair).predict({"image": image((0.4, 25))})
    found = {name: float(array[0, 0]) for name, array in maps.items()}
    expected = {"mean": 57, "aleatoric_std": 15**0.5, "epistemic_std": 6**0.5, "std": 21**0.5}
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_missing_band_is_a_missing_pixel_in_every_map(pair):
    maps = eozoo.load_run(pair).predict({"image": image((0.4, 25), (NAN, 25), (0.4, NAN), (NAN, NAN), (0.4, 25))})
    assert len(maps) == 4
    for array in maps.values():
        assert np.isfinite(array).tolist() == [[True, False, False, False, True]]


def test_laplace_std(laplace):
    run = eozoo.load_run(laplace, "infer.scale_variance=false")
    maps = run.predict({"image": image((0.4, 25))})
    assert float(maps["mean"][0, 0]) == pytest.approx(55, rel=1e-5)
    assert float(maps["std"][0, 0]) == pytest.approx(3 * 2**0.5, rel=1e-5)


def test_scores_of_model_members_and_baselines(pair):
    scores = eozoo.load_run(pair).evaluate("val")
    # 37 m everywhere; errors 6 (5 labels) and -4 (15): mean square 21, mean (30 - 60) / 20 = -1.5, absolute 4.5;
    # labels have the mean 37 + 1.5; r2 = 1 - 21 / (21 - 1.5^2). Variance 14, not scaled: 90 % lie within 6.15 m.
    square, variance = 21.0, 14.0
    expected = {
        "n": 20, "rmse": 21**0.5, "mae": 4.5, "bias": -1.5, "r2": 1 - 21 / 18.75,
        "relative_rmse_percent": 100 * 21**0.5 / 38.5, "mean_std": 14**0.5, "coverage_90": 1.0,
        "gaussian_nll": (math.log(2 * math.pi * variance) + square / variance) / 2,
    }  # fmt: skip
    assert {name: scores["model"][name] for name in expected} == pytest.approx(expected, rel=1e-4)
    # member 0 says 35: errors 4 and -6, mean square (5 x 16 + 15 x 36) / 20 = 31, variance 4
    loss = 0.5 * (31 / 4 + math.log(4) + math.log(2 * math.pi))
    assert scores["member 0"]["rmse"] == pytest.approx(31**0.5, rel=1e-5)
    assert scores["member 0"]["loss"] == pytest.approx(loss, rel=1e-4)
    # the training mean is 20: errors -11 and -21
    assert scores["training mean"]["rmse"] == pytest.approx(((5 * 121 + 15 * 441) / 20) ** 0.5, rel=1e-5)
    # labels 10 and 30 deviate by 10
    wanted = (math.log(2 * math.pi * 100) + (5 * 121 + 15 * 441) / 20 / 100) / 2
    assert scores["training mean"]["gaussian_nll"] == pytest.approx(wanted, rel=1e-5)
    assert "ridge" not in scores  # two training labels are too few to fit on


def test_a_map_of_a_raster(pair, tmp_path):
    source, nodata = tmp_path / "scene.tif", -9999.0
    values = np.stack([np.full((5, 7), 0.4), np.full((5, 7), 25)])
    values[:, 1, 2] = (0.25, 40)
    values[1, 3, 4] = nodata
    write_raster(source, values[::-1], ("B2", "B1"), left=600_000, nodata=nodata)  # found by their names
    written = eozoo.load_run(pair).infer(source, tmp_path / "maps")
    names = {f"scene_{n}.tif" for n in ("mean", "aleatoric_std", "epistemic_std", "std")}
    assert {f.name for f in written} == {*names, "scene_guard.json"}
    expected = np.full((5, 7), 57.0)
    expected[1, 2] = 72  # 70 and 74
    expected[3, 4] = NAN
    for name, wanted in (("mean", expected), ("std", np.where(np.isnan(expected), NAN, 21**0.5))):
        with rasterio.open(tmp_path / "maps" / f"scene_{name}.tif") as file:
            np.testing.assert_allclose(file.read(1, masked=True).filled(NAN), wanted, rtol=1e-5)
            assert (file.crs.to_epsg(), file.units) == (32647, ("m",))
            assert file.transform[:6] == (10, 0, 600_000, 0, -10, 1_900_000)
            assert file.nodata is not None


def test_a_raster_that_names_its_bands_is_read_by_name(world, tmp_path):
    """Also where ``data.band_names`` names those of the training files."""
    run = tmp_path / "run"
    train(world, run, "train.members=1", "data.band_names=[B1, B2]")
    set_weights(run / "best.pt", weights(0, math.log(0.04)))
    source = tmp_path / "scene.tif"
    write_raster(source, np.stack([np.full((5, 7), 25), np.full((5, 7), 0.4)]), ("B2", "B1"), left=600_000)
    eozoo.load_run(run).infer(source, tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "scene_mean.tif") as file:
        np.testing.assert_allclose(file.read(1), 55, rtol=1e-5)
