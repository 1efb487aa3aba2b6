"""Every setting of ``my_task``, with unit and range: what ``eozoo config my_task`` prints."""

from __future__ import annotations

from pathlib import Path

from eozoo_core.settings import (
    InferSettings,
    Named,
    RuntimeSettings,
    ScheduleSettings,
    Settings,
    TaskSettings,
    TrainSettings,
)
from pydantic import Field, model_validator


class ModelSettings(Named):
    """The network and its loss."""

    name: str = Field("my_task_net", description="Network; 'eozoo show my_task' lists what fits.")
    loss: Named = Field(Named(name="my_task_loss"), description="Loss; 'eozoo show my_task' lists what fits.")


class DataSettings(Settings):
    """What the arrays mean."""

    crop: int = Field(32, ge=1, description="Side of the random window that training takes from an image, px.")
    unit: str = Field("m", min_length=1, description="Unit of the label and of what is predicted.")
    label_range: tuple[float, float] | None = Field(
        None, description="Smallest and largest plausible label, in its unit, for 'eozoo check'; null = by the unit."
    )


class MyTaskTrain(TrainSettings):
    """How the model is trained."""

    epochs: int | None = Field(
        20, ge=1, description="Passes over the training images; null = as many as 'steps' needs."
    )
    batch_size: int = Field(4, ge=1, description="Windows per forward pass, over all processes.")
    learning_rate: float = Field(1e-2, gt=0, description="Learning rate at its peak.")
    schedule: ScheduleSettings = Field(
        ScheduleSettings(name="cosine", warmup_steps=5), description="Learning-rate schedule."
    )


class MyTaskRuntime(RuntimeSettings):
    """Where and how the work runs."""

    data_dir: Path | None = Field(None, description="Folder with train/, val/ and test/; see the README.")


class MyTaskInfer(InferSettings):
    """How maps are made."""

    window: int = Field(64, ge=16, description="Side of the square that the network sees at once, px.")
    stride: int = Field(48, ge=1, description="Distance between windows, px; where they overlap they are blended.")
    batch_size: int = Field(4, ge=1, description="Windows per forward pass.")

    @model_validator(mode="after")
    def _covers(self) -> MyTaskInfer:
        if self.stride > self.window:
            raise ValueError(f"stride {self.stride} is larger than window {self.window}: pixels would stay empty")
        return self


class MyTaskSettings(TaskSettings):
    """All settings of my_task."""

    model: ModelSettings = Field(ModelSettings(), description="The network and its loss; fixed by a run.")
    data: DataSettings = Field(DataSettings(), description="What the arrays mean; fixed by a run.")
    train: MyTaskTrain = Field(MyTaskTrain(), description="How the model is trained; fixed by a run.")
    runtime: MyTaskRuntime = Field(MyTaskRuntime(), description="Where and how it runs; free at any time.")
    infer: MyTaskInfer = Field(MyTaskInfer(), description="How maps are made; free at any time.")
