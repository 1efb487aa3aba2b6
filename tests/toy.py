"""A complete task in a few lines: learns y = a x + b from files. Used by the tests of core, registry and the kit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import (
    Card,
    Network,
    Port,
    RuntimeSettings,
    Sample,
    Settings,
    Task,
    TaskSettings,
    TrainSettings,
    ZooError,
)
from eozoo_core.run.written import write_array
from pydantic import Field

CARD = Card(
    purpose="For tests.",
    inputs="x (N, 2) in m, NaN = missing.",
    outputs="y in m.",
    weights="None.",
    measured="1 ms on paper.",
    limits=("It is a toy.", "It is small."),
    architecture="Line",
    kinds=("regression",),
)


class ToyModel(Settings):
    width: int = Field(4, ge=1, description="Hidden units.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden units dropped in training.")


class ToyRuntime(RuntimeSettings):
    data_dir: str = Field("", description="Folder with train.npy, val.npy and test.npy, each (N, 3): x0, x1, y.")


class ToySettings(TaskSettings):
    model: ToyModel = Field(ToyModel(), description="The network.")
    train: TrainSettings = Field(TrainSettings(epochs=3, batch_size=8, learning_rate=0.01), description="Training.")
    runtime: ToyRuntime = Field(ToyRuntime(), description="Where and how.")


class Rows:
    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def __getitem__(self, draw):
        row = self.array[getattr(draw, "index", draw)]
        return row[:2], row[2:], int(np.isfinite(row[2]))


def collate(rows):
    import torch

    x, y, count = zip(*rows, strict=True)
    return {"x": torch.tensor(np.stack(x)), "y": torch.tensor(np.stack(y)), "count": sum(count)}


class Toy(Task):
    Settings = ToySettings

    def outputs(self):
        return {"y": "m"}

    takes = (Port("x", "B 2", "m", ("east", "north")),)
    shape = "B 1"

    def network(self, run=None):
        from eozoo_core.task.describe import count_parameters

        gives = tuple(Port(name, self.shape, unit) for name, unit in self.outputs().items())
        return Network("Line", count_parameters(self._model), self.takes, gives)

    def _read(self, split):
        file = Path(self.settings.runtime.data_dir) / f"{split}.npy"
        try:
            return np.load(file, allow_pickle=False).astype("float32")
        except (OSError, ValueError) as error:
            raise ZooError(f"{file}: cannot be read ({error})") from None

    def _model(self):
        import torch

        s = self.settings.model
        return torch.nn.Sequential(
            torch.nn.Linear(2, s.width), torch.nn.Tanh(), torch.nn.Dropout(s.dropout), torch.nn.Linear(s.width, 1)
        )

    def train(self, run):
        from eozoo_core.train.fit import fit
        from eozoo_core.train.launch import all_reduce_sums, launch
        from eozoo_core.train.loading import Loader, share_of
        from eozoo_core.train.optimizer import make_optimizer
        from eozoo_core.train.schedule import make_scheduler
        from eozoo_core.train.step import pooled_step

        fabric = launch(run)
        settings = self.settings.train
        rows, val = Rows(self._read("train")), self._read("val")
        run.check_data([Path(self.settings.runtime.data_dir) / "train.npy"], Path(self.settings.runtime.data_dir))
        model = self._model()
        model, optimizer = fabric.setup(model, make_optimizer(model.parameters(), settings))
        batches = Loader(rows, settings, self.settings.runtime, fabric, collate)

        def loss_sum(batch):
            labelled = batch["y"].isfinite()
            error = model(batch["x"]) - batch["y"].nan_to_num()
            squares = (error**2 * labelled).sum()
            return squares, {"loss": (squares, batch["count"])}

        def validate():
            share = val[list(share_of(len(val), fabric))]
            return _mean_squares(*all_reduce_sums(fabric, _sums(model, share, fabric.device)))

        fit(
            run,
            fabric,
            {
                "model": model,
                "optimizer": optimizer,
                "scheduler": make_scheduler([optimizer], settings, len(batches)),
            },
            batches,
            lambda micro, step: pooled_step(fabric, model, optimizer, settings, micro, loss_sum),
            validate,
        )

    def predictor(self, run):
        import torch
        from eozoo_core.task.load import load_trained
        from eozoo_core.task.predict import check_arrays

        model, _ = load_trained(run, self.settings, lambda _: self._model(), "infer", "cpu")

        def predict(batch):
            x = check_arrays(batch, Toy.takes)["x"]
            with torch.no_grad():
                return {"y": model(torch.as_tensor(x, dtype=torch.float32)).numpy()}

        return predict

    def evaluate(self, run, split):
        rows = self._read(split)
        predicted = self.predict(run, {"x": rows[:, :2]})["y"][:, 0].astype("float64")
        error = (predicted - rows[:, 2])[np.isfinite(rows[:, 2])]
        mean = rows[:, 2].astype("float64") - np.nanmean(rows[:, 2].astype("float64"))
        return {"model": {"loss": float((error**2).mean())}, "mean": {"loss": float(np.nanmean(mean**2))}}

    def infer(self, run, source, dest):
        try:
            x = np.load(source, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ZooError(f"{source}: cannot be read ({error})") from None
        return [write_array(dest / "y.npy", self.predict(run, {"x": x})["y"])]

    @classmethod
    def sample(cls, root):
        root.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(0)
        for split, n in (("train", 64), ("val", 24), ("test", 24)):
            x = random.normal(size=(n, 2))
            y = x @ [2.0, -1.0] + 0.5 + random.normal(scale=0.1, size=n)
            y[::7] = np.nan
            np.save(root / f"{split}.npy", np.column_stack([x, y]).astype("float32"))
        np.save(root / "source.npy", np.zeros((5, 2), "float32"))
        settings = cls.Settings(runtime=ToyRuntime(data_dir=str(root), tensorboard=False))
        return Sample(settings, root / "source.npy", {"x": random.normal(size=(4, 2)).astype("float32")})


def _sums(model, rows, device):
    import torch

    with torch.no_grad():
        predicted = model(torch.as_tensor(rows[:, :2], device=device)).cpu().numpy()[:, 0].astype("float64")
    error = (predicted - rows[:, 2])[np.isfinite(rows[:, 2])]
    return np.array([(error**2).sum(), error.size], dtype=np.float64)


def _mean_squares(total, count):
    return {"loss": float(total / count)}
