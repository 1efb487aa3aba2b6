"""What every task of the zoo promises, for the tasks that come with eozoo."""

from eozoo.testing import parametrize_with_checks

SMALL = ["model.options={width: 4, depth: 2}", "train.epochs=2"]


@parametrize_with_checks("pixelwise_regression", overrides=SMALL)
def test_pixelwise_regression(check, tmp_path):
    check(tmp_path)


@parametrize_with_checks("semantic_segmentation", overrides=SMALL)
def test_semantic_segmentation(check, tmp_path):
    check(tmp_path)
