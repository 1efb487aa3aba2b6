"""What a run answers, against numbers worked out on paper: samples, statistics and weights are all set by hand.

The statistics (written as build_patches writes them) make z-scores easy: BT channel i has mean 280 + i K and std
10 K, RF channels 0.5 and 0.25, SZA 30 and 20 degrees, DEM 100 and 50 m, the land-sea mask goes in as it is; the
temperature has mean 12 degC and std 8 K, so a z-score of 1 is 20 degC.
"""

import json
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
MEAN = [280.0 + i for i in range(10)] + [0.5] * 6 + [30.0, 100.0, 0.0]
STD = [10.0] * 10 + [0.25] * 6 + [20.0, 50.0, 1.0]
TA = {"ta_mean": 12.0, "ta_std": 8.0}
RIDGE = 0.5
# Places in the context: 19 centre values, 7 of time, 4 of place, 17 classes.
IR, RF, SZA, DEM, LAND = 6, 12, 16, 17, 18
SIN_DAY, SIN_HOUR, COS_HOUR, COS_MONTH = 19, 21, 22, 24
SIN_LAT, COS_LON, CLASS = 26, 29, 30
AUXILIARY = 47  # the first of the 32 means of the convolved maps, behind the context
# 12 x 11 pixels of 2 km; the centre of column 5, row 5 is the projection's origin: 38 N, 126 E.
WIDTH, HEIGHT, LEFT, TOP = 12, 11, -11_000.0, 11_000.0


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def write_chunk(folder, split, rows):
    """Write a chunk of (timestamp, station, IR z-score, DEM z-score, temperature z-score), all else the same."""
    n = len(rows)
    x, hot = torch.zeros(n, 19, 9, 9), torch.zeros(n, 17)
    hot[:, 3] = 1
    for i, row in enumerate(rows):
        x[i, IR], x[i, DEM] = row[2], row[3]
    content = {
        "x": x,
        "y": torch.tensor([row[4] for row in rows]),
        "time7": torch.tensor([[0.5, 0.5, 1.0, 0.0, 0.5, 0.5, 0.0]] * n),
        "loc": torch.tensor([[38.0, 126.0, 2000.0]] * n),
        "landcover_onehot": hot,
        "meta": [(row[0], row[1], 5, 5) for row in rows],
    }
    torch.save(content, folder / f"{split}_chunk_00000.pt")


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Two training samples, c + d and c - d with d = (IR 1, DEM 2), z-scores 0.5 + 1 and 0.5 - 1; two for val."""
    folder = tmp_path_factory.mktemp("patch_pt")
    write_chunk(folder, "train", [("2022-04-01T06:00", 1, 1, 2, 1.5), ("2022-04-01T06:00", 2, -1, -2, -0.5)])
    write_chunk(folder, "val", [("2023-04-01T06:00", 1, 3, 0, 1.0), ("2023-04-01T06:00", 3, 0, 0, -0.25)])
    (folder / "normalisation.json").write_text(json.dumps({"mean": MEAN, "std": STD, **TA}))
    static = np.stack([np.full((HEIGHT, WIDTH), v, np.float32) for v in (150, 1, 3)])
    static[2, 5, 6] = NAN  # a pixel without land cover
    profile = {"count": 3, "height": HEIGHT, "width": WIDTH, "dtype": "float32", "nodata": NAN}
    place = {"crs": "EPSG:32652", "transform": rasterio.Affine(2000, 0, LEFT, 0, -2000, TOP)}
    with rasterio.open(folder / "static_2022.tif", "w", driver="GTiff", **profile, **place) as file:
        file.write(static)
        file.descriptions = ("dem", "lsmask", "landcover")
    return folder


def train(patches, run, *sets):
    small = [
        f"data.grid={{width: {WIDTH}, height: {HEIGHT}, left: {LEFT}, top: {TOP}}}", "model.hidden=8",
        "train.epochs=null", "train.steps=1", "train.batch_size=2", "train.schedule.warmup_steps=0",
        f"runtime.data_dir={patches}", f"runtime.index_dir={patches / 'none'}", "runtime.tensorboard=false",
        "train.precision=fp32", "runtime.quiet=true", "runtime.device=cpu", "runtime.threads=1", "infer.picture=false",
    ]  # fmt: skip
    options = [part for value in [*small, *sets] for part in ("--set", value)]
    done = CliRunner().invoke(main, ["train", "clay_ta", "--run", str(run), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return run


@pytest.fixture(scope="module")
def trained(patches, tmp_path_factory):
    return train(patches, tmp_path_factory.mktemp("runs") / "free", "model.type=clay_free")


@pytest.fixture(scope="module")
def ridge(patches, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ridge"
    return train(patches, path, "model.type=centre_ridge", f"model.ridge={RIDGE}")


def with_weights(run, folder, **values):
    """Copy a run and set its parameters: 0 but for ``values``, tensor name (. as __) -> {index: number}.

    The statistics of the samples are no parameters and stay.
    """
    path = shutil.copytree(run, folder / "run")
    content = torch.load(path / "best.pt", weights_only=True)
    for name, tensor in content["model"].items():
        if name not in ("mean", "std", "ta_mean", "ta_std"):
            tensor.zero_()
    for name, entries in values.items():
        for index, value in entries.items():
            content["model"][name.replace("__", ".")][index] = value
    torch.save(content, path / "best.pt")
    take_any_files(path)
    return path


# z = 0.05 + 0.5 IR - 0.25 RF + 0.1 SZA + 0.2 DEM + 0.3 LAND + ...
DIRECT = {
    (0, IR): 0.5, (0, RF): -0.25, (0, SZA): 0.1, (0, DEM): 0.2, (0, LAND): 0.3,
    (0, SIN_DAY): 0.04, (0, SIN_HOUR): 0.06, (0, COS_HOUR): 0.7, (0, COS_MONTH): 0.1,
    (0, SIN_LAT): 0.2, (0, COS_LON): 0.4, (0, CLASS + 3): 0.15, (0, CLASS + 4): 0.25,
}  # fmt: skip


@pytest.fixture(scope="module")
def linear(trained, tmp_path_factory):
    return with_weights(trained, tmp_path_factory.mktemp("linear"), direct__weight=DIRECT, direct__bias={0: 0.05})


def batch(n=1, **centre):
    """Samples at their means in every channel, sea, 30 N 120 E, class 3, 2022-04-01 06:00; ``centre`` at the centre."""
    x = np.broadcast_to(np.reshape(MEAN, (19, 1, 1)), (n, 19, 9, 9)).astype(np.float32)
    for name, value in centre.items():
        x[:, {"ir": IR, "rf": RF, "sza": SZA, "dem": DEM, "land": LAND}[name], 4, 4] = value
    seconds = (np.datetime64("2022-04-01T06:00", "s") - np.datetime64(0, "s")).astype(float)
    single = {"time": seconds, "lat": 30.0, "lon": 120.0, "landcover": 3.0}
    return {"x": x, **{name: np.full(n, value) for name, value in single.items()}}


# At the mean of all channels: bias 0.05; 1 April is day 91: 0.04 sin(2 pi 91 / 365.25); 6 h: sin 1, cos 0: 0.06;
# month 4: cos(120 degrees) = -0.5: -0.05; 30 N: sin 0.5: 0.1; 120 E: cos -0.5: -0.2; class 3: 0.15
AT_MEAN = 0.05 + 0.04 * math.sin(2 * math.pi * 91 / 365.25) + 0.06 - 0.05 + 0.1 - 0.2 + 0.15


@pytest.mark.parametrize(
    ("centre", "z"),
    [
        ({}, 0.0),
        ({"ir": 306.0}, 0.5 * 2),  # mean 286 K
        ({"rf": 0.25}, -0.25 * -1),
        ({"sza": 50.0}, 0.1 * 1),
        ({"dem": 200.0}, 0.2 * 2),
        ({"land": 1.0}, 0.3 * 1),
        ({"ir": 276.0, "dem": 50.0, "land": 1.0}, -0.5 - 0.2 + 0.3),
    ],
)
def test_every_input_by_hand(linear, centre, z):
    run = eozoo.load_run(linear)
    assert run.outputs == {"ta": "degC"}
    found = run.predict(batch(**centre))["ta"]
    np.testing.assert_allclose(found, [12 + 8 * (AT_MEAN + z)], atol=2e-5)


def test_kelvin_is_273_15_more(linear):
    run = eozoo.load_run(linear, "infer.unit=K")
    assert run.outputs == {"ta": "K"}
    np.testing.assert_allclose(run.predict(batch())["ta"], [285.15 + 8 * AT_MEAN], atol=5e-5)


def test_class_and_hour(linear):
    given = batch(4)
    given["landcover"][1:3] = 4, 16  # 0.25 in place of 0.15, and no weight
    given["time"][3] -= 6 * 3600  # midnight: sine 0 in place of 1 (0.06), cosine 1 in place of 0 (0.7)
    change = 8 * np.array([0, 0.1, -0.15, 0.64])
    np.testing.assert_allclose(eozoo.load_run(linear).predict(given)["ta"], 12 + 8 * AT_MEAN + change, atol=2e-5)


def test_missing_values_are_missing(linear):
    given = batch(6)
    given["x"][1, 0, 0, 0] = NAN  # one pixel at a corner of the window
    for i, (name, value) in enumerate({"time": NAN, "lat": NAN, "landcover": 17.0}.items(), 2):
        given[name][i] = value
    assert np.isfinite(eozoo.load_run(linear).predict(given)["ta"]).tolist() == [True, False, False, False, False, True]


def test_weights_of_zero_say_the_training_mean(trained, tmp_path):
    run = with_weights(trained, tmp_path)
    np.testing.assert_allclose(eozoo.load_run(run).predict(batch(ir=320.0))["ta"], [12.0], atol=1e-5)


def test_the_head_by_hand(trained, tmp_path):
    """IR and the mean of convolved SZA and DEM maps enter the first hidden unit; two GELUs and the output follow."""
    run = with_weights(
        trained,
        tmp_path,
        auxiliary__0__weight={(0, 0, 1, 1): 0.5, (0, 1, 1, 1): 1.0},  # of SZA, DEM, LSMASK the centres
        auxiliary__2__weight={(0, 0, 1, 1): 1.0},
        context__weight={(0, IR): 1.0, (0, AUXILIARY): 2.0},
        context__bias={0: 0.25},
        head__2__weight={(3, 0): 1.0},
        head__5__weight={(0, 3): 0.5},
        head__5__bias={0: -0.1},
    )
    given = batch(ir=291.0)  # z 0.5
    given["x"][:, SZA] = 50.0  # z 1 everywhere
    given["x"][:, DEM] = 150.0  # z 1 everywhere, but for what two 3 x 3 convolutions without border leave out
    given["x"][:, DEM, :2] = given["x"][:, DEM, :, 7:] = 900.0
    hidden = 0.25 + 0.5 + 2 * gelu(gelu(0.5 + 1.0))
    z = 0.5 * gelu(gelu(hidden)) - 0.1
    np.testing.assert_allclose(eozoo.load_run(run).predict(given)["ta"], [12 + 8 * z], atol=2e-5)


@pytest.mark.parametrize(("ir", "dem", "z"), [(1, 2, 5 / 5.5), (-1, -2, -5 / 5.5), (3, 0, 3 / 5.5), (0, 0, 0)])
def test_ridge_by_hand(ridge, ir, dem, z):
    """Two samples c + d and c - d, y = 0.5 + 1 and 0.5 - 1: 2 d d' w + 2 penalty w = 2 d, so w = d / (|d|^2 + penalty).

    With |d|^2 = 1 + 4 and penalty 0.5: w = d / 5.5; the intercept is not shrunk, so c itself gets 0.5. All inputs but
    IR and DEM are the same in both samples and have the weight 0.
    """
    given = batch(ir=286 + 10 * ir, dem=100 + 50 * dem)
    np.testing.assert_allclose(eozoo.load_run(ridge).predict(given)["ta"], [12 + 8 * (0.5 + z)], atol=1e-3)


def test_scores_beside_climatology_and_mean(ridge):
    scores = eozoo.load_run(ridge).evaluate("val")
    # model z: 0.5 + 3 / 5.5 and 0.5; truth 1 and -0.25. Errors in K:
    errors = 8 * np.array([0.5 + 3 / 5.5 - 1, 0.75])
    model = scores["model"]
    assert model["n"] == 2
    assert model["mse_K2"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert model["rmse_norm"] == pytest.approx(((errors / 8) ** 2).mean() ** 0.5, rel=1e-4)
    assert model["loss"] == pytest.approx(((errors / 8) ** 2).mean(), rel=1e-4)
    assert model["bias_K"] == pytest.approx(errors.mean(), rel=1e-4)
    assert scores["mean"]["mae_K"] == pytest.approx((8 + 2) / 2, rel=1e-5)  # 12 for 20 and 10 degC
    # Climatology: its 13 terms have the squared length 1 + 2 + 2 + 1 = 6 at any time. Training had 24 degC at station 1
    # and 8 at station 2, at the hour of val: the common curve is 16, station 1 is 8 above, drawn to it by
    # 6 / (6 + 1). So 16 + 48 / 7 for a truth of 20, and 16 for the station without training, truth 10.
    climatology = np.array([16 + 48 / 7 - 20, 16 - 10])
    assert scores["climatology"]["mse_K2"] == pytest.approx((climatology**2).mean(), rel=1e-4)
    assert model["skill_climatology"] == pytest.approx(1 - (errors**2).sum() / (climatology**2).sum(), rel=1e-3)


@pytest.mark.parametrize(("unit", "zero"), [("degC", 0.0), ("K", 273.15)])
def test_a_map(linear, unit, zero, tmp_path):
    shape, stamp = (HEIGHT, WIDTH), "202204010600"
    bt = np.stack([np.full(shape, mean, np.float32) for mean in MEAN[:10]])
    bt[IR, 5, 5] = 306.0
    bt[0, 10, 11] = NAN  # the south-eastern corner: in the window of row 6, column 7 only
    np.save(tmp_path / f"bt_{stamp}.npy", bt)
    np.save(tmp_path / f"rf_{stamp}.npy", np.full((6, *shape), 0.5, np.float32))
    np.save(tmp_path / f"sza_{stamp}.npy", np.full(shape, 50.0, np.float32))
    written = eozoo.load_run(linear, f"infer.unit={unit}").infer(tmp_path, tmp_path / "maps")
    assert [file.name for file in written] == [f"ta_{stamp}.tif"]
    with rasterio.open(written[0]) as file:
        found = file.read(1)
        assert (file.units, math.isnan(file.nodata)) == ((unit,), True)
        assert file.transform[:6] == (2000, 0, LEFT, 0, -2000, TOP)
        lcc = file.crs.to_dict()
        assert (lcc["proj"], lcc["lat_0"], lcc["lon_0"]) == ("lcc", 38, 126)
    # Rows 4 to 6 and columns 4 to 7 have whole windows; (5, 6) has no class.
    usable = [(row, col) for row in (4, 5, 6) for col in (4, 5, 6, 7) if (row, col) not in ((6, 7), (5, 6))]
    assert list(zip(*np.nonzero(np.isfinite(found)))) == usable
    # SZA z 1: 0.1, DEM 150 m z 1: 0.2, land: 0.3; AT_MEAN without the 0.1 and -0.2 of its place, and with 38 N, 126 E,
    # the centre of (5, 5), where IR has z 2.
    place = 0.2 * math.sin(math.radians(38)) + 0.4 * math.cos(math.radians(126))
    z = AT_MEAN + 0.1 + 0.2 + 0.3 + 0.1 + place
    assert found[5, 5] == pytest.approx(12 + zero + 8 * (z + 1), abs=5e-5)
    assert found[4, 5] == pytest.approx(12 + zero + 8 * z, abs=0.004)  # 2 km north: 0.018 degrees
    assert found[4, 5] - found[6, 5] > 5e-4  # two rows are 0.036 degrees: 0.2 cos(38) 0.00063 x 8 = 0.0008
