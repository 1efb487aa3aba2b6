"""The check of ``eozoo check``: a task's look at its data before training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from eozoo.testing.canary import spoil
from eozoo.testing.equality import tree
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from eozoo_core import TaskSettings
    from eozoo_core.checking import Findings


def check_finds_what_is_wrong(bench: Bench, folder: Path) -> None:
    """``check`` finds no error in the sample and one where its data are gone; it writes nothing, builds no network."""
    settings, before = bench.settings(), tree(bench.sample_root)
    with _networks() as built:
        found = _look(bench, settings)
    errors = [f"{f.subject}: {f.measured}" for f in found.found if f.level == "error"]
    assert not errors, f"check() finds errors in the sample, which trains: {errors[0]}"
    assert found.found, "check() finds nothing at all in the sample: add to the findings what was looked at"
    assert not built, f"check() builds a {built[0]}: it must take seconds, whatever the network; look at data only"
    if found.preview is not None:
        panels = found.preview[1]()
        assert panels, "the picture of check() has no maps"
    after = tree(bench.sample_root)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, f"check() changed {changed[0]}: it must write nothing"
    with bench.hidden():
        found = _look(bench, settings)
    assert found.count("error"), "check() finds no error although the data are gone: say which file is missing"


def data_run_no_code(bench: Bench, folder: Path) -> None:
    """Pickles in the place of the sample's files are not run by ``check``: arrays are read without them."""
    canary, kept = folder / "canary", folder / "kept"
    bench.sample  # noqa: B018 - written at the first use
    shutil.copytree(bench.sample_root, kept)
    try:
        for file in (file for file in bench.sample_root.rglob("*") if file.is_file()):
            spoil(file, canary)
        _look(bench, bench.settings())
    finally:
        shutil.rmtree(bench.sample_root)
        shutil.copytree(kept, bench.sample_root)
    assert not canary.exists(), (
        "check() ran code from a file of data: read .npy and .npz through eozoo_core.raster.arrays, tensors through "
        "eozoo_core.run.checkpoint"
    )


def _look(bench: Bench, settings: TaskSettings) -> Findings:
    """Call ``check`` as the command does: a ZooError is a finding, anything else is a bug."""
    from eozoo_core.checking import Findings

    findings = Findings(samples=50)
    try:
        with findings.guard("data"):
            bench.task_class(settings, bench.registry).check(findings)
    except Exception as error:
        raise AssertionError(f"check() ended in {type(error).__name__} ({error}), expected findings") from error
    return findings


@contextmanager
def _networks() -> Iterator[list[str]]:
    """Yield a list that fills with the classes of the torch modules that are built."""
    import torch

    built: list[str] = []
    start = torch.nn.Module.__init__

    def watched(self: Any, *arguments: Any, **named: Any) -> None:
        built.append(type(self).__name__)
        start(self, *arguments, **named)

    with patch.object(torch.nn.Module, "__init__", watched):
        yield built
