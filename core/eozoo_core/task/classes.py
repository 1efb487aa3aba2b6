"""Labels that are classes: their codes and names, how often each is labelled, their loss, and the report of a split."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from eozoo_core.errors import ZooError
from eozoo_core.score.classes import balanced, class_table, class_text, draw_confusion
from eozoo_core.score.report import Picture, Table, Text, score_table, write_report
from eozoo_core.task.loss import called_with
from eozoo_core.task.survey import Survey

if TYPE_CHECKING:
    import torch

    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract, Loss, Scores

ClassNames = tuple[str, ...] | dict[int, str]
ClassWeights = Literal["none", "balanced"] | tuple[float, ...]
Legend = tuple[tuple[int, str], ...]
MOST = 256  # classes; more are values
UNSAID = "which often means no label; set data.label_nodata to it, or name it in data.classes if it is a class"


class ClassSurvey(Survey):
    """What is known of training samples with labels of classes."""

    counts: tuple[int, ...] = Field((), description="Labels of each class, in the order of the legend.")
    legend: Legend = Field((), description="Code and name of each class.")


def legend_of(classes: ClassNames | None, survey: ClassSurvey) -> Legend:
    """Return (code, name) of each class: as ``classes`` says (names alone: from 0), None = as was surveyed.

    Before data are seen there are two classes.
    """
    if classes is None:
        return survey.legend or ((0, "class 0"), (1, "class 1"))
    return tuple(classes.items() if isinstance(classes, Mapping) else enumerate(classes))


def unsaid(names: Mapping[int, str]) -> int:
    """Return the largest number of one byte or two where it is among ``names`` of codes and has no name; else 0."""
    return next((code for code in (2**8 - 1, 2**16 - 1) if names.get(code) == str(code)), 0)


class ClassCount:
    """Counts of labels by code, file after file; ``classes`` as in `legend_of`."""

    def __init__(self, classes: ClassNames | None):
        self._legend = None if classes is None else dict(legend_of(classes, ClassSurvey()))
        self._counts: dict[float, int] = {}

    def add(self, label: np.ndarray, source: Any) -> None:
        """Take labels of any shape, NaN = none. Raises ZooError, naming ``source``, for one that is no class."""
        values, times = np.unique(label[np.isfinite(label)], return_counts=True)
        for value, count in zip(values.tolist(), times.tolist(), strict=True):
            if self._legend is not None and value not in self._legend:
                names = ", ".join(f"{code} {name}" for code, name in self._legend.items())
                raise ZooError(
                    f"{source}: holds the label {value:g}, data.classes names {names}; name it there, or set "
                    f"data.label_nodata=[{value:g}] to ignore it"
                )
            if value != round(value) or not 0 <= value < 2**16:
                raise ZooError(f"{source}: holds the label {value:g}, a code of a class is a whole number from 0 on")
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > MOST:
            raise ZooError(f"{source}: more than {MOST} different labels: those are values, not classes")

    def survey(self, survey: Survey, names: Mapping[int, str] | None = None) -> ClassSurvey:
        """Return ``survey`` with what was counted; ``names`` of codes that data know, those of other splits too.

        Raises ZooError for one class.
        """
        names = names or {}
        known = {int(code): names.get(int(code), str(int(code))) for code in sorted({*self._counts, *names})}
        legend = self._legend or known
        if self._legend is None and (odd := unsaid(known)):
            raise ZooError(f"the labels hold {odd}, {UNSAID}")
        if len(legend) < 2:
            raise ZooError(f"the training labels hold {len(legend)} class; two or more can be told apart")
        counts = tuple(self._counts.get(float(code), 0) for code in legend)
        return ClassSurvey(bands=survey.bands, label=survey.label, counts=counts, legend=tuple(legend.items()))


def class_loss(task: Contract, survey: ClassSurvey, legend: Legend) -> Loss:
    """Return ``model.loss`` of the settings, called with "output", the logits, and indices of the classes.

    It is built with ``weights`` where ``model.class_weights`` says so.
    """
    model = task.settings.model
    weights = balanced(survey.counts) if model.class_weights == "balanced" else model.class_weights
    extra = {} if weights == "none" else {"weights": list(weights)}
    loss = called_with(task.build("loss", model.loss, extra), model.loss.name, "logits", "target")
    codes = [code for code, _ in legend]

    def called(raw: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, Any]:
        return loss({"logits": raw["output"]}, {"target": indices_of(batch["target"], codes)})

    return called


def indices_of(target: torch.Tensor, codes: Sequence[int]) -> torch.Tensor:
    """Return for every label (any shape, NaN = none) the place of its code among ``codes``, float32, else NaN."""
    import torch

    found = torch.full_like(target, torch.nan, dtype=torch.float32)
    for index, code in enumerate(codes):
        found = torch.where(target == code, float(index), found)
    return found


def write_class_report(run: Run, split: str, scores: Scores, confusion: np.ndarray, legend: Legend) -> None:
    """Write classes.txt, classes.csv, confusion.csv, confusion.png and report.html into eval_SPLIT/.

    ``confusion`` (K, K) counts of the model, row = label, in the order of ``legend``.
    """
    folder, confusion = f"eval_{split}", confusion.astype(np.int64)
    names = [name for _, name in legend]
    rows = [{"class": n, **row} for n, row in zip(names, class_table(confusion), strict=True)]
    run.write_text(f"{folder}/classes.txt", f"{class_text(confusion, legend)}\n")
    run.write_text(f"{folder}/classes.csv", _csv([list(rows[0]), *(list(row.values()) for row in rows)]))
    counts = [[name, *line] for name, line in zip(names, confusion.tolist(), strict=True)]
    run.write_text(f"{folder}/confusion.csv", _csv([["label, predicted as:", *names], *counts]))
    picture = draw_confusion(confusion, names, run.path / folder / "confusion.png")
    shown = [["" if v is None else f"{v:.3f}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    sections = {
        "Scores": [Text(f"{confusion.sum():,} labels."), score_table(scores)],
        "Classes": [Table(list(rows[0]), shown), Picture(picture, "Shares of the labels of each class.")],
    }
    write_report(run.path / folder / "report.html", f"{run.path.name}: {split} split", sections)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()
