"""Every case trained, scored, mapped, exported and looked at through the command line and the Python API."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pins import reading, store
from pins.table import Table

HERE = Path(__file__).parent


@dataclass
class Case:
    """One training to pin.

    settings: "a.b" -> value, beside those of the task's sample.
    exports:  formats to export.
    again:    "resume" or "init-from" -> settings of a second training that starts from the first.
    """

    name: str
    task: str
    settings: dict[str, Any]
    exports: list[str]
    again: dict[str, dict[str, Any]]


def read_cases(table: Table, side: str, only: list[str]) -> list[Case]:
    """Return the cases of ``cases.yaml``, their settings in the names that ``side`` ("old" or "new") has for them."""
    content = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))
    named = table.old_settings if side == "old" else table.new_settings
    cases = [
        Case(
            name,
            case["task"],
            named(name, {**content["common"], **case["set"]}),
            case.get("exports", ["safetensors"]),
            {
                how: named(name, {**content["common"], **case["set"], **sets})
                for how, sets in case.get("again", {}).items()
            },
        )
        for name, case in content["cases"].items()
    ]
    known = {case.name for case in cases}
    if unknown := set(only) - known:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: no such case; there are {', '.join(known)}")
    needed = {
        name for case in cases if case.name in only for name in known if f"<run:{name}>" in case.settings.values()
    }
    return [case for case in cases if not only or case.name in {*only, *needed}]


def record(cases: list[Case], out: Path) -> list[str]:
    """Run all cases in a temporary folder and write what they gave below ``out``; return those that failed."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out}: is not empty; give another folder")
    failed = []
    with tempfile.TemporaryDirectory(prefix="pins-") as folder:
        root = Path(folder).resolve()
        for case in cases:
            started, notes = time.process_time(), reading.Notes(case.name, root)
            try:
                _record(case, notes)
            except Exception:  # a bug of one task: the others are recorded all the same
                traceback.print_exc()
                print(f"{case.name}: failed", flush=True)
                failed.append(case.name)
                continue
            store.save(notes.items, out)
            used = time.process_time() - started
            print(f"{case.name}: {len(notes.items)} things in {used:.0f} CPU seconds", flush=True)
    return failed


def _record(case: Case, notes: reading.Notes) -> None:
    from eozoo.registry import Registry

    home = notes.root / case.name
    run, maps = home / "run", home / "maps"
    home.mkdir()
    _seed()
    sample = Registry.discover().get("task", case.task).sample(home / "sample")
    notes.add("sample", reading.hashes(home / "sample"))
    notes.add("batch", sample.batch)
    (home / "sample.yaml").write_text(yaml.safe_dump(sample.settings.model_dump(mode="json")), encoding="utf-8")
    words = _settings(case.settings, home)
    notes.add("defaults", json.loads(_eozoo("config", case.task, "--json")))
    _check(notes, json.loads(_eozoo("check", case.task, *words, "--json", may_fail=True)))
    notes.add("plan", json.loads(_eozoo("train", case.task, "--run", run, *words, "--dry-run", "--json")))
    _eozoo("train", case.task, "--run", run, *words)
    for split in ("val", "test"):
        _eozoo("eval", case.task, "--run", run, "--split", split)
    _eozoo("infer", case.task, "--run", run, "--input", sample.source, "--output", maps)
    for kind in case.exports:
        file = home / f"exported.{kind}"
        _eozoo("export", case.task, "--run", run, "--format", kind, "--output", file)
        reading.read_weights(notes, file)
    _python(notes, run, sample.batch)
    reading.read_run(notes, run)
    reading.read_maps(notes, maps)
    for how, settings in case.again.items():
        start = run / ("current.pt" if how == "resume" else "best.pt")
        _eozoo("train", case.task, "--run", home / how, *_settings(settings, home), f"--{how}", start)
        reading.read_run(notes, home / how, f"{how}/")
    notes.take_hashes_out()


def _python(notes: reading.Notes, run: Path, batch: dict[str, np.ndarray]) -> None:
    """What the Python API gives: outputs, predictions, the network's description, the graph for export."""
    import eozoo

    _seed()
    loaded = eozoo.load_run(run)
    notes.add("outputs", loaded.outputs)
    notes.add("predict", loaded.predict(batch))
    notes.add("predict", loaded.predict(_holed(batch)), "with gaps")
    notes.add("network", asdict(loaded.task.network(loaded.run)))
    _graph(notes, loaded)


def _graph(notes: reading.Notes, loaded: Any) -> None:
    """The graph's declaration, and what its module says to its example and to one with missing values."""
    import torch
    from eozoo_core import ZooError

    try:
        graph = loaded.task.graph(loaded.run)
    except ZooError as error:
        notes.add("graph", str(error), "refused")
        return
    notes.add("graph", {"axes": graph.axes, "about": graph.about, "tolerance": graph.tolerance, "note": graph.note})
    for label, arrays in (("whole", graph.inputs), ("with gaps", _holed(graph.inputs))):
        notes.add("graph", arrays, f"{label}.inputs")
        with torch.no_grad():
            values = graph.module.eval()(*(torch.from_numpy(array) for array in arrays.values()))
        notes.add("graph", dict(zip(graph.outputs, values, strict=True)), f"{label}.outputs")


def _check(notes: reading.Notes, found: dict[str, Any]) -> None:
    seen: dict[str, int] = {}
    for finding in found["findings"]:
        subject = finding.pop("subject")
        seen[subject] = number = seen.get(subject, -1) + 1
        notes.add("check", finding, f"{subject}.{number}")
    for made in found["tables"]:
        notes.add("table", {"columns": made["columns"], "rows": made["rows"]}, made["title"])


def _settings(settings: dict[str, Any], home: Path) -> list[str]:
    """Return the options that give a command these settings on top of the sample's."""
    sets = [f"{key}={_text(value, home.parent)}" for key, value in settings.items()]
    return ["--config", str(home / "sample.yaml"), *(word for item in sets for word in ("--set", item))]


def _eozoo(*words: str | Path, may_fail: bool = False) -> str:
    """Run one command in this process and return what it printed. Raises RuntimeError where it fails."""
    from click.testing import CliRunner
    from eozoo.cli import main

    _seed()
    words = tuple(map(str, words))
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    if result.exit_code and not may_fail:
        raise RuntimeError(f"eozoo {' '.join(words)}\nended with exit code {result.exit_code}:\n{result.output}")
    return result.stdout


def _seed() -> None:
    """Set the global generators: no verb's draws depend on those of the verb before."""
    import torch

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def _text(value: Any, root: Path) -> str:
    """A value as ``--set`` takes it; "<run:CASE>" becomes the run of that case."""
    if isinstance(value, str) and value.startswith("<run:"):
        return str(root / value[5:-1] / "run")
    return value if isinstance(value, str) else json.dumps(value)


def _holed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A copy with one value missing in every array of floats."""
    holed = {name: np.array(array) for name, array in arrays.items()}
    for array in holed.values():
        if array.dtype.kind == "f":
            array[tuple(side // 2 for side in array.shape)] = np.nan
    return holed


def modules_are_of(tree: Path) -> None:
    """End the program where a loaded module of eozoo does not come from ``tree``."""
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0].startswith("eozoo")}
    for name, module in sorted(loaded.items()):
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "")
        if not Path(file).resolve().is_relative_to(tree.resolve()):
            raise SystemExit(f"{name} comes from {file}, not from {tree}: nothing was pinned")
