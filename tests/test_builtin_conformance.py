"""What every task of the zoo promises, for the tasks that come with eozoo."""

from eozoo.testing import parametrize_with_checks

SMALL = ["model.options={width: 4, depth: 2}", "train.epochs=2"]
CHANGED = "data.augment={brightness: 0.1, noise: 0.1, drop_bands: 0.2}"  # what is drawn at random repeats exactly too


@parametrize_with_checks("pixelwise_regression", overrides=[*SMALL, CHANGED])
def test_pixelwise_regression(check, tmp_path):
    check(tmp_path)


@parametrize_with_checks("semantic_segmentation", overrides=SMALL)
def test_semantic_segmentation(check, tmp_path):
    check(tmp_path)
