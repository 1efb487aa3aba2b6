"""The frozen base: kept once under its content's name, linked where it exists, refused where it is not the one."""

import pytest
import torch
from eozoo_core import Run, TaskSettings, ZooError
from eozoo_core.run.frozen import Base, base_file, keep_base, load_base


def new_run(folder):
    return Run.create(folder, "toy", TaskSettings())


def test_kept_loaded_and_shared(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(1, dtype=torch.int8)}
    run = new_run(tmp_path / "one")
    assert load_base(run) is None
    digest = keep_base(run, tensors)
    assert run.info()["base"] == digest
    for name, value in load_base(Run.open(tmp_path / "one", TaskSettings)).items():
        assert torch.equal(value, tensors[name])
    other = new_run(tmp_path / "two")
    assert keep_base(other, tensors) == digest
    assert base_file(other.path, digest).stat().st_ino == base_file(run.path, digest).stat().st_ino
    assert keep_base(other, tensors | {"b": torch.zeros(1, dtype=torch.int8)}) != digest
    assert not list(tmp_path.rglob("*.part"))


def test_a_new_run_takes_over_the_base_of_its_checkpoint(tmp_path):
    run = new_run(tmp_path / "old")
    digest = keep_base(run, {"a": torch.ones(2)})
    run.save("current", {"model": {}, "base": Base(digest).state_dict()})
    new = new_run(tmp_path / "elsewhere" / "new")
    new.note("resumed_from", {"file": str(run.file("current"))})
    assert torch.equal(load_base(new)["a"], torch.ones(2))
    assert base_file(new.path, digest).exists()
    base_file(run.path, digest).unlink()
    third = new_run(tmp_path / "third")
    third.note("init_from", {"file": str(run.file("current"))})
    with pytest.raises(ZooError, match="needs it beside it"):
        load_base(third)


def test_missing_damaged_and_foreign(tmp_path):
    run = new_run(tmp_path / "run")
    digest = keep_base(run, {"a": torch.ones(2)})
    file = base_file(run.path, digest)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ZooError, match="damaged"):
        load_base(run)
    file.unlink()
    with pytest.raises(ZooError, match="is missing"):
        load_base(run)
    Base(digest).load_state_dict({"sha256": digest})
    with pytest.raises(ZooError, match="on the frozen base"):
        Base(digest).load_state_dict({"sha256": "0" * 64})
