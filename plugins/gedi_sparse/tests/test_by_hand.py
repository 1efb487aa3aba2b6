"""``predict`` against numbers worked out on paper: scaling, members, variances; no other code of ours asked."""

import math

import numpy as np
import pytest
import torch
from eozoo import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings
from eozoo_gedi_sparse.settings import GediSettings
from eozoo_gedi_sparse.survey import GediSurvey
from eozoo_gedi_sparse.task import GediSparse

OPTIONS = '{"name": "context_net", "options": {"sizes": [], "hidden": 1, "dropout": 0.0, "noise": 0.0}}'


def weights(slope, log_variance):
    """A network of one hidden unit, relu of band 1: z -> (slope x z, log-variance of the standardised target).

    Band 0 is 0.1 +- 0.05, band 1 is 0.2 +- 0.1; the target 20 m +- 5 m, so that log-variances rise by 2 log 5.
    """
    state = {
        "input_mean": torch.tensor([0.1, 0.2]).reshape(1, 2, 1, 1),
        "input_std": torch.tensor([0.05, 0.1]).reshape(1, 2, 1, 1),
        "target_mean": torch.tensor(20.0),
        "target_std": torch.tensor(5.0),
        "log_scale_shift": torch.tensor(2 * math.log(5.0)),
        "network.standardise.running_mean": torch.zeros(2),
        "network.standardise.running_var": torch.ones(2) - 1e-5,  # batch normalisation adds 1e-5
        "network.standardise.num_batches_tracked": torch.tensor(1),
        "network.mix.0.weight": torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1),
        "network.mix.1.weight": torch.ones(1),
        "network.mix.1.bias": torch.zeros(1),
        "network.mix.1.running_mean": torch.zeros(1),
        "network.mix.1.running_var": torch.ones(1) - 1e-5,
        "network.mix.1.num_batches_tracked": torch.tensor(1),
        "network.head.weight": torch.tensor([slope, 0.0]).reshape(2, 1, 1, 1),
        "network.head.bias": torch.tensor([0.0, log_variance]),
    }
    return {"model": state}


@pytest.fixture
def trained(tmp_path):
    def make(*members, factor=None):
        overrides = [f"train.members={len(members)}", "runtime.device=cpu", f"model={OPTIONS}"]
        settings = load_settings(GediSettings, None, overrides)
        survey = GediSurvey(bands=[{"name": name, "count": 1} for name in ("red", "nir")])
        run = Run.create(tmp_path / "run", "gedi_sparse", settings)
        runs = [run]
        if len(members) > 1:
            trains = [settings.train.model_copy(update={"members": 1, "seed": 1000 * i}) for i in (0, 1)]
            singles = [settings.model_copy(update={"train": train}) for train in trains]
            runs = [run.child(f"member_{i}", single) for i, single in enumerate(singles)]
        for one, content in zip(runs, members, strict=True):
            one.save("best", {**content, "survey": survey.model_dump()})
        run.note("fitted", {"variance_factor": factor, "labels": 30})
        return GediSparse(settings, Registry.discover()), run

    return make


def image():
    """Two pixels of (red, nir): nir 0.4 is 2 deviations above its mean, 0.25 half of one; one pixel misses red."""
    return np.array([[[0.3, 0.7, np.nan]], [[0.4, 0.25, 0.4]]], np.float32)[None]


def test_one_network(trained):
    # mean: 20 m + 5 m x 0.6 x z = 26 and 21.5; std: 5 m x sqrt(exp(log 0.25)) = 2.5, everywhere.
    task, run = trained(weights(0.6, math.log(0.25)))
    found = task.predict(run, {"image": image()})
    assert list(found) == ["mean", "std"]
    np.testing.assert_allclose(found["mean"][0, 0], [26.0, 21.5, np.nan], rtol=1e-5)
    np.testing.assert_allclose(found["std"][0, 0], [2.5, 2.5, np.nan], rtol=1e-5)


def test_two_members_and_a_factor_of_variances(trained):
    # First pixel: means 26 and 22, so 24 with a spread of 2; variances 6.25 and 2.25, so 4.25 between them.
    # Fitted factor 4: both variances times 4, so deviations 2 sqrt(4.25) and 4, together sqrt(17 + 16).
    task, run = trained(weights(0.6, math.log(0.25)), weights(0.2, math.log(0.09)), factor=4.0)
    found = {name: values[0, 0, 0] for name, values in task.predict(run, {"image": image()}).items()}
    expected = {"mean": 24.0, "aleatoric_std": 2 * 4.25**0.5, "epistemic_std": 4.0, "std": 33.0**0.5}
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-5)
