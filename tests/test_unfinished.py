"""Work in items that was stopped: the same call goes on, another one begins afresh, a second process is refused."""

import json
import os
from dataclasses import dataclass

import pytest
from eozoo_core.errors import ZooError
from eozoo_core.run.pool import Here
from eozoo_core.run.unfinished import unfinished
from test_lease import in_child


@dataclass
class Square:
    """Notes what it is called for; ``stop``: where it fails."""

    log: list
    stop: int = 0

    def __call__(self, item):
        if item == self.stop:
            raise ZooError(f"{item}: stop")
        self.log.append(item)
        return [item, item**2]


def squares(path, stamp, work, items=(3, 1, 2)):
    with unfinished(path, stamp) as begun:
        found = begun.results(Here(), work, {f"n{item}": item for item in items})
        path.write_text(json.dumps(found))
    return found


def hidden(folder):
    return sorted(file.name for file in folder.iterdir() if file.name.startswith("."))


def test_goes_on_where_it_was_stopped(tmp_path):
    path, first, second = tmp_path / "made.json", [], []
    with pytest.raises(ZooError, match="2: stop"):
        squares(path, "a" * 64, Square(first, stop=2))
    assert (first, hidden(tmp_path)) == ([3, 1], [f".made.json.{'a' * 16}.unfinished"])
    assert squares(path, "a" * 64, Square(second)) == [[3, 9], [1, 1], [2, 4]]
    assert (second, hidden(tmp_path)) == ([2], [])


def test_other_work_begins_afresh_and_leaves_that_of_others(tmp_path):
    for name in ("made.json", "made.json.too", "other"):
        with pytest.raises(ZooError, match="1: stop"):
            squares(tmp_path / name, "a" * 64, Square([], stop=1))
    log = []
    squares(tmp_path / "made.json", "b" * 64, Square(log))
    assert log == [3, 1, 2]
    assert hidden(tmp_path) == [f".{name}.{'a' * 16}.unfinished" for name in ("made.json.too", "other")]


def test_nothing_stays_where_nothing_was_done_and_one_process_works(tmp_path):
    with pytest.raises(ZooError, match="3: stop"):
        squares(tmp_path / "made", "a" * 64, Square([], stop=3))
    assert hidden(tmp_path) == []
    with unfinished(tmp_path / "made", "a" * 64):
        pid, text = in_child(lambda: squares(tmp_path / "made", "a" * 64, Square([])))
        os.waitpid(pid, 0)
    assert text.startswith(f"Held: {tmp_path / 'made'}: is being written by ")
