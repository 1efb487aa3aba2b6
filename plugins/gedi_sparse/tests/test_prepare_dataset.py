"""Step dataset: somebody's dataset becomes patches that the data set of this plugin reads back."""

import sys
import types

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Port, Spec, hookimpl
from eozoo_gedi_sparse.data import sparse_tiles

GIVES = (Port("image", "C H W"), Port("target", "1 H W"))


class Squares:
    """Somebody's dataset: image i is i everywhere, one pixel of it missing, one pixel labelled."""

    def __init__(self, count, wrong):
        self.count, self.wrong = count, wrong

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        image = torch.full((3, 8, 6), float(i))
        image[1, 2, 3] = torch.nan
        target = torch.full((1, 8, 6), torch.nan)
        target[0, 4, 4] = 10.0 + i
        return {"image": image, "target": target[0] if self.wrong and i == self.count - 1 else target, "place": "here"}


def squares(count: int = 4, wrong: bool = False):
    """As many squares as asked for; ``wrong``: the last of another shape."""
    return Squares(count, wrong)


class Plugin:
    @hookimpl
    def eozoo_datasets(self):
        flat = (Port("image", "C H W"), Port("target", "H W"))
        return [
            Spec("squares", "some_squares:squares", "Squares", gives=GIVES),
            Spec("flat_squares", "some_squares:squares", "Flat", gives=flat),
        ]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    module = types.ModuleType("some_squares")
    module.squares = squares
    monkeypatch.setitem(sys.modules, "some_squares", module)
    registry = Registry.discover()
    registry.add(Plugin, "somebody 1.0")

    def call(*sets, code=0):
        sets = (f"input_dir={tmp_path / 'input'}", f"label_dir={tmp_path / 'label'}", *sets)
        words = [word for item in sets for word in ("--set", f"prepare.dataset.{item}")]
        result = CliRunner().invoke(main, ["prepare", "gedi_sparse", "dataset", *words], obj=registry)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result.output

    return call


def test_samples_come_back_as_they_were(prepare, tmp_path):
    output = prepare("source.name=squares", "source.options.count=3", "split=val")
    assert output.splitlines() == [str(tmp_path / "input" / "val"), str(tmp_path / "label" / "val")]
    tiles = sparse_tiles(tmp_path / "input", tmp_path / "label", "val")
    assert len(tiles) == 3
    expected = squares(3)[2]
    np.testing.assert_array_equal(tiles[2]["image"], expected["image"])
    np.testing.assert_array_equal(tiles[2]["target"], expected["target"])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "prepare.dataset.source.name is not set; 'eozoo show gedi_sparse'"),
        (
            ["source.name=flat_squares"],
            "target (H, W), the task needs target (1,",
        ),
        (["source.name=refine_tiles"], "it gives target (4, H, W) [reflectance 0..1]"),
        (["source.name=clay_ta_patches"], "it gives target () [degC]"),
        (
            ["source.name=squares", "source.options.wrong=true"],
            "sample 3 has image (3, 8, 6) and target (8, 6), exp",
        ),
        (["source.name=squares", "source.options.count=0"], "dataset 'squares': holds no sample"),
        (["source.name=squares", "source.options.size=0"], "dataset 'squares' has no option 'size'"),
    ],
)
def test_what_does_not_fit_is_one_line(prepare, tmp_path, sets, message):
    output = prepare(*sets, code=1)
    assert message in output
    assert output.count("\n") == 1
    assert [f for f in tmp_path.rglob("*") if f.is_file() or f.parent != tmp_path] == []  # nothing, and no half of it


def test_a_folder_that_holds_something_is_left_alone(prepare, tmp_path):
    prepare("source.name=squares")
    assert "is not empty; choose another" in prepare("source.name=squares", code=1)
