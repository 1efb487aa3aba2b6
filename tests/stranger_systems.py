"""A stranger's systems: a trained line on what a frozen part gives, and a line that is solved in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from eozoo_core import Port, Task, TaskSettings
from eozoo_core.settings import InferSettings, RuntimeSettings, Settings
from eozoo_core.task import Ports, Survey
from eozoo_core.task.data import Data
from eozoo_core.task.loss import called_with
from eozoo_core.task.scores import RegressionScores
from eozoo_core.task.survey import BandSurvey
from eozoo_core.task.system import System
from pydantic import Field


class LineModel(Settings):
    name: str = Field("line", description="Its name.")
    way: str = Field("features", description="features: a line on a frozen part; solved: least squares.")
    repeats: bool = Field(True, description="Whether the data say that draws are items.")


class LineRuntime(RuntimeSettings):
    data_dir: Path = Field(Path(), description="Folder with train.npy, val.npy and test.npy: two bands, a label.")


class LineInfer(InferSettings):
    batch_size: int = Field(1024, description="Samples per forward pass.")


class LineSettings(TaskSettings):
    infer: LineInfer = Field(LineInfer(), description="How it predicts.")
    model: LineModel = Field(LineModel(), description="The network.")
    runtime: LineRuntime = Field(LineRuntime(), description="Where and how.")


class Rows(Data):
    bands, units = ("a", "b"), ("m", "m")

    def __init__(self, folder, split, repeats):
        self.repeats = repeats
        self.files = sorted(folder.glob(f"{split}*.npy"))
        each = [np.load(file, allow_pickle=False) for file in self.files]
        self.rows, self._sizes = np.concatenate(each), np.cumsum([0, *map(len, each)])

    def __len__(self):
        return len(self.rows)

    def parts(self):
        edges = self._sizes.tolist()
        return [([file], range(a, b)) for file, a, b in zip(self.files, edges[:-1], edges[1:], strict=True)]

    def item(self, index):
        return {"x": self.rows[index, :2], "target": self.rows[index, 2:]}


class FrozenPart(System):
    """A line on the tangents of a frozen random projection. ``seen`` counts samples of which features were computed."""

    seen = 0

    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(2, 8).requires_grad_(False)
        self.line = torch.nn.Linear(9, 1)

    def stage(self, arrays):
        return {"x": torch.nan_to_num(arrays["x"].float())}

    def features_key(self):
        return {"function": "tanh"}

    def features(self, staged):
        FrozenPart.seen += staged["x"].shape[0]
        return {"features": torch.tanh(self.part(staged["x"])), "sum": staged["x"].sum(dim=1)}

    def raw(self, staged):
        found = staged if "features" in staged else self.features(staged)
        return {"y": self.line(torch.cat([found["features"], found["sum"][:, None]], dim=1))}

    def finish(self, raw, arrays):
        return raw


class Solved(System):
    """Least squares."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def solve(self, data):
        rows = data.items(range(len(data)))
        design = np.column_stack([rows["x"], np.ones(len(data))])
        a, b, c = np.linalg.lstsq(design, rows["target"][:, 0], rcond=None)[0]
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor([[a, b]]))
            self.line.bias.fill_(c)

    def stage(self, arrays):
        return {"x": torch.nan_to_num(arrays["x"].float())}

    def raw(self, staged):
        return {"y": self.line(staged["x"])}

    def finish(self, raw, arrays):
        return raw


def squares(y, target):
    return (y - target).square().sum(), torch.isfinite(target).sum()


class Line(Task):
    Settings = LineSettings

    def data(self, split):
        return Rows(self.settings.runtime.data_dir, split, self.settings.model.repeats)

    def survey(self, train):
        return Survey(bands=(BandSurvey(name="a"), BandSurvey(name="b")))

    def ports(self, survey):
        return Ports((Port("x", "B 2", "m", ("a", "b")),), (Port("y", "B 1", "m", spread="moments"),))

    def system(self, survey, fresh):
        return Solved() if self.settings.model.way == "solved" else FrozenPart()

    def loss(self, survey):
        return called_with(squares, "squares", "y", "target")

    def metrics(self, survey):
        return RegressionScores("y")


def write_rows(folder):
    """y = 2 a - b + 1 in train_0, train_1 (40 rows each), val (16) and test (8)."""
    random = np.random.default_rng(0)
    for name, count in {"train_0": 40, "train_1": 40, "val": 16, "test": 8}.items():
        x = random.normal(size=(count, 2))
        y = 2 * x[:, 0] - x[:, 1] + 1 + 0.1 * random.normal(size=count)
        np.save(folder / f"{name}.npy", np.column_stack([x, y]).astype("float32"))
