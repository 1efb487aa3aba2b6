"""Files of torch.save opened by Python's C reader: the same as torch reads, and nothing in them is run."""

import os
import zipfile

import pytest
import torch
from eozoo_core.run.mapped import load_mapped


def saved(path, content):
    torch.save(content, path)
    return path


def test_what_torch_reads(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "all": base, "part": base[1:, ::2], "whole": torch.arange(5), "fine": torch.ones(2, dtype=torch.float64),
        "none": torch.empty(0, 3), "meta": [("2022", 1, -2), ("ä", 2**40, 3)], "plain": {"a": (None, True, 0.5)},
    }  # fmt: skip
    file = saved(tmp_path / "a.pt", content)
    found, wanted = load_mapped(file), torch.load(file, weights_only=True)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value)
            assert (found[name].dtype, found[name].stride()) == (value.dtype, value.stride())
        else:
            assert found[name] == value
    before = file.read_bytes()
    found["all"][0, 0] = 99.0
    assert found["all"][0, 0] == 99.0
    assert file.read_bytes() == before  # as with torch's mapped files


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was_run",)


@pytest.mark.parametrize("content", [{"a": Evil()}, {"a": torch.nn.Linear(1, 1)}, {"a": torch.ones(2).half()}, [1, 2]])
def test_anything_else_is_left_to_torch(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_mapped(saved(tmp_path / "a.pt", content)) is None
    assert not (tmp_path / "was_run").exists()


def test_damaged_files(tmp_path):
    file = saved(tmp_path / "a.pt", {"a": torch.ones(1000), "meta": [(1, 2)]})
    whole = file.read_bytes()
    assert load_mapped(tmp_path / "none.pt") is None
    for cut in (10, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:cut])
        assert load_mapped(file) is None
    with zipfile.ZipFile(file := saved(tmp_path / "b.pt", {"a": torch.ones(1000)})) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    for change in ({"b/data/0": b"\0" * 8}, {"b/data.pkl": parts["b/data.pkl"].replace(b"Float", b"Doubl")}):
        with zipfile.ZipFile(file, "w") as new:
            for name, data in (parts | change).items():
                new.writestr(name, data)
        assert load_mapped(file) is None  # fewer bytes than numbers
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in parts.items():
            new.writestr(name, data)
    assert load_mapped(file) is None
