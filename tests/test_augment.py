"""Random changes of training windows: labels turn with images, missing stays missing, the same draw each time."""

import numpy as np
import pytest
import torch
from eozoo_core.images.augment import disturbed, turned
from eozoo_core.images.data import ImageData
from eozoo_core.images.sample import BANDS, Band, landscape, write_world
from eozoo_core.images.settings import AugmentSettings, ImageDataSettings
from eozoo_core.images.system import standardised
from eozoo_core.train.loading import Draw

SQUARE = np.arange(8, dtype="float32").reshape(2, 2, 2)  # two bands: 0 1 / 2 3 and 4 5 / 6 7
LABEL = np.array([[[0.0, np.nan], [2.0, 3.0]]])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_labels_turn_with_their_image():
    seen = set()
    for seed in range(40):
        image, label = turned([SQUARE, LABEL], AugmentSettings(), rng(seed))
        assert np.array_equal(image[1], image[0] + 4)
        assert np.array_equal(np.where(image[0] == 1, np.nan, image[0]), label[0], equal_nan=True)
        seen.add(image[0].tobytes())
    assert len(seen) == 8  # four turns, with and without a flip
    still, none = turned([SQUARE, None], AugmentSettings(turns=False), rng())
    assert np.array_equal(still, SQUARE)
    assert none is None


def test_a_band_is_dropped_as_missing_and_one_stays():
    how = AugmentSettings(drop_bands=0.9)
    image = np.ones((3, 2, 2), np.float32)
    gone = np.array([np.isnan(disturbed({"image": image}, how, rng(s))["image"]).all(axis=(1, 2)) for s in range(300)])
    assert gone.sum(axis=1).max() == 2
    assert gone.mean() == pytest.approx(2 / 3 * 0.9, abs=0.05)
    assert np.isfinite(image).all()  # what was given is left as it is


def test_jitter_is_in_deviations_of_the_band():
    how = AugmentSettings(brightness=0.5)
    draws = np.stack([disturbed({"image": SQUARE}, how, rng(s))["jitter"] for s in range(2000)])
    assert draws.shape == (2000, 2, 1, 1)
    assert draws.std(axis=0) == pytest.approx(0.5, abs=0.03)
    noise = disturbed({"image": np.zeros((2, 64, 64), np.float32)}, AugmentSettings(noise=0.2), rng())["jitter"]
    assert noise.std(axis=(1, 2)) == pytest.approx(0.2, abs=0.01)
    # (14 - 10) / 2 + 0.5 = 2.5; a missing value stays at the mean
    arrays = {"image": torch.tensor([[[[14.0, torch.nan]]]]), "jitter": torch.tensor([[[[0.5]]]])}
    assert standardised(arrays, torch.tensor(10.0), torch.tensor(2.0)).flatten().tolist() == [2.5, 0.0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    height, bands = landscape()
    write_world(root, bands, BANDS, height, Band("height", "m"))
    return root


def test_a_draw_is_the_same_each_time_and_scores_see_images_as_they_are(world):
    how = AugmentSettings(brightness=0.1, noise=0.1, drop_bands=0.3)

    def data(**augment):
        return ImageData(world, "train", ImageDataSettings(augment=AugmentSettings(**augment)), 7)

    plain, changed = data(), data(**how.model_dump())
    first, again, later = (changed.draw(Draw(3, epoch)) for epoch in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first)
    assert not np.array_equal(first["jitter"], later["jitter"])
    assert np.array_equal(first["target"], plain.draw(Draw(3, 1))["target"], equal_nan=True)  # the same window, turned
    assert "jitter" not in plain.draw(Draw(3, 1))
    assert set(changed.item(3)) == {"image", "target"}
    assert np.array_equal(changed.item(3)["image"], plain.item(3)["image"], equal_nan=True)
    assert plain.label_unit == "m"
