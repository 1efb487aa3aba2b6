"""A task with slots for a stranger's parts, and the same with one defect each; see ``planted_training``.

A line is learned by a network, a loss and from a dataset that all may be a stranger's.
"""

import numpy as np
from eozoo_core import Port, Sample, Slot
from eozoo_core.settings import Named, PrepareSettings, Settings
from eozoo_core.task.loss import called_with
from eozoo_core.task.system import System
from planted_training import caught
from pydantic import Field
from stranger_systems import Line, LineRuntime, LineSettings, Rows, squares, write_rows

X, Y, TARGET = Port("x", "B 2", "m"), Port("y", "B 1", "m"), Port("target", "B 1", "m")
ROWS = Slot("dataset", wants=(Port("x", "2"), Port("target", "1")))


class LineModel(Named):
    name: str = Field("line_net", description="Network.")
    loss: Named = Field(Named(name="line_loss"), description="Loss.")


class LineData(Settings):
    source: Named | None = Field(None, description="Dataset instead of files.")


class LinePrepare(PrepareSettings):
    class Rows(Settings):
        source: Named | None = Field(None, description="Dataset that becomes a file.")

    rows: Rows = Field(Rows(), description="A dataset to a file.")


class SlotSettings(LineSettings):
    model: LineModel = Field(LineModel(), description="What is trained.")
    data: LineData = Field(LineData(), description="What it learns from.")
    prepare: LinePrepare = Field(LinePrepare(), description="How data are made.")


def line_net(bands=2):
    import torch

    return torch.nn.Linear(bands, 1)


def line_loss():
    return squares


class Around(System):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def stage(self, arrays):
        import torch

        return {"x": torch.nan_to_num(arrays["x"].float())}

    def raw(self, staged):
        return {"y": self.network(staged["x"])}

    def finish(self, raw, arrays):
        return raw


class FromDataset(Rows):
    """Rows of a registered dataset, the same in each split."""

    def __init__(self, folder, split, dataset):
        super().__init__(folder, split, True)
        self.rows = np.stack(
            [np.concatenate([d["x"], d["target"]]) for d in map(dataset.__getitem__, range(len(dataset)))]
        )
        self.rows = self.rows + {"train": 0, "val": 1, "test": 2}[split]


class Fitting(Line):
    Settings = SlotSettings
    system_of = Around
    slots = {  # noqa: RUF012
        "model": Slot("model", (X,), (Y,)),
        "model.loss": Slot("loss", (TARGET,), after="model"),
        "data.source": ROWS,
        "prepare.rows.source": ROWS,
    }
    prepare_steps = {"rows": "a dataset to a file"}  # noqa: RUF012

    def data(self, split):
        folder, source = self.settings.runtime.data_dir, self.settings.data.source
        return (
            Rows(folder, split, True) if source is None else FromDataset(folder, split, self.build("dataset", source))
        )

    def prepare_rows(self):
        from pathlib import Path

        dataset = self.build("dataset", self.settings.prepare.rows.source)
        np.save("rows.npy", np.stack([dataset[i]["x"] for i in range(len(dataset))]))
        return [Path("rows.npy")]

    def system(self, survey, fresh):
        return self.system_of(self.build("model", self.settings.model))

    def loss(self, survey):
        return called_with(self.build("loss", self.settings.model.loss), "its loss", "y", "target")

    @classmethod
    def sample(cls, root):
        root.mkdir(parents=True)
        write_rows(root)
        settings = cls.Settings(runtime=LineRuntime(data_dir=root, tensorboard=False))
        return Sample(settings, root / "test.npy", {"x": np.ones((3, 2), "float32")})


@caught(strangers_fit=r"slot 'model': .*which is neither among y")
class NamesItsLossOtherwise(Fitting):
    def loss(self, survey):
        return called_with(self.build("loss", self.settings.model.loss), "its loss", "height", "target")


@caught(strangers_fit=r"a part that takes y .*, target .* was called with \(1, 1\)$")
class ForgetsTheTarget(Fitting):
    def loss(self, survey):
        return called_with(self.build("loss", self.settings.model.loss), "its loss", "y")


@caught(strangers_fit=r"slot 'model': a stranger's model that takes x .* was called with \(1, 2, 1\)")
class FeedsAnotherShape(Fitting):
    class system_of(Around):
        def raw(self, staged):
            return {"y": self.network(staged["x"][..., None])}


@caught(strangers_fit="was called with .*: it holds NaN")
class FeedsNaN(Fitting):
    class system_of(Around):
        def stage(self, arrays):
            return {"x": arrays["x"] * float("nan")}


@caught(strangers_fit="builds a model with the option 'bands', which a stranger's part need not have")
class BuildsItSpecially(Fitting):
    def system(self, survey, fresh):
        return Around(self.build("model", self.settings.model, {"bands": 2}))


@caught(strangers_fit="AttributeError: .* no attribute 'in_features'")
class NeedsAnAttribute(Fitting):
    class system_of(Around):
        def __init__(self, network):
            super().__init__(network)
            self.width = network.in_features


@caught(strangers_fit="the task builds nothing of what model names")
class BuildsItsOwn(Fitting):
    def system(self, survey, fresh):
        return Around(line_net())


@caught(strangers_fit="slot 'model.head': .*there is no such setting")
class NamesNoSetting(Fitting):
    slots = {"model.head": Slot("model", (X,), (Y,))}  # noqa: RUF012


@caught(strangers_fit="slot 'data.source': a stranger's dataset that takes nothing, gives x .* KeyError: 'target'")
class WantsMoreOfADataset(Fitting):
    slots = {"data.source": Slot("dataset", wants=(Port("x", "2"),))}  # noqa: RUF012


@caught(strangers_fit=r"prepare gives \[\], expected what it wrote")
class PreparesNothing(Fitting):
    def prepare_rows(self):
        super().prepare_rows()
        return []


class Detached(Around):
    def raw(self, staged):
        return {"y": self.network(staged["x"]).detach() if not self.training else self.network(staged["x"])}


@caught(module_is_predict="no output with a gradient: no torch.no_grad")
class GivesNoGradient(Fitting):
    system_of = Detached


class AlwaysTrains(Around):
    def train(self, mode=True):
        return super().train(True)


@caught(module_is_predict="leaves evaluation mode in a parent's train")
class NeverInEvaluationMode(Fitting):
    system_of = AlwaysTrains


class FillsTooLate(Around):
    def stage(self, arrays):
        import torch

        return {"x": torch.nan_to_num(arrays["x"].float() * torch.sqrt(arrays["x"].float() ** 2 + 1))}


@caught(module_is_predict="where a sample is missing: the gradient of 'x' is not finite; fill before")
class HasGradientsThatAreNaN(Fitting):
    system_of = FillsTooLate
