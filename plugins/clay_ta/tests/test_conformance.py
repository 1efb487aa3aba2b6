"""The promises that every task keeps, checked on this one with its smallest encoder."""

from eozoo.testing import parametrize_with_checks

SMALL = (
    "model.encoder=clay_micro",
    "model.encoder_input_size=8",
    "model.hidden=16",
    "train.batch_size=512",
    "infer.stride=6",
)

KNOWN = {
    "strangers_fit": "data.samples: a dataset of the declared image and target is refused for want of chunks and files"
}


@parametrize_with_checks("clay_ta", expected_failures=KNOWN, overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)
