"""Checks of what a run needs, and of what is refused when it is used."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError

from eozoo.testing.canary import Canary
from eozoo.testing.equality import array_difference, tree
from eozoo.testing.read_only import read_only
from eozoo.testing.shared_runs import Bench
from eozoo.testing.watch import take_any_files

_MOST_PARTS = 8


def run_directory_is_enough(bench: Bench, folder: Path) -> None:
    """A copied run on a read-only disk predicts and infers without the training data as the object that trained it."""
    trained = bench.finished
    path, source, batch = bench.copy(trained.path, folder), bench.source(folder / "source"), bench.batch()
    _, run = bench.open(trained.path)
    before = trained.task.predict(run, bench.batch())
    with bench.hidden(), read_only(path):
        try:
            task, run = bench.open(path)
            run.note_changes()
            after = task.predict(run, batch)
            files = task.infer(run, source, folder / "out")
        except Exception as error:
            if getattr(error, "errno", None) == errno.EROFS:
                raise AssertionError(
                    f"predict or infer write into the run, which may be read-only: {error}; write to dest only"
                ) from error
            raise AssertionError(
                f"predict or infer failed without the training data: {error}; keep in best.pt what they need of it"
            ) from error
    assert files, "infer() returned no file"
    found = array_difference(before, after)
    assert not found, (
        f"a new task object predicts otherwise than the one that trained: {found}; whatever predict needs belongs in "
        "best.pt, not on self"
    )


def wrong_checkpoint_is_refused(bench: Bench, folder: Path) -> None:
    """A checkpoint that is missing, damaged, another's, or does not match is a ZooError, and nothing is written."""
    from eozoo_core.run.checkpoint import load_checkpoint

    path, source, canary = bench.copy(bench.finished.path, folder), bench.source(folder / "source"), folder / "canary"
    best, dest = path / "best.pt", folder / "dest"
    original, content, (_, run) = best.read_bytes(), load_checkpoint(best), bench.open(path)
    for what, spoil in _wrong_files(canary, content):
        best.write_bytes(original)
        spoil(best)
        task = bench.new_task(run)
        try:
            error = _refusal(lambda: task.infer(run, source, dest), f"infer() with a best.pt that {what}")  # noqa: B023
        finally:
            assert not canary.exists(), "loading best.pt ran code from it: load through eozoo_core's Run.load"
        assert "best.pt" in str(error), f"the error for a best.pt that {what} does not name the file: {error}"
        assert not dest.exists() or not tree(dest), f"infer() wrote {list(tree(dest))} with a best.pt that {what}"
    for what, spoil in _wrong_tensors(content["model"]):
        _write(best, content | {"model": spoil(content["model"])})
        task = bench.new_task(run)
        _refusal(lambda: task.predict(run, bench.batch()), f"predict() with a best.pt in which {what}")  # noqa: B023


def bad_source_is_refused(bench: Bench, folder: Path) -> None:
    """A source that is not there or not readable is a ZooError that names it, and nothing is written."""
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    good = bench.source(folder / "source")
    absent = folder / f"absent{good.suffix}"
    garbage = folder / f"garbage{good.suffix}"
    sources = {"does not exist": absent}
    if good.is_file():
        garbage.write_bytes(b"this is not what its name says\n" * 40)
        sources["holds no data"] = garbage
    for what, source in sources.items():
        dest = folder / f"dest_{source.stem}"
        error = _refusal(lambda: task.infer(run, source, dest), f"infer() of a source that {what}")  # noqa: B023
        assert source.name in str(error), f"the error for a source that {what} does not name it: {error}"
        assert not dest.exists() or not tree(dest), f"infer() wrote {list(tree(dest))} for a source that {what}"


def _wrong_files(canary: Path, content: dict[str, Any]) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Yield (what is wrong, function that makes the file so)."""
    yield "is missing", Path.unlink
    yield "is cut in half", lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    yield "another task wrote", lambda file: _write(file, content | {"task": "another_task"})
    pickled = pickle.dumps(Canary(canary), protocol=2)  # that of torch.save; the content is what must be refused
    yield "is a pickled object", lambda file: file.write_bytes(pickled)


def _wrong_tensors(model: dict[str, Any]) -> Iterator[tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]:
    """Yield (what is wrong, function that makes a model so) for one tensor of each part of the model.

    Each is left out; every second has another shape as well, and beside the others lies one too many.
    """
    for number, (name, tensor) in enumerate(_one_of_each(model).items()):
        yield f"{name} is left out", lambda all_, name=name: {k: v for k, v in all_.items() if k != name}
        if number % 2:
            larger = {name: tensor.new_zeros((*tensor.shape, 2))}
            yield f"{name} has another shape", lambda all_, new=larger: all_ | new
        else:
            more = {f"{name}_renamed": tensor}
            yield f"a tensor {name}_renamed is added", lambda all_, new=more: all_ | new


def _one_of_each(model: dict[str, Any]) -> dict[str, Any]:
    """One tensor of each part, parts being as deep in the module tree as gives at most ``_MOST_PARTS``."""
    for depth in range(max(name.count(".") for name in model) + 1, 0, -1):
        parts = {tuple(name.split(".")[:depth]): name for name in reversed(model)}
        if len(parts) <= _MOST_PARTS:
            break
    return {name: model[name] for name in list(parts.values())[:_MOST_PARTS]}


def _write(file: Path, content: dict[str, Any]) -> None:
    import torch

    torch.save(content, file)  # core's own writer refuses the objects that a stranger's file may hold
    take_any_files(file.parent)  # or the file would be refused by its hash, before it is looked at


def _refusal(action: Callable[[], Any], what: str) -> ZooError:
    """Return the ZooError that ``action`` raises; anything else fails."""
    try:
        action()
    except ZooError as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} ended in {type(error).__name__} ({error}), expected a ZooError") from error
    raise AssertionError(f"{what} went through, expected a ZooError: load strictly, with eozoo_core.run.checkpoint")
