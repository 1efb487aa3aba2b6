"""A table in, the same table with predictions behind its columns out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.run.table_file import column_names, read_table, write_with
from eozoo_core.spec import Port
from eozoo_core.tables.columns import known_features
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.survey import ROLE, TableSurvey
from eozoo_core.tables.values import stacked
from eozoo_core.task.contract import Arrays
from eozoo_core.task.predict import to_arrays
from eozoo_core.task.scenes import Scene
from eozoo_core.task.spread import output_ports, present
from eozoo_core.task.windows import Drawn


def open_table(path: Path, survey: TableSurvey) -> Scene:
    """Look whether a table has the columns that a run was trained on. Raises ZooError with all that are missing."""
    have = set(column_names(path))
    lacking = [name for name in survey.names if name not in have and name.partition("[")[0] not in have]
    if lacking:
        raise ZooError(f"{path}: lacks {len(lacking)} columns that the run was trained on: {listed(lacking, 12)}")
    return Scene(path, Grid(0, 0), reads=(path,), whole=True)


def predict_table(drawn: Drawn, scene: Scene, dest: Path, how: TableDataSettings, nodata: Collection[float]) -> Path:
    """Write DEST/NAME_predicted.csv (or .parquet) with a column for every output; see `write_with`.

    A row in which every feature is missing has no prediction. Raises ZooError for a column that is text, or in
    another unit than in training.
    """
    survey: TableSurvey = drawn.survey
    columns = read_table(scene.path)
    features = known_features(columns, survey, how, scene.path)
    values, parts, draws = stacked(features, nodata, scene.path), [], 1
    size = drawn.at_once(1)
    for start in range(0, len(values), size):
        found = drawn({ROLE: values[start : start + size]})
        parts.append(to_arrays(present({n: torch.from_numpy(v) for n, v in found.items()}, drawn.outputs)))
        draws = 2 if any(name.endswith(".epistemic") for name in found) else draws
        drawn.progress(min(start + size, len(values)), len(values))
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    added, units = columns_of(outputs, output_ports(drawn.outputs, draws), survey.target)
    return write_with(scene.path, dest / f"{scene.file('predicted')}{scene.path.suffix.lower()}", added, units)


def columns_of(outputs: Arrays, ports: Sequence[Port], target: str) -> tuple[Arrays, dict[str, str]]:
    """Return outputs as columns, name -> values, and their units: classes by name, a column for each probability.

    "mean" and "class" are called "predicted_TARGET", "std" "predicted_TARGET_std".
    """
    added: Arrays = {}
    units: dict[str, str] = {}
    for port in ports:
        values = outputs[port.role]
        name = f"predicted_{target}" if port.role in ("mean", "class") else port.role
        name = f"predicted_{target}_{name}" if port.of == "mean" else name
        if port.spread == "class":
            names = np.array([word for _, word in port.legend] + [None], object)
            added[name] = names[np.where(np.isfinite(values), values, -1).astype(int)]
        elif values.ndim > 1:
            added |= {f"{name}_{band}": values[:, i] for i, band in enumerate(port.bands)}
        else:
            added[name] = values
        units |= {one: port.unit for one in added if one not in units and port.spread != "class"}
    return added, units
