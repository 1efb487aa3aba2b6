"""A disk that fails at any point of any write: one line, nothing half, nothing left; by fault injection.

``benchmarks/full_disk.py`` does it with real file systems.
"""

import errno
import io
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Spec, ZooError, hookimpl
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.small import write_small
from eozoo_core.run import writing, written
from eozoo_core.run.checkpoint import save_checkpoint
from eozoo_core.run.owner import mark
from matplotlib.figure import Figure

from benchmarks.full_disk import whole

REASONS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG)


@pytest.fixture(scope="module", autouse=True)
def each_kind_of_picture_once():
    """All of them: writes are counted."""


class Disk:
    """Counts what the writer asks of the disk; the operation number ``at`` fails with ``reason``, once or for good."""

    def __init__(self, monkeypatch):
        self.count, self.at, self.reason, self.failed, self.lasting = 0, 0, errno.ENOSPC, False, False
        disk = self

        class Raw(io.FileIO):
            def write(self, data):
                disk.asked()
                return super().write(data)

        monkeypatch.setattr(writing, "_open", lambda path: io.BufferedRandom(Raw(path, "xb+")))
        for owner, name in ((os, "fsync"), (os, "posix_fallocate"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self._asking(getattr(owner, name)))

    def fails(self, at, reason=errno.ENOSPC, lasting=False):
        self.count, self.at, self.reason, self.failed, self.lasting = 0, at, reason, False, lasting

    def asked(self):
        self.count += 1
        if self.at and (self.count == self.at or (self.lasting and self.count > self.at)):
            self.failed = True
            raise OSError(self.reason, os.strerror(self.reason))

    def _asking(self, function):
        def ask(*args):
            self.asked()
            return function(*args)

        return ask


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def h5(path):
    written.write_bytes(path, written.hdf5_bytes(lambda file: file.create_dataset("a", data=VALUES)))


def cog(path):
    with CogWriter(path, Grid(60, 60), [Band("a")]) as writer:
        writer.write_rows(0, VALUES[None])


def mapped(path):
    with writing.mapped_array(path, (40, 50), np.int16) as array:
        array[:] = 7


def folder(path):
    with writing.new_folder(path) as made:
        written.write_text(made / "a.txt", "a\n")
        writing.make_mapped_array(made / "b.npy", (9,), np.int64)[:] = 1


VALUES = np.random.default_rng(0).random((60, 60), np.float32)
KINDS = {
    "text.md": lambda path: written.write_text(path, "long\n" * 9000),
    "table.csv": lambda path: written.write_table(path, ["a", "b"], [[1, 2]] * 2000),
    "one.npy": lambda path: written.write_array(path, VALUES),
    "many.npz": lambda path: written.write_arrays(path, {"a": VALUES, "b": VALUES}),
    "packed.npz": lambda path: written.write_arrays(path, {"a": VALUES, "b": VALUES}, compress=True),
    "figure.png": lambda path: written.write_figure(path, Figure((1, 1))),
    "picture.png": lambda path: written.write_picture(path, np.zeros((9, 9, 3), np.uint8)),
    "copy.md": lambda path: written.copy_file(Path(__file__).parent.parent / "README.md", path),
    "small.tif": lambda path: write_small(path, VALUES[None], Grid(60, 60)),
    "map.tif": cog,
    "kept.pt": lambda path: save_checkpoint(path, {"model": {"w": torch.zeros(9000)}}),
    "granule.h5": h5,
    "mapped.npy": mapped,
    "folder": folder,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_whole_or_not_there(name, disk, tmp_path):
    save = KINDS[name]

    def state(place):
        return sorted(p.relative_to(place) for p in place.rglob("*")), all(whole(p) for p in place.rglob("*.*"))

    (tmp_path / "good").mkdir()
    save(tmp_path / "good" / name)
    good, total = state(tmp_path / "good"), disk.count
    assert total >= 3
    assert good[1]
    for at in range(1, total + 1):
        place, reason = tmp_path / f"full{at}", REASONS[at % len(REASONS)]
        place.mkdir()
        disk.fails(at, reason, lasting=at % 2 == 0)
        try:
            save(place / name)
        except ZooError as error:
            text = str(error)
            assert text.startswith(str(place / name)), text
            assert "\n" not in text
            assert os.strerror(reason) in text
            assert re.search(r"cannot be written \(.*\); \w", text)
            assert list(place.iterdir()) in ([], [place / name]), at  # the last: its folder alone was not synced
        else:
            assert at >= total - 1  # a folder cannot be synced everywhere: its names are not what is lost
            assert state(place) == good


def test_the_old_file_stays_and_what_a_dead_process_left_is_cleared(disk, tmp_path):
    path = written.write_text(tmp_path / "a.txt", "old")
    alive, dead = mark(), re.sub(r"-\d+-", "-999999999-", mark())
    for who in (alive, dead):
        (tmp_path / f".a.txt.{who}.00000000.part").touch()
        (tmp_path / f".b.{who}.00000000.part").mkdir()
    (tmp_path / ".tile.part").mkdir()  # somebody else's
    disk.fails(1)
    with pytest.raises(ZooError):
        written.write_text(path, "new")
    assert path.read_text() == "old"
    writing._clear_once.cache_clear()
    disk.fails(0)
    written.write_text(path, "new")
    assert path.read_text() == "new"
    left = {f".a.txt.{alive}.00000000.part", f".b.{alive}.00000000.part", ".tile.part", "a.txt"}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_what_else_is_wrong_is_named_with_its_remedy(tmp_path):
    def said(path):
        with pytest.raises(ZooError) as error:
            written.write_text(path, "a")
        assert not list(tmp_path.rglob(".*"))
        return str(error.value)

    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert said(tmp_path / "folder").endswith(
        "(Is a directory); a folder has this name; move it or choose another name"
    )
    assert "file/a: cannot be written" in said(tmp_path / "file" / "a")
    assert said(tmp_path / ("x" * 256)).endswith("(File name too long); choose a shorter name")
    written.write_text(tmp_path / ("ä" * 127), "a")  # 254 bytes: the temporary name is a shorter one
    with pytest.raises(ZooError, match=r"a\.npy: cannot be written \(needs .* are free\); free space"):
        writing.make_mapped_array(tmp_path / "a.npy", (10**9, 10**9), np.float64)
    with pytest.raises(FileNotFoundError):  # of another file: not the writer's to explain
        written.copy_file(tmp_path / "none", tmp_path / "b")


def test_a_line_is_appended_whole_or_not(disk, tmp_path):
    writing.append(tmp_path / "log.jsonl", "first\n")
    disk.fails(1)
    with pytest.raises(ZooError, match=r"log\.jsonl: cannot be written"):
        writing.append(tmp_path / "log.jsonl", "second\n")
    assert (tmp_path / "log.jsonl").read_text() == "first\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_mapped_array_has_all_its_blocks(there, tmp_path, monkeypatch):
    """Else the first value without one ends the process; macOS and some file systems have no fallocate."""

    def none(*_):
        raise OSError(errno.EOPNOTSUPP, "no")

    if not there:
        monkeypatch.setattr(writing, "_PIECE", 1000)
        monkeypatch.setattr(os, "posix_fallocate", none)
    array = writing.make_mapped_array(tmp_path / "a.npy", (30_000, 7), np.int64)
    array[1:3] = 5
    array.flush()
    again = np.load(tmp_path / "a.npy")
    assert again.sum() == 70
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= again.nbytes


@pytest.fixture(scope="module")
def eozoo(tmp_path_factory):
    registry, home = Registry.discover(), tmp_path_factory.mktemp("toy")
    plugin = types.SimpleNamespace(eozoo_tasks=hookimpl(lambda: [Spec("toy", "toy:Toy", "Learns a line")]))
    registry.add(lambda: plugin, "toy-plugin 1.0")

    def call(command):
        return CliRunner().invoke(main, command.split(), obj=registry)

    toy.Toy.sample(home / "data")
    call.home = home
    made = call(f"train toy --run {home / 'run'} --set runtime.data_dir={home / 'data'} {FAST}")
    assert made.exit_code == 0, made.output
    return call


FAST = "--quiet --set runtime.tensorboard=false --set train.epochs=1"
SMALL = "--set data.grid.width=24 --set data.grid.height=24 --set prepare.simulate.stations=4"
SMALL += " --set prepare.simulate.days=1 --set prepare.simulate.hours=[3] --set prepare.simulate.map_stamps=[]"
QUICK = {
    "train": f"train toy --run {{d}}/run --set runtime.data_dir={{h}}/data {FAST}",
    "eval": "eval toy --run {d}/run --split val --quiet",
    "check": "check toy --set runtime.data_dir={h}/data --out {d}/checked",
    "card": "card toy --run {h}/run --out {d}/card.md",
    "new": "new snow --in {d}",
    "prepare clay_ta simulate": f"prepare clay_ta simulate --set prepare.simulate.out={{d}} {SMALL}",
}
SLOW = {
    f"demo {task}": f"demo {task} --out {{d}}/demo --set train.epochs=1" for task in ("gedi_sparse", "barlow_twins")
}
SLOW["prepare gedi_sparse example"] = "prepare gedi_sparse example --set prepare.example.dest={d}/example"


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_verb_ends_with_one_line(name, eozoo, disk, tmp_path):
    command = (QUICK | SLOW)[name].replace("{h}", str(eozoo.home))

    def run(place, at, reason):
        place.mkdir()
        disk.fails(0)
        if name == "eval":
            assert eozoo(QUICK["train"].replace("{h}", str(eozoo.home)).replace("{d}", str(place))).exit_code == 0
        disk.fails(at, reason)
        return eozoo(command.replace("{d}", str(place)))

    good = run(tmp_path / "good", 0, 0)
    assert good.exit_code == 0, good.output
    total = disk.count
    assert total
    names = {p.relative_to(tmp_path / "good") for p in (tmp_path / "good").rglob("*")}
    for number, at in enumerate(sorted({1, total // 2 or 1, total - 1 or 1})):
        place, reason = tmp_path / f"full{at}", REASONS[number]
        result = run(place, at, reason)
        assert disk.failed
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        errors = [line for line in result.output.splitlines() if line.startswith(("Error", "error  "))]
        assert len(errors) == result.exit_code <= 1, result.output
        assert all(os.strerror(reason) in line for line in errors)
        left = {
            p.relative_to(place) for p in place.rglob("*") if p.name != ".writer.json" and "tfevents" not in p.name
        }  # a lease is held until this process ends; TensorBoard names its files by the time
        assert left <= names
        assert all(whole(p) for p in place.rglob("*") if p.is_file())


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_one_line(unbuffered, tmp_path):
    """PYTHONUNBUFFERED, usual in containers, makes Python drop what does not fit without a word."""
    command = [Path(sys.executable).with_name("eozoo"), "config", "gedi_sparse"]
    for into, limit in (("/dev/full", "unlimited"), (tmp_path / "half.yaml", "1")):
        with Path(into).open("w") as out:
            words = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "-", *command]
            done = subprocess.run(
                words, stdout=out, stderr=-1, text=True, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}
            )
        assert done.returncode == 1
        assert re.fullmatch(r"Error: standard output: cannot be written \(.*\); free space .*\n", done.stderr)
