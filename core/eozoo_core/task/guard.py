"""The guard at the doors of `train`, `eval` and `infer`; the rule itself is `eozoo_core.checking.guard`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.checking import Channel, channel
from eozoo_core.checking.findings import percent, to_json
from eozoo_core.checking.guard import Observed, Verdict, judge, judge_band, judge_labels
from eozoo_core.errors import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.run.written import write_text
from eozoo_core.task.contract import Arrays, Contract
from eozoo_core.task.survey import BandSurvey, Survey

if TYPE_CHECKING:
    from eozoo_core.spec import Port
    from eozoo_core.task.data import Data
    from eozoo_core.task.predict import Predictor
    from eozoo_core.task.scenes import Scene

_PIXELS = 4096  # looked at in each call of the network, evenly spread
_SAMPLES, _VALUES = 64, 2**24  # looked at of a split, at most


def known_bands(task: Contract, survey: Survey) -> tuple[BandSurvey, ...]:
    """Return the bands of ``survey``; where the files named no unit, with that which the task knows."""
    try:
        expected = task.expected().bands
    except NotImplementedError:  # a task that does not describe its arrays
        expected = {}
    units = {name: one.unit for name, one in expected.items()}
    return tuple(b if b.unit else b.model_copy(update={"unit": units.get(b.name, "")}) for b in survey.bands)


def allow(verdict: Verdict, who: str, setting: str, on_unlike: str) -> None:
    """Print a warning. Raises ZooError for a refusal, unless ``on_unlike``, the value of ``setting``, says "warn"."""
    if verdict.level == "error" and on_unlike != "warn":
        raise ZooError(f"{who}: {verdict.line}; --set {setting}=warn goes on")
    if verdict.level != "ok":
        print_message(f"warning: {who}: {verdict.line}")


def judge_training(task: Contract, survey: Survey) -> None:
    """Judge bands and labels of ``survey``, without a look at data; print what is odd.

    Raises ZooError for numbers that mean "nothing", and for labels that cannot be in their unit.
    """
    expected = task.expected()
    for band in survey.bands:
        known = expected.bands.get(band.name) or channel(band.name, band.unit)
        verdict = judge_band(band, known, expected.remedies.get("nodata", "declare it as nodata"))
        if verdict.level == "error":
            raise ZooError(f"training data: {verdict.line}")
        if verdict.level == "warning":
            print_message(f"warning: training data: {verdict.line}")
    if survey.label is None:
        return
    known = expected.label if isinstance(expected.label, Channel) else None
    known = known if known is not None and known.unit == survey.label.unit else None  # outputs may have another
    remedy = expected.remedies.get("label_nodata", expected.remedies.get("nodata", "mark them as nodata"))
    verdict = judge_labels(survey.label, known, remedy)
    if verdict.level == "error":
        raise ZooError(f"training data: {verdict.line}")


def judge_split(task: Contract, survey: Survey, data: Data, split: str, on_unlike: str) -> None:
    """Compare up to 64 samples of ``data``, inputs and labels, with what training saw; see `allow`."""
    bands, labels = Observed(known_bands(task, survey)), Observed([survey.label] if survey.label else [])
    chosen, values = np.unique(np.linspace(0, len(data) - 1, min(len(data), _SAMPLES)).astype(int)), 0
    for index in chosen.tolist():
        image, label = data.physical(index, survey)
        if len(image) != len(survey.bands) or values > _VALUES:
            break
        values += image.size
        bands.add(image.reshape(len(image), -1))
        if survey.label is not None and label is not None:
            labels.add(np.asarray(label, np.float32).reshape(1, -1))
    allow(judge(bands), f"{split} split", "eval.on_unlike", on_unlike)
    if survey.label is not None:
        allow(judge(labels), f"{split} split: labels", "eval.on_unlike", on_unlike)


class Watch:
    """What goes into the network while a scene is mapped, beside what training saw. Threads may share it."""

    def __init__(self, known: Sequence[BandSurvey], inputs: Sequence[Port]):
        self._known, self._lock, self._chosen = tuple(known), threading.Lock(), {}
        self._role, self._axis = _channels_of(inputs, len(known))
        self.observed = Observed(known)

    def __call__(self, arrays: Arrays) -> None:
        """Look at evenly spread pixels of what the network gets."""
        self.add(self.some_of(arrays))

    def some_of(self, arrays: Arrays) -> np.ndarray | None:
        """Return the values (C, n) of these pixels; None where the task does not say which array holds them."""
        if (flat := self._flat(arrays)) is None:
            return None
        with self._lock:
            return flat[:, self._spread(flat.shape[1])]

    def add(self, values: np.ndarray | None) -> None:
        """Take what `some_of` gave, here or in another process."""
        if values is not None:
            with self._lock:
                self.observed.add(values)

    def verdict_of(self, arrays: Arrays) -> Verdict:
        """Judge ``arrays`` alone."""
        one = Observed(self._known)
        if (flat := self._flat(arrays)) is not None:
            one.add(flat)
        return judge(one)

    def _flat(self, arrays: Arrays) -> np.ndarray | None:
        """Values (C, n) of the bands; None where the task does not say which array holds them."""
        values = arrays.get(self._role)
        if values is None or values.ndim < -self._axis or values.shape[self._axis] != len(self._known):
            return None
        return np.moveaxis(values, self._axis, 0).reshape(len(self._known), -1)

    def _spread(self, count: int) -> np.ndarray | slice:
        """Places of at most 4,096 of ``count`` pixels, not in step with rows."""
        if count <= _PIXELS:
            return slice(None)
        if count not in self._chosen:
            places = np.random.default_rng(count).integers(0, count, _PIXELS)
            self._chosen[count] = np.sort(places)
        return self._chosen[count]


class SceneGuard:
    """The guard of one scene: before it is mapped, while it is, and what its maps say of it."""

    def __init__(self, task: Contract, predictor: Predictor, scene: Scene):
        survey, self._who = predictor.survey, str(scene.path)
        self._on_unlike, self._name = task.settings.infer.on_unlike, scene.path.name
        self._quiet = task.settings.runtime.quiet
        self.watch = Watch(known_bands(task, survey), predictor.inputs)
        label, known = survey.label, [p for p in predictor.declared if p.spread == "moments" and not p.bands]
        self._role = next((port.role for port in known if label and port.unit == label.unit), None)
        self._output = Observed([label.model_copy(update={"name": self._role})] if self._role else [])
        self._found: dict[str, Any] = {}
        self.outside: float | None = None  # share of the input values, once all were seen

    def allow(self, verdict: Verdict) -> None:
        """Refuse a scene before it is mapped; warnings wait for all of it."""
        if verdict.level == "error" and self._on_unlike != "warn":
            allow(verdict, self._who, "infer.on_unlike", self._on_unlike)

    def strict(self) -> Callable[[Arrays], None]:
        """Return a watch that judges every call by itself, for what is written as soon as it is predicted."""
        return lambda arrays: allow(self.watch.verdict_of(arrays), self._who, "infer.on_unlike", self._on_unlike)

    def add(self, strip: Mapping[str, np.ndarray]) -> None:
        """Look at some rows of the outputs."""
        if self._role in strip:
            self._output.add(np.asarray(strip[self._role]).reshape(1, -1))

    def finish(self) -> dict[str, str]:
        """Judge inputs and outputs, and return tags. Raises ZooError where they are refused."""
        inputs, output = judge(self.watch.observed), judge(self._output)
        if output.level != "ok":
            said = output.text.replace(
                "values are not in the units of the training data", "what is predicted is absurd"
            )
            output = replace(output, text=said, remedy="look at the inputs")
        for verdict in (inputs, output):
            allow(verdict, self._who, "infer.on_unlike", self._on_unlike)
        if self._role and not self._output.count.any():
            print_message(f"warning: {self._who}: its map holds no value; every pixel misses a band or is masked")
        told = {"inputs": inputs, "output": output}
        self._found = {name: verdict.numbers() for name, verdict in told.items() if verdict.bands}
        if any(one.count and not one.quantiles for one in self.watch.observed.known):
            print_message(f"{self._name}: this run keeps no quantiles of its training data; only units were compared")
        self.outside = inputs.share if inputs.bands else None
        if not inputs.bands:
            return {"TRAINING_RANGE": "not kept by this run"}
        if not self._quiet:
            print_message(f"{self._name}: {percent(inputs.share)} of the input values lie outside what training saw")
        unlike = "; ".join(one.line for one in (inputs, output) if one.level != "ok")
        shares = {"OUTSIDE_TRAINING": percent(inputs.share)}
        shares |= {"OUTPUT_OUTSIDE_TRAINING": percent(output.share)} if output.bands else {}
        return shares | ({"UNLIKE_TRAINING": unlike} if unlike else {})

    def write(self, path: Path) -> None:
        """Write the shares of every band, for scripts; nothing where nothing could be judged."""
        if self._found:
            text = json.dumps(to_json({"scene": self._name, **self._found}))  # an indent costs ten times as much
            # Quotes within strings have a backslash before them.
            for start, indent in (('{"band": ', 4), ('"inputs": ', 2), ('"output": ', 2)):
                text = text.replace(f" {start}", f"\n{' ' * indent}{start}").replace(f"[{start}", f"[\n    {start}")
            write_text(path, text + "\n")


def _channels_of(inputs: Sequence[Port], bands: int) -> tuple[str, int]:
    """Return the input that holds the bands, and their axis from the end; "" where none does."""
    for port in inputs:
        axes = port.axes.split()
        name = next((a for a in ("C", str(bands)) if a in axes[1:]), None)
        if name is not None and len(port.bands or range(bands)) == bands:
            return port.role, axes.index(name, 1) - len(axes)
    return "", -1
