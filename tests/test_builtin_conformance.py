"""What every task of the zoo promises, for the tasks that come with eozoo."""

import pytest
from eozoo.testing import parametrize_with_checks, task_checks

SMALL = ["model.options={width: 4, depth: 2}", "train.epochs=2"]
CHANGED = "data.augment={brightness: 0.1, noise: 0.1, drop_bands: 0.2}"  # what is drawn at random repeats exactly too

# Checks of what core does alike for both tasks of a kind of data: quickly of the first one alone, slowly of both.
ALIKE = {
    *("same_seed_same_result", "continues_after_an_epoch", "continues_within_an_epoch", "finished_run_stays"),
    *("plan_tells_the_steps", "two_processes_are_one", "a_run_has_one_writer", "a_scene_has_one_writer"),
    *("best_is_enough", "wrong_checkpoint_is_refused", "infer_on_a_full_disk", "absurd_inputs_are_refused"),
    "workers_change_no_bit",
}


def of_the_second(name, overrides):
    """As `parametrize_with_checks`; what is `ALIKE` is slow."""
    checks = task_checks(name, overrides=overrides)
    marks = {check.name: [pytest.mark.slow] if check.name in ALIKE else [] for check in checks}
    assert marks.keys() >= ALIKE
    return pytest.mark.parametrize("check", [pytest.param(c, id=c.name, marks=marks[c.name]) for c in checks])


@parametrize_with_checks("pixelwise_regression", overrides=[*SMALL, CHANGED])
def test_pixelwise_regression(check, tmp_path):
    check(tmp_path)


@of_the_second("semantic_segmentation", SMALL)
def test_semantic_segmentation(check, tmp_path):
    check(tmp_path)
