"""``eozoo check clay_ta``: good chunks, and each fault by itself."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from eozoo_clay_ta.chunks import open_chunk, write_chunk
from eozoo_clay_ta.task import ClayTa
from eozoo_core.checking import Findings
from eozoo_core.settings.config import load_settings, to_dict


@pytest.fixture
def chunks(prepared, tmp_path):
    return Path(shutil.copytree(prepared.runtime.data_dir, tmp_path / "patch_pt"))


def check(prepared, chunks, *overrides):
    values = load_settings(ClayTa.Settings, None, [f"runtime.data_dir={chunks}", *overrides], to_dict(prepared))
    findings = Findings()
    ClayTa(values).check(findings)
    return findings


def told(findings):
    return [
        (f.level, f.subject, f"{f.measured} -> {f.remedy}")
        for f in findings.found
        if f.level in ("warning", "error") and "100 or more" not in f.remedy  # they are few, in truth
    ]


def rewrite(file, change):
    chunk = open_chunk(file)
    arrays, meta = {name: t.numpy().copy() for name, t in chunk.tensors.items()}, list(chunk.meta)
    write_chunk(file, arrays, change(arrays, meta) or meta)


def statistics(chunks):
    return json.loads((chunks / "normalisation.json").read_text())


def restate(chunks, **changes):
    known = statistics(chunks)
    del known["sha256"]  # as of older folders
    (chunks / "normalisation.json").write_text(json.dumps({**known, **changes}))


def first_time(chunks, split):
    return open_chunk(next(iter(sorted(chunks.glob(f"{split}_chunk_*.pt"))))).meta[0][0]


def test_good_chunks_give_no_warning_and_physical_units(prepared, chunks):
    found = check(prepared, chunks)
    assert told(found) == []
    by_subject = {f.subject: f for f in found.found}
    assert by_subject["train"].measured.split(",")[0].endswith(" scenes")
    assert 250 < float(found.tables[0].rows[6][3]) < 310  # ir105 in K
    assert "leakage: time" in by_subject
    panels = found.preview[1]()
    assert panels[0].title.startswith("ir105, ")
    assert [p.unit for p in panels[-2:]] == ["degC", "1 = valid, grey = missing"]


def test_one_scene_in_celsius_is_named(prepared, chunks):
    file, std = chunks / "train_chunk_00000.pt", np.array(statistics(chunks)["std"][:10])
    stamp = first_time(chunks, "train")

    def cool(arrays, meta):
        rows = [i for i, entry in enumerate(meta) if entry[0] == stamp]
        arrays["x"][rows, :10] -= (273.15 / std)[:, None, None].astype("float32")

    rewrite(file, cool)
    values = next(text for _, subject, text in told(check(prepared, chunks)) if subject == "values")
    assert f"{file} at {stamp[:16]}" in values
    assert "degrees Celsius -> add 273.15 in the scenes" in values


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        (lambda s: {"ta_mean": s["ta_mean"] + 273.15}, "labels", "kelvin -> subtract 273.15"),
        (lambda s: {k: [v * (100 if i == 17 else 1) for i, v in enumerate(s[k])] for k in ("mean", "std")}, "values",
         "dem holds .* centimetres -> divide by 100"),
    ],
)  # fmt: skip
def test_statistics_in_other_units_are_recognised(prepared, chunks, change, subject, words):
    restate(chunks, **change(statistics(chunks)))
    ((_, found, text),) = told(check(prepared, chunks))
    assert found == subject
    assert re.search(words, text)


def test_a_scene_in_two_splits_and_one_too_near(prepared, chunks):
    other = first_time(chunks, "test")
    file = chunks / "train_chunk_00000.pt"
    stamp = first_time(chunks, "train")

    def at(time):
        return lambda arrays, meta: [(time, *e[1:]) if e[0] == stamp else e for e in meta]

    rewrite(file, at(other))
    subjects = [s for _, s, _ in told(check(prepared, chunks))]
    assert {"leakage train/test: samples", "leakage train/test: time"} <= set(subjects)
    stamp, near = other, str(np.datetime64(other) + np.timedelta64(5, "h"))
    rewrite(file, at(near))
    ((level, subject, text),) = told(check(prepared, chunks))
    assert (level, subject) == ("warning", "leakage train/test: time")
    assert "nearer than 24 h" in text


def test_a_split_by_stations_must_not_share_one(prepared, chunks):
    found = told(check(prepared, chunks, "prepare.build_index.split_by=stations"))
    assert [s for _, s, _ in found] == [f"leakage {p}: ground" for p in ("train/val", "train/test", "val/test")]
    assert re.search(r"samples? overlap.*station \d+ and station \d+ -> put stations", found[0][2])


@pytest.mark.parametrize(
    ("spoil", "subject", "words"),
    [
        (lambda c: [f.unlink() for f in c.glob("train_chunk_*.pt")], "train", "holds no train_chunk_00000.pt"),
        (lambda c: (c / "val_chunk_00000.pt").write_bytes(b"no"), "val", "val_chunk_00000.pt: cannot be read"),
    ],
)
def test_chunks_that_are_not_there_or_damaged(prepared, chunks, spoil, subject, words):
    spoil(chunks)
    assert [text for _, s, text in told(check(prepared, chunks)) if s == subject and words in text]


def test_a_bit_flipped_in_a_chunk_and_a_chunk_that_is_gone(prepared, chunks):
    file = chunks / "val_chunk_00000.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # in the pixels: nothing else would tell
    file.write_bytes(bytes(content))
    said = [text for level, subject, text in told(check(prepared, chunks)) if (level, subject) == ("error", "val")]
    assert len(said) == 1
    assert re.search(r"val_chunk_00000.pt: cannot be read whole \(its record '.*' is damaged\); restore it", said[0])
    sorted(chunks.glob("train_chunk_*.pt"))[-1].unlink()
    assert [text for _, subject, text in told(check(prepared, chunks)) if subject == "train: chunks"]


def test_a_missing_checkpoint_is_found_before_training(prepared, chunks):
    assert told(check(prepared, chunks, "model.weights=/nowhere.ckpt"))[0][1] == "model.weights"


@pytest.mark.parametrize("split_by", ["stations", "blocks"])
def test_a_split_of_which_no_chunk_can_be_read_hides_no_other(prepared, chunks, split_by):
    for file in chunks.glob("val_chunk_*.pt"):
        file.write_bytes(b"cut off")
    found = check(prepared, chunks, f"prepare.build_index.split_by={split_by}")
    assert {subject for level, subject, _ in told(found) if "cannot be read" in _} == {"val"}
    assert any(f.subject == "train" and f.level == "ok" for f in found.found)
    assert any(f.subject.startswith("leakage") and "train" in f.subject + f.measured for f in found.found)
