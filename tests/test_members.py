"""Members of an ensemble look once at their data."""

from contextlib import nullcontext
from types import SimpleNamespace

from eozoo_core.task import members
from eozoo_core.task.splits import open_splits


def test_the_first_member_looks_at_the_data_for_all(monkeypatch):
    settings = SimpleNamespace(
        runtime=SimpleNamespace(member_processes=1, quiet=True), train=SimpleNamespace(members=3)
    )
    child = SimpleNamespace(settings=settings, writing=nullcontext, info=dict, note=lambda key, value: None)
    run = SimpleNamespace(settings=settings, has=lambda which: False, info=dict, note=lambda key, value: None)
    given = []

    def train(task, run, survey=None):
        given.append(survey)
        return survey or "what the first found"

    class Task:
        def __init__(self, settings, registry):
            self.registry = registry

    monkeypatch.setattr(members, "train", train)
    monkeypatch.setattr(members, "_children", lambda run, settings: [child] * 3)
    members._train_members(Task(settings, None), run)
    assert given == [None, "what the first found", "what the first found"]


def test_splits_compared_before_are_not_read_again():
    def describe_splits(found):
        raise AssertionError("read again")

    task = SimpleNamespace(
        validates=True, data=lambda name: name, has_split=lambda name: False, describe_splits=describe_splits
    )
    assert open_splits(task, compared=True) == {"train": "train", "val": "val"}
