"""What a run answers, against numbers worked out on paper: tiles of known reflectance, weights set by hand.

The network without Prithvi, one ConvNeXt block, four channels. All parameters are 0 but for these (``WEIGHTS``), so
that every pixel is on its own:

    z         (reflectance - mean) / std of pre-training: 0.1087 and 0.2248 (blue), 0.1342 and 0.2179, 0.1433 and
              0.2178, 0.2734 and 0.1850 (near infrared)
    metadata  red: gelu(2) in biome 5, else 0; near infrared: gelu(sin of the month's angle)
    features  z + metadata, and the block adds 0.3 to blue
    refined   reflectance + 0.5 tanh(0.1 features / 0.5), held in 0..1.5
"""

import math
import shutil

import eozoo
import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from eozoo.cli import main
from eozoo.testing.watch import take_any_files

NAN = float("nan")
MEAN, STD = [0.1087, 0.1342, 0.1433, 0.2734], [0.2248, 0.2179, 0.2178, 0.1850]
FOUR = range(4)
BEYOND = 4  # the head sees z and z + metadata enlarged four times
WEIGHTS = {
    "metadata.biome.weight": {(5, 0): 2.0},
    "metadata.mix.0.weight": {(0, 0): 1.0, (1, 6): 1.0},  # sine of the first harmonic; first number of the biome
    "metadata.mix.2.weight": {(3, 0): 1.0, (2, 1): 1.0},
    "fusion.conv.weight": {(i, j, 0, 0): 1.0 for i in FOUR for j in (i, 4 + i)},
    "head.head.stem.weight": {(i, 4 + i, 1, 1): 1 / BEYOND for i in FOUR},
    "head.head.blocks.0.contract.bias": {0: 0.3},
    "head.head.change.weight": {(i, i, 0, 0): 0.1 for i in FOUR},
}


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def spectrum(*bands):
    return np.reshape(bands, (4, 1, 1))


