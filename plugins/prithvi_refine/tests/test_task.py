"""The verbs on a small run: two optimisers, the base kept once, scores, maps, plans and one-line errors."""

import json

import eozoo
import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from eozoo.cli import main
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.run.beginning import start_from
from eozoo_core.run.frozen import base_file
from eozoo_core.settings.config import load_settings
from eozoo_core.task.build import begin
from eozoo_core.task.train import Trainer
from eozoo_prithvi_refine.demo.landscape import landscape, write_world
from eozoo_prithvi_refine.discriminator import PatchDiscriminator
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import PrithviSettings
from eozoo_prithvi_refine.step import add_networks
from eozoo_prithvi_refine.survey import RefineSurvey
from eozoo_prithvi_refine.task import PrithviRefine
from eozoo_prithvi_refine.tile_files import read_npz, read_sidecar, tile_arrays, write_npz
from lightning_fabric import Fabric

SMALL = (
    "model.encoder=prithvi_eo_nano",
    "model.num_convnext_blocks=1",
    "model.head_width=8",
    "data.tile_size=24",
    "train.epochs=2",
    "train.batch_size=2",
    "train.accumulate=2",
    "train.validate_every=1",
    "train.checkpoint_every=1",
    "train.precision=bf16-mixed",
    "train.learning_rate=0.002",
    "infer.window=24",
    "infer.stride=16",
    "runtime.device=cpu",
    "runtime.pictures=2",
)

WIDE = ("infer.biome=4", "infer.window=96", "infer.stride=74")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), size=32, train=7, held_out=2)


def settings_of(world, *overrides):
    return load_settings(PrithviSettings, None, [*SMALL, f"runtime.data_dir={world.data_dir}", *overrides])


def new_run(path, settings):
    return Run.create(path, "prithvi_refine", settings, "test")


