"""The comparison of ``tests/pins.py``: what is equal, what is renamed, what is explained, what is stale."""

import numpy as np
import pytest
import torch
from pins.compare import compare, differences
from pins.store import Key, flat, load, save
from pins.table import Change, Rename, Table

NAN = float("nan")
OLD = {
    Key("a", "settings", "config.yaml", "train.members"): 2,
    Key("a", "log", "member_0/log.jsonl", "000.val.rmse"): 0.5,
    Key("a", "tensors", "member_0/best.pt", "model.network.0.weight"): np.array([1.0, NAN], np.float32),
    Key("a", "map", "maps/x.tif", "nodata"): [NAN],
}
RENAMES = [
    Rename("settings", "train.members", "model.members"),
    Rename("settings", None, "train.extra"),
    Rename("files", "member_0", "members/0"),
    Rename("keys", "val.rmse", "val.root"),
    Rename("tensors", "model.network", "model.net"),
]
NEW = {
    Key("a", "settings", "config.yaml", "model.members"): 2,
    Key("a", "settings", "config.yaml", "train.extra"): 1,
    Key("a", "log", "members/0/log.jsonl", "000.val.root"): 0.5,
    Key("a", "tensors", "members/0/best.pt", "model.net.0.weight"): np.array([1.0, NAN], np.float32),
    Key("a", "map", "maps/x.tif", "nodata"): [NAN],
}


def test_flat_keeps_every_leaf():
    nest = {"a": [1, 2], "b": [{"c": torch.ones(2, dtype=torch.bfloat16)}], "d": {}}
    found = dict(flat(nest))
    assert found["a"] == [1, 2]
    assert found["d"] == {}
    assert found["b.0.c.dtype"] == "bfloat16"
    assert found["b.0.c"].tolist() == [1.0, 1.0]


def test_equal_under_renames(tmp_path, capsys):
    save(OLD, tmp_path / "old")
    save(NEW, tmp_path / "new")
    assert compare(tmp_path / "old", tmp_path / "new", Table(RENAMES), most=0) == 0
    assert "stale" not in capsys.readouterr().out
    assert load(tmp_path / "old").keys() == OLD.keys()


def test_without_the_table_all_differ():
    assert len(differences(OLD, NEW, Table())) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1.5, NAN], np.float32), "1 of 2 values differ, at most by 0.5"),
        (np.array([1.0, 1.0], np.float32), "1 are missing in one only"),
        (np.array([1.0, NAN]), "float32 (2,) -> float64 (2,)"),
    ],
)
def test_a_difference_says_how_much(value, text):
    key = Key("a", "tensors", "member_0/best.pt", "model.network.0.weight")
    (found,) = differences(OLD, {**OLD, key: value}, Table())
    assert text in found.text


def test_a_change_explains_up_to_its_limit(tmp_path, capsys):
    new = {**OLD, Key("a", "log", "member_0/log.jsonl", "000.val.rmse"): 0.5001}
    save(OLD, tmp_path / "old")
    save(new, tmp_path / "new")
    for within, unexplained in ((1e-3, 0), (1e-5, 1)):
        table = Table(changes=[Change("a/log/*", "other rounding", within)])
        assert compare(tmp_path / "old", tmp_path / "new", table, most=0) == unexplained
    assert "stale: change of a/log/*" in capsys.readouterr().out


def test_settings_of_the_older_side():
    table = Table([*RENAMES, Rename("settings", "train.gone", None, value=3)])
    assert table.old_settings("a", {"model.members": 2, "train.extra": 1}) == {"train.members": 2, "train.gone": 3}
