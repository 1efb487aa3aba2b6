"""Metrics, baselines and reports against hand-worked numbers; fine-tuning from a pre-training run."""

import json
import shutil

import numpy as np
import pytest
import torch
from eozoo.registry import Registry
from eozoo_barlow_twins.colours import Colours
from eozoo_barlow_twins.embeddings import write_embeddings
from eozoo_barlow_twins.evaluation import compare
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.probe import (
    Labelled,
    Probe,
    block_intervals,
    draw_labels,
    raw_features,
)
from eozoo_barlow_twins.settings import PixelEval
from eozoo_barlow_twins.survey import ClassSurvey
from eozoo_core import Run, ZooError
from eozoo_core.run.checkpoint import load_checkpoint, sha256
from eozoo_core.run.table_file import read_table
from eozoo_core.score.classes import class_scores, class_table, confusion_of
from eozoo_core.settings.config import load_settings, to_dict

REGISTRY = Registry.discover()
SMALL = ["runtime.tensorboard=false", "runtime.quiet=true", "train.epochs=1", "train.batch_size=512"]
MLP = "model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}"


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(0)
    target, predicted = random.integers(0, 4, 300), random.integers(0, 5, 300)  # class 4 is never in the reference
    scores = class_scores(confusion_of(target, predicted, 5))
    assert scores["accuracy"] == pytest.approx(accuracy_score(target, predicted))
    for name in ("macro", "weighted"):
        wanted = f1_score(target, predicted, average=name, labels=[0, 1, 2, 3])
        assert scores[f"{name}_f1"] == pytest.approx(wanted)


