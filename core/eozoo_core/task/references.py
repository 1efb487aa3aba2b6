"""Ridge regression and a forest, fitted once when training has ended and kept in the run: what a network must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import read_arrays
from eozoo_core.run.checkpoint import sha256
from eozoo_core.run.manifest import require_beside
from eozoo_core.run.progress import print_message
from eozoo_core.run.written import write_arrays
from eozoo_core.score.boosting import Fit, fit_more
from eozoo_core.score.forest import Forest, absent, grow_forest
from eozoo_core.score.ridge import FOLDS, LinearFit, fit_ridge
from eozoo_core.spec import Port
from eozoo_core.task.baselines import Baseline
from eozoo_core.task.data import Arrays, Data, in_groups

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract, Ports
    from eozoo_core.task.survey import Survey

FILE = "baselines.npz"
MOST_ROWS, MOST_FEATURES, FEWEST = 20_000, 1_000, 20  # labels and features fitted on: seconds, not minutes
MOST_IMAGES = 1_000  # images that the labels are drawn from
MOST_ASKED = 4_096  # labels of one image that the forest is asked for: it predicts about 20,000 a second
_KINDS: dict[str, type] = {"ridge": LinearFit, "forest": Forest}


@dataclass(frozen=True)
class Outcome:
    """The output that is predicted: a number, or the probabilities of the classes that labels call ``codes``."""

    port: Port
    codes: tuple[int, ...] = ()

    @property
    def columns(self) -> int:
        """How many numbers a prediction has."""
        return max(len(self.codes), 1)


def outcome_of(outputs: Sequence[Port]) -> Outcome | None:
    """Return the one output of moments, else the one of probabilities of named classes; None = neither."""
    means, shares = ([p for p in outputs if p.spread == spread] for spread in ("moments", "probabilities"))
    if len(means) == 1 and not shares:
        return Outcome(means[0])
    if len(shares) == 1 and not means:
        legend = next((p.legend for p in outputs if p.of == shares[0].role), ())
        codes = tuple(code for code, _ in legend) or tuple(range(len(shares[0].bands)))
        return Outcome(shares[0], codes) if len(codes) > 1 else None
    return None


def fit_baselines(task: Contract, run: Run, survey: Survey) -> None:
    """Fit what ``eval.baselines`` names and write it into the run, unless it is there; run.json says by which hash.

    Nothing is fitted for a task without labels, or with several numbers at each, or with fewer than 20 labels.
    """
    wanted, known = task.settings.eval.baselines, run.info().get("baselines", {})
    file, ports = run.path / FILE, task.ports(survey)
    kept = set(wanted) <= set(known.get("fitted", ())) and file.exists() and sha256(file) == known.get("sha256")
    outcome = outcome_of(ports.outputs)
    if kept or not wanted or outcome is None:
        return
    rows = draw_rows(task, survey, task.data("train").settled(survey), outcome)
    if rows is None:
        return
    x, y, fold = rows
    made: dict[str, Any] = {}
    if "ridge" in wanted:
        made["ridge"] = fit_ridge(x, y, fold)
    if "forest" in wanted and (why := absent()):
        print_message(f"no forest among the baselines: {why}")
    elif "forest" in wanted:
        made["forest"] = grow_forest(x, y, fold, bool(outcome.codes), _threads())
    arrays = {f"{name}.{field}": np.asarray(v) for name, one in made.items() for field, v in vars(one).items()}
    write_arrays(file, arrays, compress=True)
    run.note("baselines", {"fitted": list(made), "labels": len(x), "features": x.shape[1], "sha256": sha256(file)})


def fit_beside(task: Contract, survey: Survey) -> dict[str, Baseline]:
    """Fit what stands beside scores of cross-validation only and is kept nowhere: see `score.boosting.fit_more`."""
    outcome = outcome_of(task.ports(survey).outputs)
    if outcome is None or absent():
        return {}
    rows = draw_rows(task, survey, task.data("train").settled(survey), outcome)
    made = {} if rows is None else fit_more(*rows, bool(outcome.codes))
    return {name: _predictor(task, survey, outcome, one) for name, one in made.items()}


def kept_baselines(task: Contract, run: Run, survey: Survey) -> dict[str, Baseline]:
    """Return what the run keeps of ``eval.baselines``, in that order; {} in a run where training has not ended.

    Raises ZooError where the file is gone, is another one than training wrote, or holds no such fits.
    """
    known, ports = run.info().get("baselines", {}), task.ports(survey)
    names = [name for name in task.settings.eval.baselines if name in known.get("fitted", ())]
    outcome = outcome_of(ports.outputs)
    if not names or outcome is None:
        return {}
    require_beside({FILE: known.get("sha256", "")}, run.file("best"))
    arrays = read_arrays(run.path / FILE, "fitted baselines")
    found = {}
    for name in names:
        try:
            found[name] = _read(name, arrays, outcome.columns)
        except (KeyError, ValueError, TypeError) as error:
            reason = f"{name}: {error}" if isinstance(error, ValueError) else f"{name} is not whole"
            raise ZooError(f"{run.path / FILE}: holds no fitted baselines ({reason}); train the run again") from None
    return {name: _predictor(task, survey, outcome, one) for name, one in found.items()}


def foreseen(task: Contract, survey: Survey, batch: Arrays) -> list[str]:
    """Say in a plan what will be fitted after training, from one ``batch`` of it."""
    names, outcome = list(task.settings.eval.baselines), outcome_of(task.ports(survey).outputs)
    if not names or outcome is None or _elements(task, survey, batch) is None:
        return []
    lines = [f"after training {' and '.join(names)} are fitted on at most {MOST_ROWS:,} labels (eval.baselines)"]
    return lines + ([f"no forest among them: {why}"] if "forest" in names and (why := absent()) else [])


def draw_rows(
    task: Contract, survey: Survey, data: Data, outcome: Outcome
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return features (n, F), targets (n, K) and the fold (n,) of at most 20,000 labels of ``data``; None = no fit.

    Evenly over all samples (of images at most 1,000), at random within an image, the same each time; what one image
    lacks the next ones give. NaN = missing, only where the network takes it too. Folds are whole samples in their
    order, five where there are so many. Classes become indicators.
    """
    one = data.items([0])
    first = _elements(task, survey, one)
    if first is None or first[0].shape[-1] > MOST_FEATURES:
        return None
    images = task.covariates(one, survey).ndim > 2
    strict = task.ports(survey).inputs[0].role in _strict(task, task.ports(survey))
    chosen, drawn, taken = _spread(len(data), MOST_IMAGES if images else MOST_ROWS), [], 0
    for group in in_groups(data, chosen):
        found = _elements(task, survey, data.items(group))
        if found is None or found[0].shape[-1] != first[0].shape[-1]:
            return None
        x, target = found
        x = np.where(np.isfinite(x), x, np.nan)
        there = np.isfinite(target) & ~(np.isnan(x).any(axis=-1) & strict)
        there = thinned(there, -(-(MOST_ROWS - taken) // (len(chosen) - chosen.index(group[0]))), group[0])
        sample = np.broadcast_to(np.reshape(group, (-1,) + (1,) * (target.ndim - 1)), target.shape)
        drawn.append((x[there], target[there], sample[there]))
        taken += int(there.sum())
    x, target, sample = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    if len(target) < FEWEST:
        return None
    y = (target[:, None] == outcome.codes if outcome.codes else target[:, None]).astype(np.float64)
    if outcome.codes and not y.any(axis=1).all():
        print_message(f"no fitted baselines: a label is none of the classes {list(outcome.codes)}")
        return None
    order = np.unique(sample, return_inverse=True)[1].ravel()
    count = int(order.max()) + 1
    return x, y, order * FOLDS // count if count >= FOLDS else np.arange(len(y)) * FOLDS // len(y)


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` numbers, evenly over all."""
    chosen = min(count, most)
    return np.floor((np.arange(chosen) + 0.5) * count / chosen).astype(int).tolist()


def _elements(task: Contract, survey: Survey, batch: Arrays) -> tuple[np.ndarray, np.ndarray] | None:
    """Features (B, F) or (B, H, W, F) with the target of each, (B,) or (B, H, W); None where they do not agree.

    Where an image has one label its features are the means of its pixels.
    """
    x, target = task.covariates(batch, survey), batch.get("code", batch.get("target"))
    if x is None or target is None:
        return None
    if x.ndim == 4 and target.size == len(x):
        there = np.isfinite(x)
        with np.errstate(invalid="ignore"):
            x = np.where(there, x, 0).sum(axis=(2, 3)) / there.sum(axis=(2, 3))
    x = np.moveaxis(x, 1, -1)
    return (x, target.reshape(x.shape[:-1])) if target.size == x[..., 0].size else None


def thinned(there: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Keep at most ``most`` of the true elements (B, ...) of every sample, drawn at random."""
    kept = there.reshape(len(there), -1)
    for number, row in enumerate(kept):
        labelled = np.flatnonzero(row)
        if len(labelled) > most:
            row[np.random.default_rng((seed, number)).choice(labelled, len(labelled) - most, replace=False)] = False
    return kept.reshape(there.shape)


def _strict(task: Contract, ports: Ports) -> list[str]:
    """Roles of the inputs in which a missing value hides the prediction."""
    return [
        p.role
        for p in ports.inputs
        if p.dtype.startswith("float") and not p.optional and p.role not in task.tolerates_gaps
    ]


def _predictor(task: Contract, survey: Survey, outcome: Outcome, model: LinearFit | Forest | Fit) -> Baseline:
    """A fit as a baseline: predictions at the labels of a batch, NaN elsewhere and where the network gives NaN.

    A forest is asked for at most 4,096 labels of an image.
    """
    from eozoo_core.task.data import tensors
    from eozoo_core.task.spread import present
    from eozoo_core.task.system import hide

    ports, port = task.ports(survey), outcome.port
    strict = [p for p in ports.inputs if p.role in _strict(task, ports)]
    shown = [port, *(p for p in ports.outputs if p.spread == "class" and p.of == port.role)]
    deviation = next((p for p in ports.outputs if p.spread == "deviation" and p.of == port.role), None)

    def predict(batch: Arrays) -> Arrays:
        found = _elements(task, survey, batch)
        if found is None or found[0].shape[-1] != model.features:
            raise ZooError(f"the baselines of this run were fitted on {model.features} features of a label, not these")
        x, target = found
        there = np.isfinite(target)
        if isinstance(model, Forest) and target.ndim > 1:
            there = thinned(there, MOST_ASKED, 0)
        values = np.full((*target.shape, outcome.columns), np.nan, np.float32)
        values[there] = _as_shares(model.predict(x[there])) if outcome.codes else model.predict(x[there])
        seen = tensors({p.role: batch[p.role] for p in strict if p.role in batch})
        made = hide(tensors({port.role: _shaped(values, port)}), [port], seen, [p for p in strict if p.role in seen])
        made = {name: one.numpy() for name, one in present(made, shown).items()}
        if deviation is not None:
            known = np.where(np.isnan(made[port.role]), np.nan, np.float32(model.residual))
            made[deviation.role] = known.astype(np.float32)
        return made

    return predict


def _as_shares(values: np.ndarray) -> np.ndarray:
    """Make probabilities (n, K) of what a fit on indicators gives, which may lie outside 0..1."""
    values = np.clip(values, 0, 1)
    total = values.sum(axis=1, keepdims=True)
    return np.where(total > 0, values / np.where(total > 0, total, 1), 1 / values.shape[1])


def _shaped(values: np.ndarray, port: Port) -> np.ndarray:
    """Bring predictions (B, [H, W,] K) into the axes of an output; an axis that is none of B, H, W gets K."""
    axes = port.axes.split()
    own = [i for i, name in enumerate(axes) if name not in ("B", "H", "W")]
    return np.moveaxis(values, -1, own[0]) if own else values[..., 0]


def _read(name: str, arrays: Arrays, outputs: int) -> LinearFit | Forest:
    """Make a fit of its arrays, converted to their types. Raises KeyError, TypeError or ValueError."""
    kind, values = _KINDS[name], {}
    for field, (dtype, axes) in kind.ARRAYS.items():
        given = arrays[f"{name}.{field}"]
        if given.dtype.kind != np.dtype(dtype).kind or given.ndim != axes:
            raise ValueError(f"{field} is {given.dtype} {given.shape}")
        values[field] = given.astype(dtype) if axes else given.item()
    made = kind(**values)
    if fault := made.fault(outputs):
        raise ValueError(fault)
    return made


def _threads() -> int:
    import torch

    return torch.get_num_threads()
