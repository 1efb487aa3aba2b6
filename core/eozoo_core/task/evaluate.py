"""``eozoo eval``, and validation during training: the same sums, so that best.pt repeats the logged number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.progress import print_message, tell_once
from eozoo_core.task.classes import write_class_report
from eozoo_core.task.contract import Arrays, Baseline, Contract, Loss, Metrics, Scores
from eozoo_core.task.data import Data, in_groups, tensors
from eozoo_core.task.ensemble import member_runs
from eozoo_core.task.features import read_features
from eozoo_core.task.guard import judge_split
from eozoo_core.task.load import read_trained
from eozoo_core.task.predict import Draws, load_survey, open_draws, to_arrays
from eozoo_core.task.references import kept_baselines
from eozoo_core.task.scores import ClassScores
from eozoo_core.task.splits import root_of
from eozoo_core.task.spread import combine, present
from eozoo_core.task.system import System, Tensors
from eozoo_core.train.precision import precision_in_use

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port
    from eozoo_core.task.survey import Survey


AT_FOREST = "model at the forest's labels"  # of an image it is not asked for all


class Scorer:
    """Loss and metrics of one system as sums over samples.

    ``call``: runs the network on staged arrays; the default is the system itself, training gives Fabric's wrapper.
    """

    def __init__(self, system: System, loss: Loss, metrics: Metrics, call: Callable[[Tensors], Tensors] | None = None):
        self._system, self._loss, self.metrics, self._call = system, loss, metrics, call or system
        self._losses = np.zeros(2)

    def add(self, batch: Arrays, device: Any) -> Tensors:
        """Predict and score whole samples; return what ``System.predict`` gives for them."""
        arrays = tensors(batch, device)
        with torch.no_grad():
            raw = self._call(self._system.staged(arrays))
            total, count = self._loss(raw, arrays)["loss"]
            self._losses += [float(total), float(count)]
            found = self._system.hidden(self._system.finish(raw, arrays), arrays)
            shown = present(combine([found], self._system.outputs), self._system.outputs)
        self.metrics.add(to_arrays(shown | found), batch)  # ``found`` last: its deviations were not squared and rooted
        return found

    def sums(self) -> np.ndarray:
        """Return loss and metrics as one flat float64 array."""
        return np.concatenate([self._losses, self.metrics.sums()])

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """Return "loss" and the metrics of ``sums``. Raises ZooError where nothing was labelled."""
        if not sums[1]:
            raise ZooError("no label where the input has data: there is nothing to score")
        return {"loss": float(sums[0] / sums[1]), **self.metrics.compute(sums[2:])}


class Evaluation:
    """All predictors of a run over one split: every draw, all draws combined, and baselines, in one pass.

    ``metrics``: makes empty scores, those of ``Task.metrics`` or of more than validation takes the time for. ``run``:
    it keeps the fitted baselines. ``more``: further ones.
    """

    def __init__(
        self,
        task: Contract,
        draws: dict[str, System],
        survey: Any,
        metrics: Callable[[], Metrics] | None = None,
        run: Run | None = None,
        more: Mapping[str, Baseline] | None = None,
    ):
        empty = metrics or (lambda: task.metrics(survey))
        self._ports = next(iter(draws.values())).outputs
        self._draws = {name: Scorer(draw, task.loss(survey), empty()) for name, draw in draws.items()}
        self._ensemble = empty() if len(draws) > 1 else None
        self._least = {port.role: port.least for port in self._ports if port.least is not None}
        self._floored, self._changed = empty() if self._least else None, False
        simple = task.baselines(survey) | (kept_baselines(task, run, survey) if run else {}) | dict(more or {})
        self._baselines: dict[str, tuple[Baseline, Metrics]] = {name: (one, empty()) for name, one in simple.items()}
        self._at_forest, self._fewer = empty() if "forest" in simple else None, False

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Metrics of every predictor, in the order of ``compute``."""
        baselines = {name: metrics for name, (_, metrics) in self._baselines.items()}
        return self._ordered({name: scorer.metrics for name, scorer in self._draws.items()}, self._ensemble) | baselines

    @property
    def sums(self) -> dict[str, np.ndarray]:
        """What was summed so far for every predictor, also for the model at the forest's labels."""
        at_forest = {AT_FOREST: self._at_forest.sums()} if self._at_forest is not None else {}
        return {name: metrics.sums() for name, metrics in self.metrics.items()} | at_forest

    def add(self, batch: Arrays, device: Any) -> list[Tensors]:
        """Score whole samples; return what every draw predicts for them."""
        found = [scorer.add(batch, device) for scorer in self._draws.values()]
        if self._ensemble is not None:
            shown = present(combined(found, self._ports), self._ports)
            self._ensemble.add({name: values.numpy() for name, values in shown.items()}, batch)
        if self._floored is not None:
            self._add_floored(found, batch)
        for name, (baseline, metrics) in self._baselines.items():
            metrics.add(made := baseline(batch), batch)
            if name == "forest" and batch["target"].ndim > 1:
                self._add_at_forest(made, found, batch)
        return found

    def _add_floored(self, found: list[Tensors], batch: Arrays) -> None:
        """Score what maps show: outputs are not less than `Port.least`."""
        shown = to_arrays(present(combined(found, self._ports), self._ports))
        for name, least in self._least.items():
            self._changed |= bool((shown[name] < least).any())
            shown[name] = np.maximum(shown[name], np.float32(least))
        self._floored.add(shown, batch)

    def _add_at_forest(self, made: Arrays, found: list[Tensors], batch: Arrays) -> None:
        """Score the model at the labels that the forest ``made`` predictions for."""
        target = batch["target"]
        role = next((name for name, values in made.items() if values.size == target.size), None)
        if role is None:
            return
        shown = to_arrays(present(combined(found, self._ports), self._ports))
        silent, said = np.isnan(made[role]).reshape(target.shape), np.isfinite(shown[role]).reshape(target.shape)
        self._fewer |= bool((silent & said & np.isfinite(target)).any())
        self._at_forest.add(shown, batch | {"target": np.where(silent, np.float32(np.nan), target)})

    def compute(self) -> Scores:
        """Return predictor -> metric -> value: the model, its members where there are several, baselines.

        "floored" is the model as maps show it, where that differs: see `Port.least`. `AT_FOREST` is the model at the
        labels that the forest was asked for, where these are fewer.
        """
        draws = {name: scorer.compute(scorer.sums()) for name, scorer in self._draws.items()}
        ensemble = self._ensemble and self._ensemble.compute(self._ensemble.sums())
        floored = {"floored": self._floored.compute(self._floored.sums())} if self._changed else {}
        if self._fewer:
            floored[AT_FOREST] = self._at_forest.compute(self._at_forest.sums())
        return (
            self._ordered(draws, ensemble)
            | floored
            | {name: metrics.compute(metrics.sums()) for name, (_, metrics) in self._baselines.items()}
        )

    @staticmethod
    def _ordered(draws: dict[str, Any], ensemble: Any) -> dict[str, Any]:
        return {"model": next(iter(draws.values()))} if ensemble is None else {"model": ensemble, **draws}