def write_tile(root, name, target, given):
    """Write a tile of 16 x 16 px, June, biome 4, and its stage-1 output; reflectance (4, 1, 1) or (4, 16, 16)."""
    target, given = (np.ones((4, 16, 16)) * values for values in (target, given))
    for folder in ("tiles", "stage1"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    bands = {f"s2_b{number}": band.astype(np.float32) for number, band in zip((2, 3, 4, 8), target)}
    np.savez(root / "tiles" / f"{name}.npz", **bands, month=6, biome_code=4)
    np.savez(root / "stage1" / f"{name}.npz", opt_v1=given.astype(np.float32))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Training: target = 1.25 input + 0.02 in every band. Validation: one spectrum, one half without target."""
    root = tmp_path_factory.mktemp("world")
    ramp = np.linspace(0.05, 0.4, 256).reshape(16, 16) * spectrum(1, 1.5, 0.5, 2)
    write_tile(root, "train/a", 1.25 * ramp + 0.02, ramp)
    target = np.ones((4, 16, 16)) * spectrum(0.05, 0.08, 0.1, 0.4)
    target[1, :, 8:] = NAN
    write_tile(root, "val/b", target, spectrum(0.05, 0.08, 0.2, 0.3))
    return root


def train(root, run, *sets):
    small = [
        "model.head_width=4", "model.num_convnext_blocks=1", "model.quantization=none", "model.use_lora=false",
        "data.tile_size=16", "train.epochs=null", "train.steps=1", "train.accumulate=1", "train.precision=fp32",
        "train.adversarial_weight=0", "train.checkpoint_every=null", f"runtime.data_dir={root / 'tiles'}",
        f"runtime.stage1_dir={root / 'stage1'}", "runtime.tensorboard=false", "runtime.quiet=true",
        "runtime.device=cpu", "runtime.threads=1", "infer.window=16", "infer.stride=16", "eval.panels=0",
    ]  # fmt: skip
    options = [part for value in [*small, *sets] for part in ("--set", value)]
    done = CliRunner().invoke(main, ["train", "prithvi_refine", "--run", str(run), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return run


def with_weights(run, folder, weights):
    """Copy a run and set its parameters: 0 but for ``weights``, tensor name -> {index: number}; scaling stays."""
    path = shutil.copytree(run, folder / "run", symlinks=True)
    content = torch.load(path / "best.pt", weights_only=True)
    for name, tensor in content["model"].items():
        if name not in ("mean", "std"):
            tensor.zero_()
    for name, entries in weights.items():
        for index, value in entries.items():
            content["model"][name][index] = value
    torch.save(content, path / "best.pt")
    take_any_files(path)
    return path


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    return train(world, tmp_path_factory.mktemp("runs") / "head", "model.encoder=none")


@pytest.fixture(scope="module")
def known(trained, tmp_path_factory):
    return with_weights(trained, tmp_path_factory.mktemp("known"), WEIGHTS)


@pytest.fixture(scope="module")
def silent(trained, tmp_path_factory):
    return with_weights(trained, tmp_path_factory.mktemp("silent"), {})


def batch(*pixels, month=1, biome=0):
    """One image, a row of pixels (blue, green, red, near infrared)."""
    image = np.array(pixels, dtype=np.float32).T[None, :, None, :]
    return {"opt_v1": image, "month": np.array([month]), "biome": np.array([biome])}


def z_of(*pixel):
    return [(value - mean) / std for value, mean, std in zip(pixel, MEAN, STD)]


# z 1, 0.5, -0.25 and 0
PIXEL = (0.3335, 0.24315, 0.08885, 0.2734)


@pytest.mark.parametrize(
    ("month", "biome", "red", "nir"),
    [
        (1, 0, 0, 0),  # January is the angle 0
        (4, 0, 0, gelu(1.0)),  # a quarter of the year
        (10, 0, 0, gelu(-1.0)),
        (2, 5, gelu(2.0), gelu(0.5)),  # 30 degrees
        (7, 6, 0, 0),  # 180 degrees; a biome without weight
    ],
)
def test_features_and_refined_reflectance(known, month, biome, red, nir):
    run = eozoo.load_run(known)
    assert run.outputs == {"refined": "reflectance", "features": "1"}
    made = run.predict(batch(PIXEL, month=month, biome=biome))
    features = np.array([1 + 0.3, 0.5, -0.25 + red, nir])
    np.testing.assert_allclose(made["features"][0, :, 0, 0], features, atol=2e-6)
    np.testing.assert_allclose(made["refined"][0, :, 0, 0], PIXEL + 0.5 * np.tanh(0.2 * features), atol=2e-6)


def test_bounds_of_reflectance(known):
    dark, bright = (0.0, 0.0, 0.0, 0.0), (1.6, 1.6, 1.49, 0.9)
    made = eozoo.load_run(known).predict(batch(dark, bright))["refined"][0, :, 0]
    # dark: z are -0.48 + 0.3, -0.62, -0.66, -1.48: all below 0 before they are held there
    np.testing.assert_array_equal(made[:, 0], [0, 0, 0, 0])
    z = z_of(*bright)
    np.testing.assert_allclose(made[:, 1], [1.5, 1.5, 1.5, 0.9 + 0.5 * math.tanh(0.2 * z[3])], atol=2e-6)


def test_a_change_is_at_most_half(trained, tmp_path):
    run = with_weights(trained, tmp_path, {"head.head.change.bias": {0: 99.0, 1: -99.0}})
    made = eozoo.load_run(run).predict(batch((0.6, 0.6, 0.6, 0.6)))["refined"][0, :, 0, 0]
    np.testing.assert_allclose(made, [1.1, 0.1, 0.6, 0.6], atol=1e-6)


def test_missing_pixels_are_missing_and_their_neighbours_see_the_average(trained, tmp_path):
    """The stem looks at the right neighbour's blue z."""
    looks_right = {"fusion.conv.weight": {(0, 0, 0, 0): 1.0}, "head.head.stem.weight": {(0, 4, 1, 2): 1 / BEYOND}}
    run = eozoo.load_run(with_weights(trained, tmp_path, looks_right))
    made = run.predict(batch(PIXEL, PIXEL, (0.3335, 0.2, NAN, 0.2), PIXEL))
    expected = [1, 0, NAN, 0]  # beside a pixel of z 1; beside the missing one; missing; at the border
    np.testing.assert_allclose(made["features"][0, 0, 0], expected, atol=2e-6)
    for array in made.values():
        assert np.isnan(array[0, :, 0, 2]).all()
        assert np.isnan(array).sum() == 4


@pytest.mark.parametrize("unknown", ["month", "biome"])
def test_without_month_or_biome_a_sample_is_missing(known, unknown):
    one, two = batch(PIXEL, month=4), batch(PIXEL, month=4)
    one[unknown] = np.array([NAN])
    made = eozoo.load_run(known).predict({name: np.concatenate([one[name], two[name]]) for name in one})
    for array in made.values():
        assert np.isnan(array[0]).all()
        assert np.isfinite(array[1]).all()


def test_with_prithvi(world, tmp_path):
    """Zero change gives the input; what Prithvi says is joined behind image and fused image, in its own channels."""
    run = train(world, tmp_path / "nano", "model.encoder=prithvi_eo_nano")
    (tmp_path / "zero").mkdir()
    made = eozoo.load_run(with_weights(run, tmp_path / "zero", {})).predict(batch(*[PIXEL] * 9))
    np.testing.assert_array_equal(made["refined"][0, :, 0], np.array([PIXEL] * 9, np.float32).T)
    np.testing.assert_array_equal(made["features"], 0)
    (tmp_path / "bias").mkdir()
    says = {"project.bias": {1: 0.7}, "head.head.stem.weight": {(2, 9, 1, 1): 1.0}}
    says["head.head.change.weight"] = {(3, 2, 0, 0): 0.1}
    made = eozoo.load_run(with_weights(run, tmp_path / "bias", says)).predict(batch(*[PIXEL] * 9))
    np.testing.assert_allclose(made["features"][0, :, 0, 4], [0, 0, 0.7, 0], atol=1e-6)
    refined = [*PIXEL[:3], PIXEL[3] + 0.5 * math.tanh(0.07 / 0.5)]
    np.testing.assert_allclose(made["refined"][0, :, 0, 4], refined, atol=1e-6)


def test_scores_and_affine_fit(silent):
    scores = eozoo.load_run(silent).evaluate("val")
    # The input is (0.05, 0.08, 0.2, 0.3), the target (0.05, 0.08, 0.1, 0.4), in half of the pixels.
    ndvi = 0.3 / 0.5 - 0.1 / 0.5
    # 2.5 (N - R) / (N + 6 R - 7.5 B + 1)
    evi = 2.5 * 0.3 / (0.4 + 0.6 - 0.375 + 1) - 2.5 * 0.1 / (0.3 + 1.2 - 0.375 + 1)
    angle = math.acos((0.0025 + 0.0064 + 0.02 + 0.12) / math.sqrt((0.0089 + 0.01 + 0.16) * (0.0089 + 0.04 + 0.09)))
    expected = {
        "ndvi_rmse": ndvi, "evi_rmse": evi, "sam": angle, "l1": 0.2 / 4, "identity_l1": 0.0, "edge_l1": 0.0,
        "psnr": 10 * math.log10(1 / (0.02 / 4)), "loss": ndvi + 0.5 * evi + 0.3 * angle,
    }  # fmt: skip
    for name in ("model", "input", "unsharp mask"):  # nothing to sharpen in an even image
        found = {key: scores[name][key] for key in expected}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), name
    # 1.25 x input + 0.02 is 0.0825, 0.12, 0.27, 0.395: off by 0.0325, 0.04, 0.17, 0.005
    assert scores["affine fit"]["l1"] == pytest.approx(0.2475 / 4, rel=1e-4)
    assert scores["affine fit"]["identity_l1"] == pytest.approx((0.0325 + 0.04 + 0.07 + 0.095) / 4, rel=1e-4)


