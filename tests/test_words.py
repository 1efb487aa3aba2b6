"""Words of messages."""

import pytest
from eozoo_core.words import counted


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [(1, "tiles", "1 tile"), (0, "tiles", "0 tiles"), (1200, "patches", "1,200 patches"), (1, "patches", "1 patch"),
     (1, "samples", "1 sample"), (1, "series", "1 series"), (1, "places", "1 place")],
)  # fmt: skip
def test_counted(number, what, said):
    assert counted(number, what) == said