def combined(found: Sequence[Tensors], ports: Sequence[Port]) -> Tensors:
    """Combine what draws gave, in float64 on the CPU: means and variances, see `spread.combine`."""
    return combine([{name: values.cpu().double() for name, values in one.items()} for one in found], ports)


def kept_of(run: Run, draws: Draws, data: Data) -> Data:
    """Return ``data`` with the features that training kept, where one network alone predicts."""
    if len(draws.systems) > 1:  # members need not share their frozen part
        return data
    (system,) = draws.systems.values()
    return read_features(run, system, data, precision_in_use(run, "eval", draws.device))


def score(task: Contract, run: Run, split: str, on_unlike: str) -> Scores:
    """Judge ``split`` against what training saw, then ``Task.evaluate`` it; see `eozoo_core.task.guard.allow`."""
    survey = survey_of(task, run)
    data = task.data(split).settled(survey)
    tell_once(data.notes, task.settings.runtime.quiet)
    require_division(member_runs(run, task.settings)[0], split, data, on_unlike)
    judge_split(task, survey, data, split, on_unlike)
    return task.evaluate(run, split)


def require_division(run: Run, split: str, data: Data, on_unlike: str) -> None:
    """Raise ZooError where ``split`` is part of data that are divided otherwise than those that ``run`` learned from.

    Labels that were added or taken away move others between splits. ``on_unlike`` "warn" prints it.
    """
    known = run.info().get("division")
    if data.division is None or known is None or known == data.division.digest:
        return
    told = (
        f"{split} split: the data are divided otherwise than in training, and it may hold what was trained on; restore "
        "the files, or score another place whole with --split all"
    )
    if on_unlike != "warn":
        raise ZooError(f"{told}; --set eval.on_unlike=warn goes on")
    print_message(f"warning: {told}")


def scored_on(task: Contract, run: Run, split: str) -> dict[str, Any]:
    """Return what scores of ``split`` belong to: units by output, number of samples, fingerprint of the files."""
    data, ports = task.data(split), task.ports(survey_of(task, run))
    units = {port.role: port.unit for port in ports.outputs}
    files = {"fingerprint": fingerprint(data.files, root_of(data))} if data.files else {}
    return {"units": units, "samples": len(data), **files}


def survey_of(task: Contract, run: Run) -> Survey:
    """Return what training saw, from the run or from its best.pt where that is all there is."""
    first = member_runs(run, task.settings)[0]
    if kept := first.info().get("survey"):
        return task.Survey.model_validate(kept)
    return load_survey(task, read_trained(first, first.settings))


def evaluate(task: Contract, run: Run, split: str) -> Scores:
    """Score best.pt on ``split``; see ``Task.evaluate``. Raises ZooError where nothing there is labelled."""
    draws = open_draws(task, run, "eval")
    data = kept_of(run, draws, task.data(split).settled(draws.survey))
    evaluation = Evaluation(task, draws.systems, draws.survey, run=run)
    for group in in_groups(data, range(len(data))):
        evaluation.add(data.items(group), draws.device)
    scores, model = evaluation.compute(), evaluation.metrics["model"]
    if isinstance(model, ClassScores) and model.confusion.any():
        ports = next(iter(draws.systems.values())).outputs
        legend = next(port.legend for port in ports if port.role == model.role)
        write_class_report(run, split, scores, model.confusion, legend)
    return scores
