"""Samples of chunks, divided again for cross-validation."""

import numpy as np
from eozoo_clay_ta.chunks import SCHEMA, PatchStore, chunk_path, write_chunk
from eozoo_clay_ta.data import Patches
from eozoo_clay_ta.sample_schema import Normalisation


def test_samples_of_two_splits_by_station(tmp_path):
    for split, stations in (("train", (1, 2, 3, 1)), ("val", (4, 2))):
        n = len(stations)
        arrays = {name: np.zeros((n, *shape), np.float32) for name, shape in SCHEMA.items()}
        arrays["y"] = np.array(stations, np.float32)
        write_chunk(chunk_path(tmp_path, split, 0), arrays, [(f"2021-0{s}-02T00:00", s, 0, 0) for s in stations])
    Normalisation.of([0] * 19, [1] * 19, 0, 1).write(tmp_path / "normalisation.json")
    found = [Patches(PatchStore(tmp_path, split)) for split in ("train", "val")]
    assert found[0].groups("months") == ["2021-01", "2021-02", "2021-03", "2021-01"]
    assert found[0].groups("fields") is None
    part = found[0].pick(found, np.array([1, 3, 4]))
    assert part.groups("stations") == ["2", "1", "4"]
    assert part.items([2, 0])["target"].tolist() == [4, 2]
    assert [list(rows) for _, rows in part.parts()] == [[0, 1], [2]]
    assert len(found[0]) == 4
