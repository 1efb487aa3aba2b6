"""Files of torch.save opened by Python's C reader: the same as torch reads, and nothing in them is run."""

import collections
import io
import os
import pickle
import zipfile
from unittest.mock import patch

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


@pytest.mark.parametrize(
    "content",
    [
        {"a": Evil()}, {"a": torch.nn.Linear(1, 1)}, {"a": torch.ones(2).half()}, [1, 2], {"a": [torch.ones(2)]},
        {"a": {"b": torch.ones(2)}}, {torch.ones(2): 1}, {"a": torch.float32}, {"a": collections.OrderedDict},
    ],
)  # fmt: skip
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


def described(size, stride, offset=0):
    """A data.pkl that says: "a" is a tensor of four numbers seen so."""
    whole = Described(torch.ones(4).untyped_storage(), offset, size, stride)
    return Pickler.bytes_of({"a": whole})


class Described:
    def __init__(self, *seen):
        self.seen = seen

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (*self.seen, False, {})


class Pickler(pickle.Pickler):
    """Writes storages as torch.save does."""

    @classmethod
    def bytes_of(cls, content):
        cls(file := io.BytesIO(), protocol=2).dump(content)
        return file.getvalue()

    def persistent_id(self, value):
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if isinstance(value, torch.UntypedStorage) else None


def archive(file, content, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", how) as new:
        for name, data in {"data.pkl": content, "byteorder": b"little", "data/0": bytes(16)}.items():
            new.writestr(f"a/{name}", data)
    return file


def test_descriptions_that_lie(tmp_path):
    file = tmp_path / "a.pt"
    assert load_mapped(archive(file, described((4,), (1,))))["a"].tolist() == [0.0] * 4
    for size, stride, offset in (
        ((4,), (1,), 1), ((4,), (1,), -1), ((4,), (-1,), 3), ((-4,), (1,), 0), ((2**62,), (1,), 0), ((5,), (2**62,), 0),
        ((2**32, 2**32), (2**32, 1), 0), ((2, 2), (1,), 0), ((1,), (1,), 2**40),
    ):  # fmt: skip
        assert load_mapped(archive(file, described(size, stride, offset))) is None
    for words in (
        b"cos\ngetcwd\n)R",
        b"(ios\ngetcwd\n",
        b"\x82\x01",
        b"\x8c\2os\x8c\6getcwd\x93)R",
        b"ctorch\nload\n)R",
    ):
        assert load_mapped(archive(file, b"\x80\4}\x8c\1a" + words + b"s.")) is None


def test_compressed_is_refused_before_it_is_read(tmp_path):
    file = archive(tmp_path / "a.pt", b"N0" * 2**23 + b"}.", zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 2**15  # a thousand times as large when it is read
    with patch.object(zipfile.ZipFile, "read", side_effect=AssertionError) as read:
        assert load_mapped(file) is None
    assert not read.called
