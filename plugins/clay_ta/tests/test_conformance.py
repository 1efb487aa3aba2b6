"""The promises that every task keeps, checked on this one with its smallest encoder."""

from eozoo.testing import parametrize_with_checks

SMALL = (
    "model.encoder=clay_micro",
    "model.encoder_input_size=8",
    "model.hidden=16",
    "train.batch_size=512",
    "infer.stride=6",
)


@parametrize_with_checks("clay_ta", overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)
