"""Nothing that only shows or records training may move the random generators that training draws from."""

import random

import numpy as np
from eozoo.testing.equality import difference
from eozoo_core import Run
from eozoo_core.run.progress import progress_bar
from eozoo_core.train import fit
from toy import Toy


def test_a_bar_that_draws_random_numbers_changes_nothing(tmp_path, monkeypatch):
    import torch

    def drawing(title, total, unit, quiet):
        random.random()
        np.random.random()  # noqa: NPY002
        torch.rand(1)
        return progress_bar(title, total, unit, quiet)

    settings = Toy.sample(tmp_path / "sample").settings
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"dropout": 0.5})})
    runs = [Run.create(tmp_path / name, "toy", settings) for name in ("plain", "drawing")]
    Toy(settings).train(runs[0])
    monkeypatch.setattr(fit, "progress_bar", drawing)
    Toy(settings).train(runs[1])
    assert difference(*(run.load("current") for run in runs)) is None
