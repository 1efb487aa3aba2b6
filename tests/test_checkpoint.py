"""Checkpoints: complete or not at all on disk, nothing but data when read, every tensor matched."""

import os
import pickle
import resource
import signal
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import (
    load_checkpoint,
    load_module,
    load_weights,
    save_checkpoint,
    sha256,
)
from eozoo_core.run.writing import leftovers, write_atomic
from safetensors.torch import save_file


def message(call, *args):
    with pytest.raises(ZooError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@contextmanager
def full_disk(size=2000):
    """Let no file grow beyond ``size`` bytes, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "current.pt"
    save_checkpoint(path, {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 1, "rng": [1, (2, None)]})
    return path


def test_round_trip_and_mode(file):
    content = load_checkpoint(file)
    assert torch.equal(content["model"]["w"], torch.arange(6.0).reshape(2, 3))
    assert (content["epoch"], content["rng"], content["format"]) == (1, [1, (2, None)], 1)
    mask = os.umask(0)
    os.umask(mask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~mask  # others of the group can read it, unlike a temporary file
    assert leftovers(file.parent) == []


def test_failure_in_the_middle_keeps_the_old_file(file):
    before = file.read_bytes()

    def write(out):
        out.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(file, write)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["current.pt"]


def test_sigkill_in_the_middle_keeps_the_old_file(file):
    before = file.read_bytes()
    child = os.fork()
    if child == 0:

        def write(out):
            out.write(b"half" * 10_000)
            out.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        write_atomic(file, write)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert file.read_bytes() == before
    assert len(leftovers(file.parent)) == 1  # nobody was left to remove it: Run.create does


def test_full_disk_names_the_file_and_keeps_the_old_one(file):
    for content in ({"w": torch.zeros(10)}, {"w": torch.zeros(100_000)}):  # fails at the end, and in the middle
        with full_disk():
            text = message(save_checkpoint, file, {"model": content, "padding": "x" * 3000})
        assert text.startswith(f"{file}: cannot be written (File too large)")
    assert load_checkpoint(file)["epoch"] == 1
    assert leftovers(file.parent) == []


def test_missing_folder_is_named(tmp_path):
    assert "none/x.pt: cannot be written (No such file or directory)" in message(
        save_checkpoint, tmp_path / "none" / "x.pt", {"model": {}}
    )


def test_a_bug_in_the_content_is_not_blamed_on_the_disk(tmp_path):
    def write(out):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        write_atomic(tmp_path / "x", write)


@pytest.mark.parametrize("value", [np.float64(1.0), Path("x"), {"a": [1, np.zeros(2)]}, {np.int64(1): 2}], ids=repr)
def test_what_could_not_be_read_again_is_not_written(file, value):
    before = file.read_bytes()
    with pytest.raises(TypeError, match=r"checkpoint.*best.* is a "):
        save_checkpoint(file, {"model": {}, "best": value})
    assert file.read_bytes() == before


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_file_does_not_run(tmp_path):
    mark, file = tmp_path / "pwned", tmp_path / "evil.pt"
    for write in (torch.save, lambda content, out: out.write_bytes(pickle.dumps(content, protocol=2))):
        write({"format": 1, "model": {}, "x": Evil(mark)}, file)
        assert "which are not loaded" in message(load_checkpoint, file)
        message(load_weights, file)
    assert not mark.exists()


def test_truncated_at_any_length(file):
    whole = file.read_bytes()
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        assert str(file) in message(load_checkpoint, file)


def test_one_changed_bit_in_the_weights(file):
    with zipfile.ZipFile(file) as archive:
        record = next(i for i in archive.infolist() if i.filename.endswith("data/0"))
    damaged = bytearray(file.read_bytes())
    at = damaged.index(torch.arange(6.0).numpy().tobytes())
    assert at > record.header_offset
    damaged[at + 5] ^= 1
    file.write_bytes(damaged)
    assert "data/0' is damaged" in message(load_checkpoint, file)


def test_other_files_are_refused_by_name(tmp_path):
    file = tmp_path / "x.pt"
    assert message(load_checkpoint, file) == f"{file}: no such file"
    torch.save({"w": torch.zeros(1)}, file)
    assert "not an eozoo checkpoint" in message(load_checkpoint, file)
    torch.save({"format": 99, "model": {}}, file)
    assert "format 99" in message(load_checkpoint, file)
    for junk in (b"", b"hello\n" * 9, bytes(range(256)) * 3):
        file.write_bytes(junk)
        assert str(file) in message(load_checkpoint, file)


def test_load_weights_reads_three_kinds(file, tmp_path):
    bare, safe = tmp_path / "bare.pth", tmp_path / "w.safetensors"
    torch.save({"w": torch.ones(2)}, bare)
    save_file({"w": torch.ones(3)}, safe)
    assert load_weights(file)["w"].shape == (2, 3)
    assert load_weights(bare)["w"].shape == (2,)
    assert load_weights(safe)["w"].shape == (3,)
    safe.write_bytes(safe.read_bytes()[:20])
    assert "safetensors" in message(load_weights, safe)
    assert "safetensors" in message(load_weights, tmp_path / "none.safetensors")


def test_load_module_matches_every_tensor(tmp_path):
    file = tmp_path / "w.pt"
    file.write_bytes(b"abc")
    module = torch.nn.Linear(2, 3)
    state = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    receipt = load_module(module, state, file)
    assert (receipt.tensors, receipt.parameters, receipt.sha256) == (2, 9, sha256(file))
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example 1
    assert "all 2 tensors (9 values) matched" in str(receipt)
    assert torch.equal(module.weight, torch.ones(3, 2))


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"weight": torch.zeros(3, 2)}, "1 missing (bias)"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "more": torch.zeros(1)}, "1 unexpected (more)"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}, "1 of another shape (weight (2, 3) for (3, 2))"),
        (
            {"weight": torch.zeros(3, 2, dtype=torch.int8), "bias": torch.zeros(3)},
            "1 of another type (weight torch.int8 for torch.float32)",
        ),
        ({"weight": {"nested": 1}}, "holds no state dict"),
    ],
)
def test_load_module_says_what_does_not_match(tmp_path, state, complaint):
    module = torch.nn.Linear(2, 3)
    before = module.weight.detach().clone()
    text = message(load_module, module, state, tmp_path / "w.pt")
    assert str(tmp_path / "w.pt") in text
    assert complaint in text
    assert torch.equal(module.weight, before)
