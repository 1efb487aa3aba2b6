"""Damaged files: right values or one line, before anything large is unpacked; a bug of ours keeps its traceback."""

import io
import json
import time
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.raster import arrays, trust
from eozoo_core.raster.arrays import map_array, read_arrays
from eozoo_core.raster.packed import open_hdf5, unpack
from eozoo_core.raster.read import read_whole
from eozoo_core.raster.trust import require_own_hdf5
from eozoo_core.run.parsed import read_json
from eozoo_core.settings import Settings
from eozoo_core.settings.config import load_settings, read_yaml, to_yaml
from eozoo_core.settings.yamlio import parse

from benchmarks.break_readers import digest, judged
from benchmarks.damage import damage
from benchmarks.more_readers import KINDS

SEEDS = (0, 1, 3, *range(20, 28))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_one_line_or_read_right(kind, tmp_path):
    file = kind.make(tmp_path)
    whole, right = file.read_bytes(), digest(kind.read(file))
    ends = {}
    for seed in SEEDS:
        how = damage(file, whole, seed, [b"\x89PNG\r\n\x1a\n" + bytes(300)])
        ends[f"{seed}, {how}"] = judged(kind, file, right)
    allowed = {"right", "one line"} | ({"not seen"} if not kind.sums else set())
    assert {how: end for how, end in ends.items() if end[0] not in allowed} == {}
    assert "one line" in {column for column, _ in ends.values()}
    damage(file, whole, 10**9, [])
    file.write_bytes(whole)
    assert judged(kind, file, right) == ("right", "")


def npy_header(shape):
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return held.getvalue()


def test_a_zip_that_would_grow_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "SMALL", 2**24)
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(npy_header((2**22 + 2**20,)))
        for _ in range(5):
            member.write(bytes(2**22))
    tracemalloc.start()
    with pytest.raises(ZooError, match=r"bomb.npz: would become 20 MiB, of 0\.0 MiB; .* it is not unpacked"):
        read_arrays(file)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("size", [-4, 4, 16])
