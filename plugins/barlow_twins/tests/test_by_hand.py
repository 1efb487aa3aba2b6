"""``predict`` against numbers worked out on paper: digital numbers in, embedding, probabilities and codes out."""

import json

import numpy as np
import pytest
import torch
from eozoo import Registry
from eozoo_barlow_twins.encoders import EncoderInfo
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_core import Run
from eozoo_core.settings import Named
from eozoo_core.settings.config import load_settings

# Two dates of two bands, flattened; no convolution: embedding = weight x standardised values + bias.
LINEAR = Named(name="btfm_cnn", options={"latent_dim": 3, "channels": [], "position": "index"})
INFO = EncoderInfo(LINEAR, ("B04", "B08"), 2, 1)


@pytest.fixture
def made(tmp_path):
    def make(cls, *overrides):
        backbone = json.dumps(LINEAR.model_dump())
        overrides = [f"model.backbone={backbone}", "runtime.device=cpu", "data.sample_size=2", *overrides]
        settings = load_settings(cls.Settings, None, overrides)
        run = Run.create(tmp_path / "run", cls.__module__.rpartition(".")[2].replace("pretrain", "barlow_twins")
                         .replace("landcover", "barlow_landcover"), settings)  # fmt: skip
        INFO.note(run)
        return cls(settings, Registry.discover()), run

    return make


def encoder():
    """B04 is 1000 +- 500, B08 3000 +- 1000. Embedding: z of B08 at the first date, at the second minus it, and 7."""
    weight = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    return {
        "encoder.standardise.mean": torch.tensor([1000.0, 3000.0]),
        "encoder.standardise.std": torch.tensor([500.0, 1000.0]),
        "encoder.backbone.output.weight": weight,
        "encoder.backbone.output.bias": torch.tensor([0.0, 0.0, 7.0]),
    }


def series():
    """Two pixels of two dates: B08 4000 then 2500, and 1000 then 5000."""
    bands = np.array([[[800, 4000], [900, 2500]], [[1200, 1000], [1000, 5000]]], np.float32)
    return {"bands": bands, "doys": np.array([[100, 200], [100, 200]])}


def test_embedding(made):
    # z of 4000 is 1, of 2500 -0.5: (1, -1.5, 7). z of 1000 is -2, of 5000 2: (-2, 4, 7).
    task, run = made(BarlowTwinsTask, "model.projector.width=4", "model.projector.hidden_layers=0")
    run.save("best", {"model": encoder() | {"projector.0.weight": torch.zeros(4, 3)}})
    found = task.predict(run, series())["embedding"]
    np.testing.assert_allclose(found, [[1.0, -1.5, 7.0], [-2.0, 4.0, 7.0]], atol=1e-5)
    gone = series()
    gone["bands"][0] = np.nan
    np.testing.assert_allclose(task.predict(run, gone)["embedding"], [[np.nan] * 3, [-2.0, 4.0, 7.0]], atol=1e-5)


def test_probabilities_and_codes(made):
    # The head sees the embedding normalised over its three numbers. Of (1, -1.5, 7) the mean is 13/6; the class of
    # code 20 gets the logit log 3, that of code 10 gets 0, whatever the pixel: 1/4 and 3/4.
    legend = json.dumps({"10": "Tree", "20": "Shrub"})
    task, run = made(LandCoverTask, f"data.legend={legend}")
    head = {"head.0.weight": torch.ones(3), "head.0.bias": torch.zeros(3), "head.1.weight": torch.zeros(2, 3)}
    run.save("best", {"model": encoder() | head | {"head.1.bias": torch.tensor([0.0, np.log(3.0)])}})
    found = task.predict(run, series())
    np.testing.assert_allclose(found["probabilities"], [[0.25, 0.75]] * 2, atol=1e-6)
    assert found["class"].tolist() == [20.0, 20.0]
    # With the first class pulled up where the embedding's last number stands out, and down where it does not:
    head["head.1.weight"] = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    run.save("best", {"model": encoder() | head | {"head.1.bias": torch.zeros(2)}})
    # (1, -1.5, 7): mean 13/6, variance 12.7222, so the second number is -3.6667 / 3.5668 = -1.0280.
    # (-2, 4, 7): mean 3, variance 14, so it is 1 / 3.7417 = 0.2673.
    odds = np.exp([-1.0280, 0.2673])
    found = task.predict(run, series())
    np.testing.assert_allclose(found["probabilities"][:, 0], odds / (1 + odds), atol=1e-4)
    assert found["class"].tolist() == [20.0, 10.0]
