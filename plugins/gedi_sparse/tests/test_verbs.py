"""gedi_sparse through the verbs: training, scores, maps, and what happens to bad input on the way."""

import json
import shutil
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from eozoo import load_run
from eozoo.cli import main
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_gedi_sparse.demo.landscape import write_landscape
from eozoo_gedi_sparse.settings import DOCUMENTED, DOCUMENTED_BANDS
from eozoo_gedi_sparse.task import GediSparse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("gedi")


@pytest.fixture(scope="module")
def made(root):
    return write_landscape(root / "data", tiles=(6, 2, 2), size=48, scene=(40, 70))


def eozoo(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


def options(made, *more):
    sets = [f"runtime.input_dir={made.input_dir}", f"runtime.label_dir={made.label_dir}", "runtime.tensorboard=false"]
    sets += [
        "model.options.width=4",
        "train.members=1",
        "data.crop=32",
        "train.epochs=2",
        "train.batch_size=4",
        "infer.window=32",
    ]
    sets += ["infer.stride=20", *more]
    return [word for item in sets for word in ("--set", item)]


@pytest.fixture(scope="module")
def run(root, made):
    eozoo("train", "gedi_sparse", "--run", root / "run", *options(made))
    return root / "run"


def copy_of(made, folder):
    for name in ("input", "label"):
        shutil.copytree(made.input_dir.parent / name, folder / name)
    return type(made)(folder / "input", folder / "label", made.scene, made.height)


def test_training_ends_with_log_and_test_result_and_beats_nothing_silently(run):
    log = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert log[0]["train"]["rmse"] == pytest.approx(log[0]["train"]["mse"] ** 0.5)
    scores = json.loads((run / "eval_test.json").read_text())["scores"]
    assert list(scores) == ["model", "training mean", "ridge", "forest"]
    assert all(
        {"rmse", "mae", "bias", "r2", "relative_rmse_percent", "gaussian_nll"} <= set(s) for s in scores.values()
    )
    assert len({s["n"] for s in scores.values()}) == 1


def test_scores_are_those_of_a_plain_calculation(run, made):
    eozoo("eval", "gedi_sparse", "--run", run, "--split", "val")
    scores = json.loads((run / "eval_val.json").read_text())["scores"]
    loaded, errors, labels = load_run(run), [], []
    for file in sorted((made.input_dir / "val").iterdir()):
        label = np.load(made.label_dir / "val" / file.name)[0]
        mean = loaded.predict({"image": np.load(file)})["mean"]
        valid = np.isfinite(label) & np.isfinite(mean)
        errors += (mean[valid].astype("float64") - label[valid]).tolist()
        labels += label[valid].astype("float64").tolist()
    assert scores["model"]["n"] == len(errors)
    assert scores["model"]["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)
    assert scores["model"]["bias"] == pytest.approx(np.mean(errors), rel=1e-5, abs=1e-6)
    assert scores["model"]["r2"] == pytest.approx(1 - np.mean(np.square(errors)) / np.var(labels), rel=1e-5)
    strata = json.loads((run / "eval_val" / "strata.json").read_text())["model"]
    assert sum(s["n"] for s in strata) == len(errors)


def test_map_of_a_scene_is_georeferenced_masked_and_equal_to_predict(run, made, tmp_path):
    output = eozoo("infer", "gedi_sparse", "--run", run, "--input", made.scene, "--output", tmp_path, "--quiet")
    assert [line.rsplit("/", 1)[1] for line in output.split()] == [
        "scene_mean.tif",
        "scene_std.tif",
        "scene.png",
        "scene_guard.json",
    ]
    with rasterio.open(made.scene) as source:
        bands = source.read()
        missing = (bands == source.nodata).any(axis=0) | ~np.isfinite(bands).all(axis=0)
        crs, transform = source.crs, source.transform
    assert missing.any()
    for name in ("mean", "std"):
        with rasterio.open(tmp_path / f"scene_{name}.tif") as made_map:
            assert (made_map.crs, made_map.transform, made_map.units) == (crs, transform, ("m",))
            assert np.isnan(made_map.nodata)
            values = made_map.read(1)
        np.testing.assert_array_equal(np.isnan(values), missing)
    assert (values[~missing] > 0).all()


def test_one_window_over_the_whole_scene_is_what_predict_gives(run, made, tmp_path):
    whole = ["--set", "infer.window=80", "--set", "infer.stride=80", "--set", "infer.picture=false"]
    eozoo("infer", "gedi_sparse", "--run", run, "--input", made.scene, "--output", tmp_path, *whole)
    with rasterio.open(made.scene) as source:
        bands = source.read().astype("float32")
        bands[bands == source.nodata] = np.nan
    assert max(bands.shape[1:]) <= 80  # it is seen at its own size
    expected = load_run(run).predict({"image": bands})
    for name in ("mean", "std"):
        with rasterio.open(tmp_path / f"scene_{name}.tif") as made_map:
            np.testing.assert_allclose(made_map.read(1), expected[name], rtol=1e-5)


def test_the_same_scene_however_it_is_written_gives_the_same_map(run, made, tmp_path):
    with rasterio.open(made.scene) as source:
        values, place = source.read(masked=True).filled(np.nan), {"crs": source.crs, "transform": source.transform}
    folder = tmp_path / "in"
    folder.mkdir()

    def write(name, bands, names=DOCUMENTED_BANDS, nodata=None, scale=None):
        shape = dict(zip(("count", "height", "width"), bands.shape), dtype=bands.dtype, nodata=nodata)
        with rasterio.open(folder / name, "w", driver="GTiff", **shape, **place) as out:
            out.write(bands)
            if names:
                out.descriptions = names
            if scale:
                out.scales = (scale,) * len(bands)

    packed = np.rint(np.nan_to_num(values, nan=-3.2) * 10_000).astype("int16")
    padded = [name.replace("B", "B0") if len(name) == 2 and name[0] == "B" else name for name in DOCUMENTED_BANDS]
    write("turned.tif", values[::-1], DOCUMENTED_BANDS[::-1])
    write("packed.tif", packed, nodata=-32000, scale=1e-4)
    write("padded.tif", values, padded)
    write("unnamed.tif", values[::-1], None)
    write("filled.tif", np.nan_to_num(values, nan=-9999))
    options = {
        "unnamed": ["infer.band_names=[" + ",".join(DOCUMENTED_BANDS[::-1]) + "]"],
        "filled": ["infer.nodata=[-9999]"],
    }

    def mapped(file, *sets):
        where = ["--input", file, "--output", tmp_path / "maps"]
        told = eozoo("infer", "gedi_sparse", "--run", run, *where, *(word for s in sets for word in ("--set", s)))
        with rasterio.open(tmp_path / "maps" / f"{file.stem}_mean.tif") as made_map:
            return made_map.read(1), told, made_map.tags().get("READ", "")

    expected = mapped(made.scene)[0]
    told = {}
    for file in sorted(folder.iterdir()):
        found, told[file.stem], tag = mapped(file, *options.get(file.stem, []))
        np.testing.assert_allclose(found, expected, atol=0.1 if file.stem == "packed" else 1e-5, err_msg=file.name)
        assert not tag or tag in told[file.stem]
    assert "packed.tif: values by the file's scale and offset tags: stored x 0.0001" in told["packed"]
    assert "padded.tif: bands found under other names: B1 = B01, B2 = B02" in told["padded"]
    with pytest.raises(AssertionError, match="holds -9999 and does not declare it as nodata"):
        mapped(folder / "filled.tif")
    assert np.isnan(expected).any()


def test_mse_trains_no_variance_and_writes_none(made, tmp_path):
    eozoo("train", "gedi_sparse", "--run", tmp_path / "r", *options(made, "model.loss.name=mse", "train.epochs=1"))
    assert load_run(tmp_path / "r").outputs == {"mean": "m"}
    eozoo("infer", "gedi_sparse", "--run", tmp_path / "r", "--input", made.scene, "--output", tmp_path / "o")
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["scene.png", "scene_guard.json", "scene_mean.tif"]
    assert "gaussian_nll" not in json.loads((tmp_path / "r" / "eval_test.json").read_text())["scores"]["model"]


def test_the_documents_settings_train(made, tmp_path):
    sets = options(made, "train.epochs=1", "model.options.width=4")
    eozoo("train", "gedi_sparse", "--run", tmp_path / "r", "--config", DOCUMENTED, *sets)
    assert (tmp_path / "r" / "checkpoint_epoch_001.pt").exists()


def test_dry_run_tells_and_writes_nothing(made, tmp_path):
    output = eozoo("train", "gedi_sparse", "--run", tmp_path / "r", "--dry-run", *options(made))
    assert "6 patches" in output
    assert "68,602" in output or "trainable (100.0%)" in output
    assert not (tmp_path / "r").exists()


def spoil_truncated(folder):
    file = folder / "input/train/place_001.npy"
    file.write_bytes(file.read_bytes()[:300])


def spoil_pickled(folder):
    np.save(folder / "input/train/place_001.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def spoil_bands(folder):
    file = folder / "input/train/place_001.npy"
    np.save(file, np.load(file)[:5])


def spoil_size(folder):
    file = folder / "label/train/place_001.npy"
    np.save(file, np.load(file)[:, :-1])


def spoil_labels(folder):
    for file in (folder / "label/train").iterdir():
        np.save(file, np.full_like(np.load(file), np.nan))


def spoil_partner(folder):
    (folder / "label/train/place_001.npy").unlink()


@pytest.mark.parametrize(
    ("spoil", "named", "message"),
    [
        (spoil_truncated, "input/train/place_001.npy", "cannot be read as a .npy array"),
        (spoil_pickled, "input/train/place_001.npy", "cannot be read as a .npy array"),
        (spoil_bands, "input/train/place_001.npy", "has 5 bands"),
        (spoil_size, "label/train/place_001.npy", "is 47 x 48 px"),
        (spoil_labels, "label/train", "none of 6 label files has a value"),
        (spoil_partner, "input/train/place_001.npy", "has no label"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_training_data_is_one_line_that_names_the_file(made, tmp_path, spoil, named, message):
    copied = copy_of(made, tmp_path)
    spoil(tmp_path)
    output = eozoo("train", "gedi_sparse", "--run", tmp_path / "r", *options(copied), code=1)
    line = output.strip().splitlines()[-1]
    assert line.startswith(f"Error: {tmp_path / named}")
    assert message in line


def test_nan_in_inputs_and_labels_do_not_reach_the_weights(made, tmp_path):
    copied = copy_of(made, tmp_path)
    for file in (tmp_path / "input" / "train").iterdir():
        bands = np.load(file)
        bands[:, ::3] = np.nan
        np.save(file, bands)
    eozoo("train", "gedi_sparse", "--run", tmp_path / "r", *options(copied))
    prediction = load_run(tmp_path / "r").predict({"image": np.zeros((14, 20, 20), "float32")})
    assert np.isfinite(prediction["mean"]).all()


def test_integer_raster_with_nodata(run, tmp_path):
    profile = {"driver": "GTiff", "dtype": "int16", "count": 14, "height": 33, "width": 45, "nodata": -1}
    profile |= {"crs": "EPSG:32647", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 2e6)}
    with rasterio.open(tmp_path / "whole.tif", "w", **profile) as out:
        bands = np.ones((14, 33, 45), "int16")
        bands[5, 4, 7] = -1
        out.write(bands)
    where = ["--input", tmp_path / "whole.tif", "--output", tmp_path / "o"]
    said = eozoo("infer", "gedi_sparse", "--run", run, *where, code=1)
    assert "B1 has median 1, training saw 0.004" in said
    assert not (tmp_path / "o").exists()
    eozoo("infer", "gedi_sparse", "--run", run, *where, "--set", "infer.on_unlike=warn")
    with rasterio.open(tmp_path / "o" / "whole_mean.tif") as made_map:
        assert made_map.dtypes == ("float32",)
        assert np.argwhere(np.isnan(made_map.read(1))).tolist() == [[4, 7]]
        assert "not in the units of the training data" in made_map.tags()["UNLIKE_TRAINING"]


def test_a_scene_in_other_units_than_training_is_refused(run, made, tmp_path):
    with rasterio.open(made.scene) as source:
        profile, bands = source.profile, source.read()
    bands[bands != profile["nodata"]] *= 10_000
    with rasterio.open(tmp_path / "dn.tif", "w", **profile) as out:
        out.write(bands)
        out.descriptions = DOCUMENTED_BANDS
    where = ["--input", tmp_path / "dn.tif", "--output", tmp_path / "o"]
    message = eozoo("infer", "gedi_sparse", "--run", run, *where, code=1)
    assert f"{tmp_path / 'dn.tif'}: values are not in the units of the training data" in message
    assert not list((tmp_path / "o").glob("*"))


@pytest.fixture
def folder(made, tmp_path):
    """A folder of three rasters; the pixels of the second are cut off, its header is whole."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        shutil.copy(made.scene, tmp_path / "in" / f"{name}.tif")
    damaged = tmp_path / "in" / "b.tif"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    return tmp_path / "in"


def test_a_damaged_file_in_a_folder_is_noted_and_the_others_are_mapped(run, folder, tmp_path):
    where = ["--input", folder, "--output", tmp_path / "o", "--set", "infer.picture=false"]
    output = eozoo("infer", "gedi_sparse", "--run", run, *where, code=1)
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "a_guard.json", "a_mean.tif", "a_std.tif", "c_guard.json", "c_mean.tif", "c_std.tif", "scenes.jsonl",
        "mosaic_mean.vrt", "mosaic_std.vrt", "collection.json", "items", "model.json",
    }  # fmt: skip
    told = [json.loads(line) for line in (tmp_path / "o" / "scenes.jsonl").read_text().splitlines()]
    assert {line["scene"]: line["state"] for line in told} == {"a.tif": "done", "b.tif": "failed", "c.tif": "done"}
    why = next(line["why"] for line in told if line["state"] == "failed")
    assert why.startswith(f"{folder / 'b.tif'}: ")
    list_file = tmp_path / "o" / "scenes.jsonl"
    assert output.splitlines()[-2:] == [
        str(tmp_path / "o" / "collection.json"),
        f"Error: {folder}: 1 of 3 scenes failed, {list_file} says why; the same command tries them again; first: {why}",
    ]


def test_or_ends_the_work_where_asked_for(run, folder, tmp_path):
    where = ["--input", folder, "--output", tmp_path / "o", "--strict"]
    output = eozoo("infer", "gedi_sparse", "--run", run, *where, code=1)
    assert output.splitlines()[-1].startswith(f"Error: {folder / 'b.tif'}: ")
    assert {p.name.split("_")[0] for p in (tmp_path / "o").iterdir()} == {"a", "a.png", "scenes.jsonl"}


@pytest.mark.parametrize(
    ("shape", "message"), [((13, 8, 8), "must be ([B,] 14, H, W)"), ((8, 8), "must be ([B,] 14, H, W)")]
)
def test_predict_says_what_shape_it_wants(run, shape, message):
    with pytest.raises(ZooError, match="predict"):
        load_run(run).predict({"image": np.zeros(shape, "float32")})


def test_a_raster_of_other_bands_is_refused_and_hides_no_other(run, made, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(made.scene, tmp_path / "in" / "a.tif")
    profile = {"driver": "GTiff", "dtype": "float32", "count": 3, "height": 9, "width": 9}
    with rasterio.open(tmp_path / "in" / "z.tif", "w", **profile) as out:
        out.write(np.zeros((3, 9, 9), "float32"))
    message = eozoo(
        "infer", "gedi_sparse", "--run", run, "--input", tmp_path / "in", "--output", tmp_path / "o", code=1
    )
    assert f"{tmp_path / 'in' / 'z.tif'}: has 3 bands, the run needs 14" in message
    assert (tmp_path / "o" / "a_mean.tif").exists()


@pytest.mark.slow
def test_export_is_what_predict_says(run, tmp_path):
    for kind, file in (("torch-export", "net.pt2"), ("safetensors", "net.safetensors")):
        output = eozoo("export", "gedi_sparse", "--run", run, "--format", kind, "--output", tmp_path / file)
        assert output.startswith("image float32 (batch, 14, height, width) -> mean [m], std [m]; largest difference")


@pytest.mark.slow
def test_an_exported_onnx_file_needs_onnxruntime_only(run, tmp_path):
    import onnxruntime

    file = tmp_path / "chm.onnx"
    eozoo("export", "gedi_sparse", "--run", run, "--format", "onnx", "--output", file)
    session = onnxruntime.InferenceSession(file)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["inputs"])["image"]["about"].startswith(f"bands {', '.join(DOCUMENTED_BANDS)}, in this")
    assert json.loads(told["outputs"])["std"]["unit"] == "m"
    random = np.random.default_rng(0)
    for shape in ((1, 14, 40, 70), (3, 14, 33, 5), (1, 14, 1, 1)):  # odd, smaller than the network halves, one pixel
        image = random.uniform(0, 0.5, shape).astype("float32")
        image[:, 3, 0, 0] = [np.nan, np.inf, -np.inf][: shape[0]]
        mean, std = session.run(["mean", "std"], {"image": image})
        expected = load_run(run).predict({"image": image})
        assert np.isnan(mean[:, 0, 0]).all()
        assert np.isnan(mean).sum() == shape[0]
        np.testing.assert_allclose(mean, expected["mean"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(std, expected["std"], rtol=1e-4, atol=1e-4)


def test_a_card_names_the_published_weights_that_a_network_began_with(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert "**first weights**: random" in eozoo("card", "gedi_sparse", "--run", copy)
    info = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**info, "weights": "resnet18 of timm 1.0, published weights"}))
    assert "**first weights**: resnet18 of timm 1.0" in eozoo("card", "gedi_sparse", "--run", copy)


def test_the_kit_catches_a_task_that_maps_absurd_values(run, made, tmp_path):
    from eozoo.testing.guard import absurd_inputs_are_refused

    opened = Run.open(run, GediSparse.Settings, "gedi_sparse", ["runtime.quiet=true"])
    bench = SimpleNamespace(
        writes=lambda hook: True,
        open=lambda path: (GediSparse(opened.settings, Registry.discover()), opened),
        copy=lambda path, folder: path,
        source=lambda folder: made.scene,
        finished=SimpleNamespace(path=run),
    )
    absurd_inputs_are_refused(bench, tmp_path)
    with (
        patch("eozoo_core.task.guard.allow", lambda *_: None),
        pytest.raises(AssertionError, match=r"infer\(\) of values times 10,000 is not refused"),
    ):
        absurd_inputs_are_refused(bench, tmp_path)
