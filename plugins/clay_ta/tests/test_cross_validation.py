"""Folds of cross-validation: scaled by their own training samples, scored in kelvin, features kept for them alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from eozoo import Registry
from eozoo_clay_ta.data import Patches
from eozoo_clay_ta.sample_schema import LSMASK, Normalisation
from eozoo_clay_ta.scores import TaScores, ZLoss
from eozoo_clay_ta.task import ClayTa
from eozoo_core.task.features import Cache
from eozoo_core.task.folds import Fold, folded


@pytest.fixture(scope="module")
def fold(prepared):
    """The task on its first fold of two by stations, and the chunks' own samples by (time, station)."""
    registry = Registry.discover().within("clay_ta")
    task = ClayTa(prepared, registry)
    whole = {}
    for split in ("train", "val", "test"):
        data = task.data(split)
        physical = (data.physical(i, task.survey(data)) for i in range(len(data)))
        whole |= dict(zip([m[:2] for m in data.meta()], physical, strict=True))
    return folded(task, Fold("stations", 2)), whole


def test_a_fold_is_scaled_by_its_own_training_samples(fold):
    task, whole = fold
    train = task.data("train")
    meta = [m[:2] for m in train.meta()]
    windows = np.concatenate([whole[m][0] for m in meta], axis=1)  # (19, n * 81), physical
    ta = np.array([whole[m][1] for m in meta])
    norm = task.survey(train).normalisation()
    mean, std = windows.mean(axis=1), windows.std(axis=1)
    mean[LSMASK], std[LSMASK] = 0, 1
    np.testing.assert_allclose(norm.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(norm.std, std, rtol=1e-3)
    assert (norm.ta_mean, norm.ta_std) == pytest.approx((ta.mean(), ta.std()), rel=1e-5)
    assert norm.ta_mean != pytest.approx(Patches.normalisation(train).ta_mean, rel=1e-3)
    np.testing.assert_allclose(train.labels(norm).mean(), 0, atol=1e-5)


def test_a_fold_gives_the_network_what_the_chunks_would(fold):
    task, _ = fold
    test = task.data("test")
    survey = task.survey(task.data("train"))
    batch, chunk = test.items(range(len(test))), Patches.items(test, range(len(test)))
    made, norm = Patches.normalisation(test), survey.normalisation()
    again = (norm.mean - made.mean) / made.std
    context, columns = task.covariates(batch, survey), [*range(19, 25), *range(26, 47)]  # all but what is scaled
    direct = task.covariates(chunk, survey)
    np.testing.assert_allclose(context[:, columns], direct[:, columns], atol=1e-5)
    scaled = context[:, :19] * (norm.std / made.std) + again
    np.testing.assert_allclose(scaled, direct[:, :19], atol=2e-4)


def test_folds_of_other_scaling_are_pooled_in_kelvin():
    def squared(mean, target):
        return ((mean - target) ** 2).sum(), mean.numel()

    sums = np.zeros(5)
    for std, z in ((2.0, [1.0, -1.0]), (4.0, [1.0])):  # errors of 2, -2 and 4 K
        norm = Normalisation.of([0] * 19, [1] * 19, 10, std)
        scores = TaScores(ZLoss(squared, "mse", norm), norm)
        scores.add({"z": np.array(z)}, {"target": np.full(len(z), 10.0)})
        sums += scores.sums()
    assert scores.compute(sums)["rmse_K"] == pytest.approx(np.sqrt((4 + 4 + 16) / 3))
    assert scores.compute(sums)["rmse_norm"] == pytest.approx(1)


def test_features_of_one_split_are_not_those_of_another(fold, tmp_path):
    data = [fold[0].data(split) for split in ("train", "test")]
    files = data[0].files[:1]
    cache = Cache(tmp_path, SimpleNamespace(features_key=dict), "weights", "32-true")
    cache.write(cache.name(files, data[0].selection), {"features": np.ones((5, 2))})
    assert cache.read(cache.name(files, data[0].selection), 5) is not None
    assert cache.read(cache.name(files, data[1].selection), 5) is None  # as many rows of the same file