def test_class_table_by_hand():
    rows = class_table(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert rows[0] == {"labels": 4, "precision": 0.6, "recall": 0.75, "f1": pytest.approx(6 / 9), "iou": 0.5}
    assert rows[2] == {"labels": 0, "precision": None, "recall": None, "f1": None, "iou": None}


def test_intervals_resample_blocks_not_pixels():
    """Ten blocks, all right or all wrong, 100 pixels each: accuracy 0.5 with the deviation of 10 coin tosses, 0.16; as
    pixels it would be 0.016. 2.5 % of such means are below 0.2, and ten blocks widen that by 1.2166."""
    target = np.zeros(1000, int)
    predicted, blocks = np.repeat([0, 1] * 5, 100), np.repeat(np.arange(10), 100)
    low, high = block_intervals(target, predicted, blocks, 2, 2000)["accuracy"]
    factor = np.sqrt(10 / 9) * 2.262157 / 1.959964  # t of 9 degrees of freedom
    assert (low, high) == pytest.approx((0.5 - 0.3 * factor, 0.5 + 0.3 * factor), abs=1e-6)
    assert block_intervals(target[:500], predicted[:500], blocks[:500], 2, 2000) == {}


def test_raw_features_interpolate_by_hand():
    """Days 10, 20, 40, 70; the second is cloudy; grid every 30 days from day 10: 10, 40, 70."""
    days = np.array([10, 20, 40, 70])
    bands = np.array([[[1.0], [99.0], [4.0], [10.0]], [[5.0], [6.0], [7.0], [8.0]], [[1.0], [2.0], [3.0], [4.0]]])
    clear = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    assert raw_features(bands, clear, days, 30)[:2].tolist() == [[1, 4, 10], [6, 6, 6]]
    assert np.isnan(raw_features(bands, clear, days, 30)[2]).all()
    assert raw_features(bands[:1], clear[:1], days, 20)[0].tolist() == [1, 3, 6, 10]  # days 10, 30, 50, 70


def test_drawn_labels_hold_every_class():
    target = np.repeat([0, 1, 2], [1000, 100, 3])
    rows = draw_labels(target, 0.05, 1)
    assert np.bincount(target[rows]).tolist() == [50, 5, 1]
    assert (draw_labels(target, 0.05, 2) != rows).any()


def test_report_holds_what_was_measured(tmp_path):
    random = np.random.default_rng(0)
    target = random.integers(0, 3, 300)
    features = {"raw": np.eye(3)[target] + random.normal(0, 0.2, (300, 3))}
    parts = [Labelled(features, target, np.arange(300) // 30)] * 2
    probes = {"model": Probe("raw", "logistic"), "knn": Probe("raw", "knn"), "forest": Probe("raw", "forest", trees=10)}
    table = compare(probes, *parts, ("a", "b", "<c>"), PixelEval(draws=2, bootstrap=20, shares=(0.1,)))
    assert table.scores()["model"]["accuracy"] > 0.98
    page = table.write(tmp_path / "out", "A title").read_text()
    assert "&lt;c&gt;" in page
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert kept["predictors"]["knn"]["curve"][0]["share"] == 0.1
    assert kept["predictors"]["knn"]["scores"]["accuracy"] == table.scores()["knn"]["accuracy"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A short pre-training run with a test tile, and the folder of its data."""
    root = tmp_path_factory.mktemp("pretrained")
    sample = BarlowTwinsTask.sample(root / "data")
    values = [*SMALL, MLP, "train.schedule.warmup_steps=0", f"runtime.test_tile_path={sample.source}", "infer.passes=1"]
    settings = load_settings(BarlowTwinsTask.Settings, None, values, to_dict(sample.settings))
    run = Run.create(root / "run", "barlow_twins", settings)
    BarlowTwinsTask(settings, REGISTRY).train(run)
    return root, run


def test_training_leaves_pictures_speed_and_the_test_tile(pretrained):
    _, run = pretrained
    assert (run.path / "cross_correlation.png").exists()
    steps = [line["step"] for line in run.read_log()]
    assert sorted(p.name for p in (run.path / "cross_correlation").iterdir()) == [f"step_{n:07d}.png" for n in steps]
    fitted = Colours.model_validate(run.info()["fitted"])
    assert fitted.best == sha256(run.file("best"))
    assert np.allclose(np.linalg.norm(fitted.components, axis=1), 1)
    made = {p.name for p in (run.path / "test_tile").iterdir()}
    assert {"MGRS-SYN02_false_colour.png", "MGRS-SYN02_embedding.json"} <= made
    assert {"loss", "on_diag", "off_diag", "embedding_std"} <= run.read_log()[0]["train"].keys()
    assert {"rankme", "effective_rank"} <= run.read_log()[0]["val"].keys()


def landcover(root, name, *overrides):
    sample = LandCoverTask.sample(root / "data")
    values = [*SMALL, "model.trainable=head", *overrides]
    settings = load_settings(LandCoverTask.Settings, None, values, to_dict(sample.settings))
    return LandCoverTask(settings, REGISTRY), Run.create(root / name, "barlow_landcover", settings)


def test_fine_tuning_starts_from_every_tensor_of_the_encoder(pretrained):
    """The worst public defect: weights that silently were not loaded. Here the frozen encoder is the trained one."""
    root, run = pretrained
    task, fine = landcover(root, "fine", f"model.pretrained={run.path}")
    task.train(fine)
    before, after = load_checkpoint(run.file("best"))["model"], load_checkpoint(fine.file("best"))["model"]
    encoder = {k: v for k, v in before.items() if k.startswith("encoder.")}
    assert len(encoder) > 10
    assert all((after[k] == v).all() for k, v in encoder.items())
    assert f"all {len(encoder)} tensors" in fine.info()["weights"]


def test_a_run_outlives_the_encoder_that_it_began_from(pretrained, tmp_path):
    """What the run knows of its encoder is not asked of another run."""
    root, run = pretrained
    shutil.copytree(run.path, tmp_path / "first")
    task, fine = landcover(root, "outlives", f"model.pretrained={tmp_path / 'first'}", "eval.trees=5", "eval.draws=1")
    task.train(fine)
    shutil.rmtree(tmp_path / "first")
    again = LandCoverTask(fine.settings, REGISTRY)
    assert set(again.outputs()) == {"probabilities", "class"}
    assert again.network(fine).architecture == "btfm_mlp with a linear classifier"
    assert again.evaluate(fine, "val")["model"]["loss"] == pytest.approx(fine.load("best")["best_val"], rel=1e-6)
    longer = fine.settings.model_copy(update={"train": fine.settings.train.model_copy(update={"epochs": 2})})
    LandCoverTask(longer, REGISTRY).train(Run(fine.path, fine.task, longer))
    assert fine.read_log()[-1]["epoch"] == 2
    new, other = landcover(root, "needs", f"model.pretrained={tmp_path / 'first'}")
    with pytest.raises(ZooError, match="holds no run"):
        new.train(other)


def test_fine_tuning_refuses_another_encoder(pretrained):
    root, run = pretrained
    task, fine = landcover(root, "other", f"model.pretrained={run.path}", "model.backbone.name=btfm_cnn")
    with pytest.raises(ZooError, match=r"leave model.backbone null"):
        task.train(fine)
    weights = load_checkpoint(run.file("best"))
    weights["model"] = {f"_orig_mod.{k}": v for k, v in weights["model"].items()}  # as a compiled wrapper would save
    task, fine = landcover(root, "damaged", f"model.pretrained={root / 'copy'}")
    (root / "copy").mkdir()
    for name in ("run.json", "config.yaml"):
        (root / "copy" / name).write_bytes((run.path / name).read_bytes())
    Run.open(root / "copy", BarlowTwinsTask.Settings).save("best", {k: v for k, v in weights.items() if k != "format"})
    with pytest.raises(ZooError, match="missing"):
        task.train(fine)


def test_class_weights_balance_and_focal_loss_is_used(pretrained):
    root, run = pretrained
    task, fine = landcover(
        root, "focal", f"model.pretrained={run.path}", "model.loss.name=pixel_focal", "model.class_weights=balanced"
    )
    task.train(fine)
    survey = ClassSurvey.model_validate(fine.info()["survey"])
    logits = torch.zeros(len(survey.counts), len(survey.counts))
    sums = [
        task.loss(survey)({"logits": logits[i : i + 1]}, {"target": torch.tensor([i])})["loss"][0].item()
        for i in range(len(survey.counts))
    ]
    products = np.array(sums) * survey.counts  # the rarer a class, the more one label of it counts
    assert min(survey.counts) < max(survey.counts)
    assert products == pytest.approx(np.full(len(sums), products[0]), rel=1e-4)


def test_evaluation_has_probes_and_baselines(pretrained):
    _, run = pretrained
    settings = load_settings(
        BarlowTwinsTask.Settings, None, ["eval.draws=1", "eval.trees=10", "eval.bootstrap=20"], to_dict(run.settings)
    )
    scores = BarlowTwinsTask(settings, REGISTRY).evaluate(Run(run.path, run.task, settings), "test")
    assert list(scores) == ["model", "random_encoder", "knn", "raw_logistic", "raw_forest"]
    assert all(0 < v["macro_f1"] <= 1 for v in scores.values())
    assert (run.path / "eval_test" / "report.html").exists()
    with pytest.raises(ZooError, match="no split 'tset'"):
        BarlowTwinsTask(settings, REGISTRY).evaluate(run, "tset")


def test_labels_that_the_legend_does_not_know_stop_no_pre_training(pretrained, tmp_path, capsys):
    """It needs none: probes are left out and told. Who asks for scores is told what to do."""
    _, done = pretrained
    settings = load_settings(
        BarlowTwinsTask.Settings, None, ['data.legend={"1": a}', "runtime.test_tile_path=null"],
        to_dict(done.settings),
    )  # fmt: skip
    run, task = Run.create(tmp_path / "run", "barlow_twins", settings), BarlowTwinsTask(settings, REGISTRY)
    task.train(run)
    assert "scored without probes: " in capsys.readouterr().err
    assert "rankme" in json.loads((run.path / "eval_test.json").read_text())["scores"]["model"]
    with pytest.raises(ZooError, match="not in the legend"):
        task.evaluate(run, "test")


class Distance:
    """A stranger's loss of two views: the mean squared distance, as ``docs/plugin_guide.md`` asks for."""

    def __call__(self, first, second):
        return (first - second).square().mean(dim=1).sum(), len(first)


class Stranger:
    """A registry that has one loss more."""

    def create(self, kind, name, options):
        return Distance() if name == "distance" else REGISTRY.create(kind, name, options)

    def chosen(self, slot, part):
        return REGISTRY.chosen(slot, part)


def test_a_strangers_loss_of_two_views_trains_and_is_scored(pretrained, tmp_path):
    """Without parts of its own: the slot asks for (sum, count), nothing else."""
    _, done = pretrained
    values = ["model.loss.name=distance", "train.epochs=2", "runtime.test_tile_path=null"]
    settings = load_settings(BarlowTwinsTask.Settings, None, values, to_dict(done.settings))
    run = Run.create(tmp_path / "run", "barlow_twins", settings)
    task = BarlowTwinsTask(settings, Stranger())
    assert task.plan(run).memory_bytes > 0
    task.train(run)
    first, last = run.read_log()
    assert last["train"]["loss"] < first["train"]["loss"]  # all that it asks for is that views agree
    assert set(last["val"]) == {"loss", "embedding_std", "rankme", "effective_rank"}
    assert (run.path / "cross_correlation.png").exists()
    assert task.evaluate(run, "val")["model"]["loss"] == pytest.approx(run.load("best")["best_val"], rel=1e-6)
    mixed = load_settings(BarlowTwinsTask.Settings, None, ["data.augment.mixup=0.1"], to_dict(settings))
    with pytest.raises(ZooError, match=r"data\.augment\.mixup: is a term of the loss barlow_twins"):
        BarlowTwinsTask(mixed, Stranger()).plan(Run(tmp_path / "mixed", "barlow_twins", mixed))


ELSEWHERE = ("eval.trees=5", "eval.draws=1", "eval.shares=[0.5]", "eval.bootstrap=10")


def test_another_place_is_probed_with_what_was_learned(pretrained, tmp_path):
    """The tiles of another folder, under other names: the probes learn and are scored there, the encoder stays."""
    root, run = pretrained
    shutil.copytree(root / "data", tmp_path / "there")
    (folder,) = (tmp_path / "there").glob("data/*/processed")
    for tile in list(folder.iterdir()):
        tile.rename(folder / f"other-{tile.name}")
    settings = load_settings(
        BarlowTwinsTask.Settings, None, [f"eval.data_dir={tmp_path / 'there'}", *ELSEWHERE], to_dict(run.settings)
    )
    task, here = BarlowTwinsTask(settings, REGISTRY), BarlowTwinsTask(run.settings, REGISTRY)
    place = task.where_scored(run)
    assert {tile.name[:6] for tile in place.tiles} == {"other-"}
    assert task.where_scored(run).survey_seen.mean == here.where_scored(run).survey_seen.mean
    scores = task.score(run, "test")
    assert {"model", "raw_forest", "random_encoder"} <= scores.keys()
    assert task.scored_on(run, "test")["fingerprint"] != here.scored_on(run, "test")["fingerprint"]
    with pytest.raises(ZooError, match=r"name another place with eval\.tiles"):
        here.score(run, "all")
    with pytest.raises(ZooError, match="probes learn on a part"):
        task.score(run, "all")


def test_embeddings_as_samples_and_as_a_table(pretrained, tmp_path):
    root, run = pretrained
    (folder,) = (root / "data").glob("data/*/processed")
    data = REGISTRY.create("dataset", "embeddings", {"run": str(run.path), "folder": str(folder)})
    task, number = BarlowTwinsTask(run.settings, REGISTRY), len(data) - 3
    ((tile, _, pixels),) = data.index.groups(np.array([number]))
    series, clear = data.index.tiles[tile].series(pixels)
    bands = np.where(clear[..., None], series.astype(np.float32), np.float32(np.nan))
    order = data.index.tiles[tile].select(task.where_scored(run).survey_seen.names)
    doys = np.repeat(data.index.tiles[tile].doys[None], 1, axis=0)
    expected = task.predict(run, {"bands": bands[..., order], "doys": doys})["embedding"][0]
    assert data[number]["features"] == pytest.approx(expected, abs=1e-5)
    codes = [
        data.index.tiles[t].layer("labels.npy").reshape(-1)[p] for t, _, p in data.index.groups(np.arange(len(data)))
    ]
    found = np.array([data[i]["target"] for i in range(len(data))])
    assert np.array_equal(found, np.where(np.concatenate(codes) == 0, np.nan, np.concatenate(codes)), equal_nan=True)
    assert data.bands[:2] == ("e0", "e1")
    assert len(data.bands) == len(data.units) == len(expected)
    with pytest.raises(IndexError):
        data[len(data)]
    file = write_embeddings(data, tmp_path / "t" / "e.csv", 16, {10: "trees"})
    table = read_table(file)
    assert len(table["e0"].values) == len(data)
    assert table["e1"].values[number] == pytest.approx(expected[1], rel=1e-4, abs=1e-5)
    assert {code for code, name in zip(table["code"].values, table["class"].values, strict=True) if name} <= {10}
