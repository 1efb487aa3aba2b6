"""What goes into a network and comes out of it, judged against what training saw; see docs/guard.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.checking.findings import percent
from eozoo_core.checking.guard import Judgement, Observed, filler_in, judge_inputs, judge_outputs
from eozoo_core.checking.units import Channel, channel, likely_mistake, out_of_range
from eozoo_core.errors import ZooError
from eozoo_core.run.progress import tell_once

if TYPE_CHECKING:
    from eozoo_core.checking import Classes
    from eozoo_core.spec import Port
    from eozoo_core.task.contract import Arrays
    from eozoo_core.task.survey import Survey

_MOST = 4096  # values of a band that are looked at in one batch


class Watch:
    """Samples the input whose bands were surveyed, and the first output that has labels, batch by batch.

    ``inputs``, ``outputs``: ports of the network. Without surveyed values, or an input of such bands, none is judged.
    """

    def __init__(self, survey: Survey, inputs: Sequence[Port], outputs: Sequence[Port]):
        self._survey = survey
        seen = bool(survey.bands) and all(band.count for band in survey.bands)
        self._port = next((p for p in inputs if seen and p.bands == survey.names and p.dtype[0] == "f"), None)
        label = survey.label is not None and survey.label.count > 0
        self._output = next((p.role for p in outputs if label and p.spread == "moments"), None)
        self.inputs, self.predicted, self.targets = Observed(len(survey.bands)), Observed(1), Observed(1)

    def take(self, arrays: Arrays, found: Mapping[str, Any]) -> None:
        """Look at arrays of the inputs (B, ...), a "target" among them, and at quantities that were predicted."""
        if self._port is not None and self._port.role in arrays:
            self.inputs.update(thinned(bands_first(self._port, arrays[self._port.role])))
        if self._output in found:
            self.predicted.update(thinned(found[self._output].reshape(1, -1)))
        if "target" in arrays and self._output is not None:
            self.targets.update(thinned(arrays["target"].reshape(1, -1)))

    def judge(self) -> Judgement:
        """Judge all that was taken so far: inputs, and predictions against the labels of training."""
        return together(self.judge_inputs(self.inputs.values), self._judge_label(self.predicted))

    def judge_inputs(self, values: np.ndarray) -> Judgement:
        """Judge ``values`` (bands, k) in the survey's order and units, NaN = missing."""
        return Judgement() if self._port is None else judge_inputs([b.known() for b in self._survey.bands], values)

    def judge_targets(self) -> Judgement:
        """Judge the labels of a split against those of training."""
        return self._judge_label(self.targets)

    def _judge_label(self, seen: Observed) -> Judgement:
        return judge_outputs(self._survey.label.known(), seen.values) if seen.seen else Judgement()


def judge_survey(survey: Survey, label: Channel | Classes | None) -> Judgement:
    """Judge what training would learn from: values that mean "nothing", labels that their unit does not allow.

    ``label``: what is plausible, by `Task.expected`.
    """
    refusals, warnings = [], []
    for band in survey.bands:
        if band.count and (value := filler_in(band.known(), band.low, band.high)) is not None:
            refusals.append(f"band {band.name} holds {value:g}, which usually means missing; declare it as nodata")
        elif band.quantiles and (reason := out_of_range(channel(band.name, band.unit), np.array(band.quantiles[1:8]))):
            warnings.append(f"band {band.name} holds {reason}")
    found = survey.label
    if found is not None and found.count and isinstance(label, Channel) and found.quantiles:
        values = np.array(found.quantiles[1:8])
        if (value := filler_in(found.known(), found.low, found.high)) is not None:
            refusals.append(f"labels hold {value:g}, which usually means no label; declare it as nodata")
        elif reason := out_of_range(label, values):
            mistake = likely_mistake(label, values)
            refusals.append(f"labels hold {reason}" + (f": {mistake.what}; {mistake.remedy}" if mistake else ""))
    return Judgement("; ".join(refusals), tuple(warnings))


def require_sound(survey: Survey, label: Channel | Classes | None, where: Path, quiet: bool = False) -> None:
    """Raise ZooError for training data that cannot be meant, before anything is learned; print what is odd."""
    judged = judge_survey(survey, label)
    if judged.refusal:
        raise ZooError(f"{where}: {judged.refusal}")
    tell_once([f"{where}: warning: {line}" for line in judged.warnings], quiet)


def require_like(judged: Judgement, where: str, setting: str, unlike: str, quiet: bool = False) -> list[str]:
    """Raise ZooError for a refusal, print warnings; return them, and what ``unlike`` "warn" went on in spite of.

    ``where``: what was judged, for messages; ``setting``: the one that goes on anyway.
    """
    if judged.refusal and unlike != "warn":
        raise ZooError(f"{where}: {judged.refusal}; if that is meant, add --set {setting}=warn")
    lines = [*([judged.refusal] if judged.refusal else []), *judged.warnings]
    tell_once([f"{where}: warning: {line}" for line in lines], quiet)
    return lines


def together(*judged: Judgement) -> Judgement:
    """Return several judgements as one; the share outside is that of the first that has one."""
    outside = next((one.outside for one in judged if one.outside is not None), None)
    bands = {name: numbers for one in judged for name, numbers in one.bands.items()}
    refusal = "; ".join(one.refusal for one in judged if one.refusal)
    return Judgement(refusal, tuple(line for one in judged for line in one.warnings), outside, bands)


def bands_first(port: Port, values: np.ndarray) -> np.ndarray:
    """Turn values with the axes of ``port`` into (bands, n)."""
    axes = port.axes.split()
    axis = axes.index("C") if "C" in axes else axes.index(str(len(port.bands)))
    return np.moveaxis(values, axis, 0).reshape(len(port.bands), -1)


def thinned(values: np.ndarray) -> np.ndarray:
    """Return at most about `_MOST` of the positions of ``values`` (bands, n), evenly; an odd step meets all columns."""
    step = values.shape[1] // _MOST + 1
    return values[:, :: step | 1]


def told_share(judged: Judgement) -> str:
    """Say how much of a map's input lies outside what training saw; "" where nobody knows."""
    return "" if judged.outside is None else f"{percent(judged.outside)} outside what training saw"