def task_of(settings):
    return PrithviRefine(settings, Registry.discover())


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A finished run, how often the generator ran in training, and the moves of both networks."""
    settings = settings_of(world)
    run = new_run(tmp_path_factory.mktemp("runs") / "run", settings)
    calls, forward = [], PrithviRefiner.forward

    def counted(self, *inputs):
        calls.append(self.training)
        return forward(self, *inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrithviRefiner, "forward", counted)
        task_of(settings).train(run)
    return run, sum(calls)


@pytest.fixture(scope="module")
def task(trained):
    return task_of(trained[0].settings)


def test_one_generator_forward_per_micro_batch_and_both_optimisers(trained):
    run, forwards = trained
    assert forwards == 2 * 3  # epochs x batches of two out of seven tiles
    content = run.load("current")
    assert content["step"] == 2 * 2
    for name in ("optimizer", "discriminator_optimizer"):
        steps = {int(s["step"]) for s in content[name]["state"].values()}
        assert steps == {4}, name
    rates = [content[n]["param_groups"][0]["lr"] for n in ("optimizer", "discriminator_optimizer")]
    assert rates[1] == pytest.approx(0.1 * rates[0])
    assert set(content["discriminator"]) == set(PatchDiscriminator().state_dict())


def test_log_holds_every_part(trained):
    run, _ = trained
    lines = run.read_log()
    assert [line["epoch"] for line in lines] == [1, 2]
    wanted = {"loss", "spectral_loss", "spectral_ndvi_rmse", "spectral_evi_rmse", "spectral_sam", "identity_loss"}
    wanted |= {"identity_l1", "identity_edge_l1", "adversarial_loss", "discriminator_loss"}
    train_values = lines[-1]["train"]
    assert wanted <= set(train_values)
    total = (
        train_values["spectral_loss"] + 0.5 * train_values["identity_loss"] + 0.05 * train_values["adversarial_loss"]
    )
    assert train_values["loss"] == pytest.approx(total, rel=1e-5)
    assert {"loss", "ndvi_rmse", "evi_rmse", "sam", "identity_l1", "identity_edge_l1"} <= set(lines[-1]["val"])


def test_tensorboard_has_curves_and_pictures(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0].path / "tensorboard"))
    events.Reload()
    assert "train/discriminator_loss" in events.Tags()["scalars"]
    assert "val/sam" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["val/input_output_target_difference"]


def test_checkpoints_hold_adapters_and_the_run_the_base_once(trained):
    run, _ = trained
    names = {f.name for f in run.path.glob("*.pt")}
    assert names == {"current.pt", "best.pt", "checkpoint_epoch_001.pt", "checkpoint_epoch_002.pt"}
    content = run.load("best")
    (base,) = run.path.glob("base-*.safetensors")
    assert base == base_file(run.path, content["base"]["sha256"])
    frozen = sum(v.numel() for k, v in content["model"].items() if "base_layer" in k or "patch_embed" in k)
    assert frozen == 0
    assert any("lora_A" in k for k in content["model"])


def test_another_run_goes_on_from_a_checkpoint_with_its_base(trained, world, tmp_path):
    run, _ = trained
    settings = settings_of(world, "train.epochs=3", "train.seed=5", "runtime.tensorboard=false")
    other = new_run(tmp_path / "other", settings)
    start_from(other, run.file("checkpoint_epoch_002"))
    task_of(settings).train(other)
    assert other.load("current")["epoch"] == 3
    assert other.load("current")["base"] == run.load("current")["base"]
    fresh = new_run(tmp_path / "fresh", settings)
    start_from(fresh, run.file("checkpoint_epoch_002"))
    fresh.note("resumed_from", None)  # then nothing says where its base is
    with pytest.raises(ZooError, match="names no frozen base"):
        task_of(settings).train(fresh)


@pytest.mark.parametrize("published", [False, True])
def test_a_start_that_is_repeated_begins_with_the_same_weights(world, tmp_path, published):
    """Killed before the first checkpoint: the base is in the run, the blocks that are trained are not."""
    torch.manual_seed(3)
    torch.save(build_encoder("prithvi_eo_nano").state_dict(), tmp_path / "w.pt")
    overrides = ["model.unfreeze_last_n_blocks=1", *([f"model.weights={tmp_path / 'w.pt'}"] if published else [])]
    settings = settings_of(world, *overrides, "runtime.quiet=true")
    run, systems = new_run(tmp_path / "run", settings), []
    for _ in range(2):
        torch.manual_seed(0)
        systems.append(begin(task_of(settings), run, RefineSurvey(), Fabric(accelerator="cpu", devices=1)))
    (first, base), (second, again) = systems
    assert base["base"].sha256 == again["base"].sha256
    assert ("random" not in run.info()["weights"]) == published
    whole = [torch.nn.Module.state_dict(m) for m in (first, second)]
    assert whole[0].keys() == whole[1].keys()
    assert all(torch.equal(v, whole[1][k]) for k, v in whole[0].items())


def test_an_encoder_that_is_trained_whole_is_whole_in_checkpoints(world, tmp_path):
    off = ("model.freeze_base=false", "model.quantization=none", "model.use_lora=false", "runtime.tensorboard=false")
    settings = settings_of(world, *off)
    run, task = new_run(tmp_path / "run", settings), task_of(settings)
    task.train(run)
    assert not list(run.path.glob("base-*"))
    assert "encoder.pos_embed" in run.load("best")["model"]
    assert task.evaluate(run, "val")["model"]["loss"] == pytest.approx(run.load("best")["best_val"], rel=1e-3)


def test_without_adversary_and_without_prithvi(world, tmp_path):
    overrides = ("train.adversarial_weight=0", "model.encoder=none", "train.epochs=1", "runtime.tensorboard=false")
    settings = settings_of(world, *overrides)
    run = new_run(tmp_path / "run", settings)
    task_of(settings).train(run)
    assert not {"discriminator", "discriminator_optimizer", "base"} & set(run.load("best"))
    assert not list(run.path.glob("base-*"))
    assert task_of(settings).evaluate(run, "test")["model"]["loss"] > 0


def test_discriminator_gets_no_gradient_from_the_generator(world, tmp_path):
    settings = settings_of(world, "model.encoder=none")
    task, fabric = task_of(settings), Fabric(accelerator="cpu", devices=1)
    run = new_run(tmp_path / "run", settings)
    system, _ = begin(task, run, RefineSurvey(), fabric)
    trainer = Trainer(run, fabric, system, task.loss(RefineSurvey()), RefineSurvey(), task.data("val"))
    add_networks(trainer)
    step, judge = task.step(trainer), trainer.modules["discriminator"].module
    refined = torch.rand(1, 4, 32, 32, requires_grad=True)
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, :16] = False
    step.judge(refined, valid).sum().backward()
    assert all(p.grad is None for p in judge.parameters())
    assert all(p.requires_grad for p in judge.parameters())
    assert (refined.grad[:, :, :16] == 0).all()
    assert refined.grad.abs().sum() > 0
    batch = {"refined": torch.rand(1, 4, 32, 32), "target": torch.rand(1, 4, 32, 32), "valid": valid, "count": 1}
    spoilt = batch | {"target": torch.where(valid[:, None], batch["target"], torch.nan)}
    assert step.discriminator(batch)[0].item() == step.discriminator(spoilt)[0].item()


def test_evaluation_stands_beside_its_input(trained, task):
    run, _ = trained
    scores = task.evaluate(run, "test")
    assert list(scores) == ["model", "input", "affine fit", "unsharp mask"]
    assert scores["input"]["identity_l1"] == 0
    assert {"psnr", "ssim", "edge_l1"} <= set(scores["model"])
    groups = json.loads((run.path / "eval_test" / "groups.json").read_text())
    assert {"month 01", "month 06", "biome 04", "biome 08", "place test_0", "place test_1"} == set(groups)
    assert groups["place test_0"] == groups["month 01"]
    page = (run.path / "eval_test" / "report.html").read_text()
    assert "random weights" in page
    assert "Targets of the document" in page
    said = CliRunner().invoke(main, ["eval", "prithvi_refine", "--run", str(run.path)], catch_exceptions=False).output
    row = next(line for line in said.splitlines() if line.startswith("identity_l1"))
    assert row.rstrip().endswith("met: < 0.05")
    assert sum("missed: <" in line or "met: <" in line for line in said.splitlines()) == 5
    assert "data:image/png" in page


def test_predict_marks_what_is_missing(trained, task):
    run, _ = trained
    batch = {"opt_v1": np.stack([landscape(i, 20, 26, 6, 4) for i in range(2)]), "month": [6, 1], "biome": [4, 8]}
    batch["opt_v1"][0, 2, 3, 4] = np.nan
    made = task.predict(run, batch)
    assert made["refined"].shape == (2, 4, 20, 26)
    assert made["features"].shape == (2, 8, 20, 26)
    for values in made.values():
        assert np.isnan(values[0, :, 3, 4]).all()
        assert np.isnan(values).sum() == values.shape[1]
    assert np.isnan(task.predict(run, batch | {"month": [np.nan, 1]})["refined"][0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"month": [13, 1]}, "month .* whole numbers from 1 to 12"),
        ({"biome": [17, 1]}, "biome .* whole numbers from 0 to 16"),
        ({"month": [6]}, "axis B of month is 1, of opt_v1 2"),
        ({"opt_v1": np.zeros((2, 3, 9, 9))}, "axis 4 of opt_v1 is 3"),
        ({"opt_v1": np.full((2, 4, 9, 9), 1500.0)}, "not reflectance"),
        ({"biome": None}, "the array biome .* is missing"),
        ({"time": [[2021, 166]] * 2}, "no array 'time' is asked for"),
    ],
)
def test_predict_refuses(trained, task, change, message):
    batch = {"opt_v1": np.zeros((2, 4, 9, 9)), "month": [6, 1], "biome": [4, 8]} | change
    with pytest.raises(ZooError, match=message):
        task.predict(trained[0], {k: v for k, v in batch.items() if v is not None})


def refine(trained, source, dest, *overrides):
    run = Run.open(trained[0].path, PrithviSettings, None, overrides)
    made = task_of(run.settings).infer(run, source, dest)
    return [file for file in made if not file.name.endswith("_guard.json")]  # what the guard said is for other tests


def test_tiles_folders_and_scenes(trained, world, tmp_path):
    (one,) = refine(trained, world.data_dir / "test" / "tile_0000.npz", tmp_path / "one", "infer.features=true")
    made, given = read_npz(one), read_npz(world.data_dir / "test" / "tile_0000.npz")
    assert made["opt_v2"].shape == (4, 32, 32)
    assert made["features"].shape == (8, 32, 32)
    np.testing.assert_array_equal(np.isnan(made["opt_v2"][0]), np.isnan(given["s2_b2"]))
    assert read_sidecar(one)["stage"] == "stage2_refined"
    write_npz(tmp_path / "in" / "a.npz", {"opt_v1": landscape(1, 20, 20, 6, 4)}, {"month": 6, "biome_code": 4})
    write_npz(tmp_path / "in" / "b" / "a.npz", tile_arrays(landscape(2, 20, 20, 1, 8), 1, 8))
    made = refine(trained, tmp_path / "in", tmp_path / "two")
    assert made == [tmp_path / "two" / name for name in ("a.npz", "b/a.npz", "scenes.jsonl")]
    scene, features = refine(trained, world.scene, tmp_path / "maps", *WIDE, "infer.features=true")
    with rasterio.open(scene) as file, rasterio.open(world.scene) as source:
        assert file.transform == source.transform
        assert file.descriptions[3] == "B08_refined"
        assert file.units[0] == "reflectance"
        np.testing.assert_array_equal(np.isnan(file.read()), np.isnan(source.read()))
    with rasterio.open(features) as file:
        assert file.count == 8
        assert file.descriptions[7] == "feature_07"


def test_folders_of_scenes_and_their_pictures(trained, world, tmp_path):
    (tmp_path / "in" / "north").mkdir(parents=True)
    for name in ("a_20210615.tif", "north/a_20210615.tif"):
        (tmp_path / "in" / name).write_bytes(world.scene.read_bytes())
    made = refine(trained, tmp_path / "in", tmp_path / "out", *WIDE, "infer.picture=true")
    names = [str(file.relative_to(tmp_path / "out")) for file in made]
    maps = [f"{folder}a_20210615{end}" for folder in ("", "north/") for end in ("_refined.tif", ".png")]
    assert names == [*maps, "scenes.jsonl"]
    assert all(file.exists() for file in made)
    (tmp_path / "in" / "a_20210615.jp2").write_bytes(world.scene.read_bytes())
    with pytest.raises(ZooError, match="two scenes are called a_20210615"):
        refine(trained, tmp_path / "in", tmp_path / "out", *WIDE)


def test_a_mask_hides_pixels(trained, world, tmp_path):
    with rasterio.open(world.scene) as source:
        profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": None}
    with rasterio.open(tmp_path / "classes.tif", "w", **profile) as file:
        file.write(np.repeat(np.array([[80, 10]], "uint8"), 85, axis=1).repeat(150, axis=0)[None])
    (made,) = refine(trained, world.scene, tmp_path / "out", *WIDE, f"infer.mask.classes={tmp_path / 'classes.tif'}")
    with rasterio.open(made) as file:
        values = file.read()
    assert np.isnan(values[:, :, :85]).all()
    assert np.isfinite(values[:, :, 130:]).all()


def test_an_ensemble_says_where_its_members_differ(world, tmp_path):
    sets = ("train.members=2", "train.epochs=1", "train.precision=fp32", "runtime.tensorboard=false", *WIDE)
    settings = settings_of(world, *sets)
    run, task = new_run(tmp_path / "run", settings), task_of(settings)
    task.train(run)
    assert len(list(run.path.glob("member_*/base-*"))) == 2  # each with its own random encoder
    scores = task.evaluate(run, "test")
    assert list(scores)[:3] == ["model", "member 0", "member 1"]
    batch = {"opt_v1": landscape(1, 20, 20, 6, 4)[None], "month": [6], "biome": [4]}
    made = task.predict(run, batch)
    assert set(made) == set(task.outputs()) == {"refined", "epistemic_refined_std"}
    each = [task_of(settings_of(world, *sets, f"infer.draws.members=[{i}]")).predict(run, batch) for i in (0, 1)]
    both = np.stack([one["refined"] for one in each])
    np.testing.assert_allclose(made["refined"], both.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(made["epistemic_refined_std"], both.std(axis=0), atol=1e-6)
    _, spread, _ = task.infer(run, world.scene, tmp_path / "maps")
    with rasterio.open(spread) as file:
        assert file.count == 4
        assert np.nanmax(file.read()) > 0
    (tile,) = task.infer(run, world.data_dir / "test" / "tile_0000.npz", tmp_path / "maps")
    assert set(read_npz(tile)) == {"opt_v2", "epistemic_refined_std", "month", "biome_code"}


def test_scenes_in_digital_numbers(trained, world, tmp_path, capsys):
    """The same map from reflectance, from numbers whose name or a setting tells the offset, and from packed ones."""
    with rasterio.open(world.scene) as source:
        profile, values = source.profile, source.read()
    numbers = np.where(np.isfinite(values), np.rint(values * 10000) + 1000, 0).astype("uint16")

    def write(name, packed=False):
        with rasterio.open(tmp_path / name, "w", **{**profile, "dtype": "uint16", "nodata": None}) as file:
            file.write(numbers)
            file.descriptions = ("B02", "B03", "B04", "B08")
            if packed:
                file.scales, file.offsets = (1e-4,) * 4, (-0.1,) * 4
        return tmp_path / name

    plain = write("dn_20210615.tif")
    with pytest.raises(ZooError, match=r"set infer\.offset to -1000 .* or 0"):
        refine(trained, plain, tmp_path / "out", "infer.biome=4")
    (b,) = refine(trained, world.scene, tmp_path / "out", *WIDE)
    with rasterio.open(b) as two:
        right = two.read()
    capsys.readouterr()
    for source, *settings in (
        (plain, "infer.scale=0.0001", "infer.offset=-1000"),
        (write("S2A_MSIL2A_20210615T101031_N0509_R022.tif"),),
        (write("packed_20210615.tif", packed=True),),
    ):
        (a,) = refine(trained, source, tmp_path / "out", *WIDE, *settings)
        with rasterio.open(a) as one:
            np.testing.assert_allclose(one.read(), right, atol=2e-3)
            assert "reflectance = " in one.tags()["READ"]
        assert f"{source.name}: reflectance = " in capsys.readouterr().err
    with pytest.raises(ZooError, match=r"infer\.offset is -1000, but scale 0.0001 and offset -0.1"):
        refine(trained, tmp_path / "packed_20210615.tif", tmp_path / "out", "infer.biome=4", "infer.offset=-1000")
    with pytest.raises(ZooError, match=r"values around .* are not reflectance 0..1 \(infer.scale is 1\)"):
        refine(trained, plain, tmp_path / "out", "infer.biome=4", "infer.scale=1")


def test_infer_refuses(trained, world, tmp_path):
    for source, overrides, message in [
        (world.scene, (), "infer.biome"),
        (tmp_path, ("infer.biome=4",), "is no NPZ tile"),
    ]:
        with pytest.raises(ZooError, match=message):
            refine(trained, source, tmp_path / "out", *overrides)
    write_npz(tmp_path / "in" / "a.npz", {"opt_v1": landscape(1, 20, 20, 6, 4)})
    with pytest.raises(ZooError, match="names no month"):
        refine(trained, tmp_path / "in", tmp_path / "out")
    undated = tmp_path / "undated.tif"
    undated.write_bytes(world.scene.read_bytes())
    with pytest.raises(ZooError, match="holds no date"):
        refine(trained, undated, tmp_path / "out", "infer.biome=4")
    three = tmp_path / "three_20210101.tif"
    with rasterio.open(three, "w", driver="GTiff", width=8, height=8, count=3, dtype="float32") as file:
        file.write(np.zeros((3, 8, 8), "float32"))
    with pytest.raises(ZooError, match=r"infer\.bands"):
        refine(trained, three, tmp_path / "out", "infer.biome=4")


def test_weights_that_do_not_match_are_one_line(world, tmp_path):
    torch.save({"encoder.norm.weight": torch.zeros(3)}, tmp_path / "w.pt")
    settings = settings_of(world, f"model.weights={tmp_path / 'w.pt'}", "runtime.tensorboard=false")
    with pytest.raises(ZooError, match="weights do not match the model") as error:
        task_of(settings).train(new_run(tmp_path / "run", settings))
    assert "\n" not in str(error.value)


def test_dry_run_counts_and_predicts(world, tmp_path):
    settings = settings_of(world)
    plan = task_of(settings).plan(Run(tmp_path, "prithvi_refine", settings))
    data = dict(plan.data)
    assert data.pop("machine").endswith(", no processes that load data")
    assert data.pop("layout").startswith("channels-last (rule: convolutions of 8 channels")
    assert data == {"train": "7 tiles", "val": "2 tiles", "test": "2 tiles", "bands": "B02, B03, B04, B08"}
    assert (plan.steps_per_epoch, plan.total_steps) == (2, 4)
    assert 0 < plan.trainable < plan.parameters
    assert plan.memory_bytes == sum(plan.memory_parts.values()) > plan.memory_parts["weights"]


def test_stage_3_trains_on_what_stage_2_refines(trained):
    """As the document calls it: refined = model(opt_v1, month, biome), segmentation = stage3(refined, sar)."""
    run, _ = trained
    model = eozoo.load_run(run.path).module()
    random = torch.Generator().manual_seed(0)
    opt_v1 = 0.3 * torch.rand(2, 4, 28, 28, generator=random)
    month, biome = torch.tensor([6, 1]), torch.tensor([4, 16])
    with torch.no_grad():
        refined = model(opt_v1, month, biome)
    expected = eozoo.load_run(run.path).predict({"opt_v1": opt_v1.numpy(), "month": [6, 1], "biome": [4, 16]})
    assert refined.shape == (2, 4, 28, 28)
    assert refined.numpy() == pytest.approx(expected["refined"], abs=1e-5)
    features = model.all(opt_v1, month, biome)["features"]
    assert features.numpy() == pytest.approx(expected["features"], abs=1e-3)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    assert any(values.dtype == torch.int8 for values in before.values())  # the frozen base, in 8 bit
    generator, stage_3 = torch.nn.Conv2d(2, 4, 1), torch.nn.Conv2d(6, 3, 3, padding=1)
    both = torch.nn.ModuleDict({"first": generator, "second": model, "third": stage_3}).train()
    optimizer = torch.optim.Adam(both.parameters(), lr=0.01)
    sar = torch.randn(2, 2, 28, 28, generator=random)
    truth = torch.randint(0, 3, (2, 28, 28), generator=random)
    refined = model(generator(sar).sigmoid(), month, biome)
    torch.nn.functional.cross_entropy(stage_3(torch.cat([refined, sar], dim=1)), truth).backward()
    assert generator.weight.grad.abs().sum() > 0
    optimizer.step()
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())
    x = opt_v1.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x, month, biome).sum(), x)
    way = torch.randn(x.shape, generator=random)
    up, down = ((model(opt_v1 + sign * 1e-2 * way, month, biome)).double().sum() for sign in (1, -1))
    assert (gradient * way).sum().item() == pytest.approx((up - down).item() / 2e-2, rel=0.1)