def test_an_array_longer_or_shorter_than_its_header_says(tmp_path, size):
    values = np.arange(12, dtype=np.float32)
    np.save(tmp_path / "a.npy", values)
    assert np.array_equal(map_array(tmp_path / "a.npy"), values)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:size] if size < 0 else content + bytes(size))
    with pytest.raises(ZooError, match=r"a.npy: cannot be read as a .npy array \(.*(12|length).*"):
        read_whole(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:  # whole for zip: its checksum is that of these bytes
        archive.writestr("a.npy", npy_header((12,)) + values.tobytes()[: 48 + min(size, 0)] + bytes(max(size, 0)))
    with pytest.raises(ZooError, match=r"a.npz: cannot be read as an NPZ archive of arrays"):
        read_arrays(tmp_path / "a.npz")


HUGE = {"shape": (10**10,), "chunks": (1000,)}


@pytest.mark.parametrize("how", [HUGE, {"shape": (9,), "chunks": (2**28,), "maxshape": (None,)}])
def test_an_hdf5_variable_beyond_its_file_is_not_allocated(tmp_path, how):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", dtype="f8", **how)
    said = r"a.h5: variable /v: says that it is float64 .* the file is damaged"
    with pytest.raises(ZooError, match=said), open_hdf5(tmp_path / "a.h5") as file:
        unpack(file["v"])
    if how is HUGE:  # a small part of a large variable is read
        with open_hdf5(tmp_path / "a.h5") as file:
            assert unpack(file["v"], np.s_[5:8]).tolist() == [0, 0, 0]


def test_groups_that_hold_themselves_and_far_too_many(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        group = file.create_group("a")
        for i in range(30):  # 30 ** 8 ways to go down eight levels
            group[f"b{i}"] = group
    begun = time.process_time()
    require_own_hdf5(tmp_path / "loop.h5")
    assert time.process_time() - begun < 2
    with h5py.File(tmp_path / "type.h5", "w") as file:  # as NetCDF has enumerations
        file["a/kind"] = np.dtype("int8")
    require_own_hdf5(tmp_path / "type.h5")
    with h5py.File(tmp_path / "deep.h5", "w") as file:  # however deep, a link out of the file is found
        file["a/" * 20 + "v"] = h5py.ExternalLink("other.h5", "v")
    with pytest.raises(ZooError, match=r"is a link into other.h5"):
        require_own_hdf5(tmp_path / "deep.h5")
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["a/" * 60 + "v"] = 1
    with pytest.raises(ZooError, match=r"deep.h5: has groups 50 deep; is it damaged"):
        require_own_hdf5(tmp_path / "deep.h5")
    monkeypatch.setattr(trust, "_MOST", 40)
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(37):
            file[f"a/{i}"] = 1
    require_own_hdf5(tmp_path / "many.h5")
    with h5py.File(tmp_path / "many.h5", "a") as file:
        for i in range(10):
            file[f"a/more{i}"] = 1
    with pytest.raises(ZooError, match=r"many.h5: holds more than 40 groups and variables"):
        require_own_hdf5(tmp_path / "many.h5")


def test_a_damaged_heap_of_texts_does_not_hang(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(30):
            file.create_dataset(f"v{i}", data=1.0).attrs["units"] = "m" * i
    with open_hdf5(tmp_path / "a.h5") as file:
        assert file["v7"].attrs["units"] == "m" * 7
    content = bytearray((tmp_path / "a.h5").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 64 : heap + 4096] = bytes(4096 - 64)  # libhdf5 2.0 goes on for ever at an object without size
    (tmp_path / "a.h5").write_bytes(bytes(content))
    for read in (lambda path: open_hdf5(path).__enter__(), require_own_hdf5, read_whole):
        with pytest.raises(
            ZooError, match=rf"a.h5: cannot be read as HDF5 \(its heap of texts at byte {heap:,} is damaged\)"
        ):
            read(tmp_path / "a.h5")
    with pytest.raises(ZooError, match=r"b.zip: .*heap of texts at byte"), open_hdf5("b.zip", io.BytesIO(content)):
        pass


def test_a_bug_in_the_block_keeps_its_traceback(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = np.ones(3)
    with pytest.raises(KeyError, match="ours"), open_hdf5(tmp_path / "a.h5"):
        {}["ours"]
    said = r"a.h5: cannot be read as HDF5 \(.*doesn't exist.*\); fetch it again"
    with pytest.raises(ZooError, match=said), open_hdf5(tmp_path / "a.h5") as file:
        file["w"]


def test_json_that_is_none(tmp_path):
    for text, why in (('{"a":' * 10**5, "recursion"), ("9" * 10**4, "digit"), ("{", "Expecting"), ("", "Expecting")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ZooError, match=rf"a.json: cannot be read as JSON \(.*{why}.*\); delete it") as error:
            read_json(tmp_path / "a.json", remedy="delete it")
        assert len(str(error.value)) < 400
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


class Inner(Settings):
    lr: float = 0.1
    note: str | None = None


class Outer(Settings):
    epochs: int = 3
    train: Inner = Inner()


def test_every_cut_of_written_settings_is_refused(tmp_path):
    text = to_yaml(Outer(epochs=7, train=Inner(lr=0.5)))
    file = tmp_path / "s.yaml"
    for end in range(text.index("\n") + 1, len(text) - 1):  # all but the last line break
        file.write_text(text[:end])
        with pytest.raises(ZooError, match=r"s.yaml"):
            load_settings(Outer, file)
    for whole in (text, text.removesuffix("\n"), text + "\n# mine\n# end of settings\n"):
        file.write_text(whole)
        assert load_settings(Outer, file).train.lr == 0.5


def test_settings_by_hand_that_end_within_a_key(tmp_path):
    file = tmp_path / "s.yaml"
    for text, whole in (("epochs: 5", True), ("epochs:", False), ("epochs: 5\ntrain:\n  note: # x", False),
                        ("epochs: 5\ntrain:\n  note:\n", True), ("epochs: 5\n# see:", True), ("", True)):  # fmt: skip
        file.write_text(text)
        if whole:
            read_yaml(file)
        else:
            with pytest.raises(ZooError, match=r"s.yaml: ends in the middle of '(epochs|note):'; write the rest"):
                read_yaml(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [1, 1]\nb: *a\n", r"line 2: is not YAML \(alias \*a: write the value out\)"),
        ("a: &a [*a]\n", r"alias \*a"),
        ("a: " + "9" * 10_000, "a number of 10,000 digits"),
        ("a: " + "[" * 100_000, "more than 30 groups|maximum nesting depth"),
        ("a: " + "{b: " * 31 + "1" + "}" * 31, "more than 30 groups"),
        ("a: 1\na: 2\n", "key 'a' stands twice"),
        ("a: " + "x" * 5_000_000, "5,000,003 characters are no settings"),
    ],
)
def test_yaml_without_end(tmp_path, text, why):
    (tmp_path / "s.yaml").write_text(text)
    begun = time.process_time()
    with pytest.raises(ZooError, match=why) as error:
        read_yaml(tmp_path / "s.yaml")
    assert time.process_time() - begun < 3
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_yaml_just_within_bounds():
    assert parse("a: " + "9" * 40) == {"a": int("9" * 40)}
    assert str(parse("a: " + "[" * 28 + "]" * 28)).count("[") == 28


def test_a_wrong_value_is_told_short(tmp_path):
    with pytest.raises(ZooError) as error:
        load_settings(Outer, None, [f"epochs={'9' * 10_000}"])
    assert len(str(error.value)) < 400


def test_a_changed_normalisation_is_refused_and_an_old_one_read(tmp_path):
    from eozoo_clay_ta.sample_schema import CHANNELS, Normalisation

    norm = Normalisation.of(range(CHANNELS), [2.5] * CHANNELS, 10.5, 8)
    file = norm.write(tmp_path / "normalisation.json")
    assert Normalisation.read(file).state() == norm.state()
    whole = file.read_text()
    file.write_text(whole.replace("10.5", "10.4"))
    with pytest.raises(ZooError, match=r"normalisation.json: was changed after it was written"):
        Normalisation.read(file)
    file.write_text(json.dumps(norm.state()))  # as before there were checksums
    assert Normalisation.read(file).state() == norm.state()