def test_a_scene_in_digital_numbers(known, tmp_path):
    """Processing baseline 04.00: reflectance = (number - 1000) / 10000, 0 = no data. April, biome 5."""
    source = tmp_path / "S2_20210415.tif"
    values = np.ones((4, 18, 20)) * spectrum(4335, 3432, 1888, 3734)  # PIXEL to within 0.5
    values[0, 7, 11] = 2087  # blue at its mean, z 0
    values[2, 3, 5] = 0
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_600_000), "nodata": 0}
    order = [3, 2, 1, 0]  # as no four-band file would be taken without names
    with rasterio.open(source, "w", driver="GTiff", count=4, height=18, width=20, dtype="uint16", **place) as file:
        file.write(values[order].astype(np.uint16))
        file.descriptions = ("B08", "B04", "B03", "B02")
    sets = ("infer.scale=0.0001", "infer.offset=-1000", "infer.biome=5")
    written, _ = eozoo.load_run(known, *sets).infer(source, tmp_path / "maps")
    features = np.array([1 + 0.3, 0.5, -0.25 + gelu(2.0), gelu(1.0)])
    with rasterio.open(written) as file:
        found = file.read(masked=True).filled(NAN)
        assert (file.crs.to_epsg(), file.transform) == (32631, place["transform"])
        assert set(file.units) == {"reflectance"}
        assert file.nodata is not None
        assert [name[:3] for name in file.descriptions] == ["B02", "B03", "B04", "B08"]
    np.testing.assert_allclose(found[:, 0, 0], PIXEL + 0.5 * np.tanh(0.2 * features), atol=1e-4)
    assert found[0, 7, 11] == pytest.approx(0.1087 + 0.5 * math.tanh(0.06), abs=1e-5)
    assert np.isnan(found[:, 3, 5]).all()
    assert np.isnan(found).sum() == 4


def test_a_tile(known, tmp_path):
    write_tile(tmp_path, "a", spectrum(*PIXEL), spectrum(*PIXEL))
    (written,) = eozoo.load_run(known, "infer.month=4", "infer.biome=5").infer(
        tmp_path / "tiles" / "a.npz", tmp_path / "out"
    )
    with np.load(written, allow_pickle=False) as made:
        features = np.array([1 + 0.3, 0.5, -0.25 + gelu(2.0), gelu(1.0)])
        np.testing.assert_allclose(made["opt_v2"][:, 9, 4], PIXEL + 0.5 * np.tanh(0.2 * features), atol=2e-6)
        assert (int(made["month"]), int(made["biome_code"])) == (4, 5)
