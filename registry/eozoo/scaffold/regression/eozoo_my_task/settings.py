"""Every setting of ``my_task``, with unit and range: what ``eozoo config my_task`` prints."""

from __future__ import annotations

from eozoo_core.settings import Named, ScheduleSettings, TaskSettings, TrainSettings
from eozoo_core.task.images import ImageDataSettings, ImageInfer, ImageRuntime
from pydantic import Field

MyTaskRuntime = ImageRuntime


class ModelSettings(Named):
    """The network and its loss."""

    name: str = Field("my_task_net", description="Network; 'eozoo show my_task' lists what fits.")
    loss: Named = Field(Named(name="my_task_loss"), description="Loss; 'eozoo show my_task' lists what fits.")


class DataSettings(ImageDataSettings):
    """What the arrays mean."""

    unit: str = Field("m", min_length=1, description="Unit of the label and of what is predicted.")


TRAIN = TrainSettings(
    epochs=20, batch_size=4, learning_rate=1e-2, schedule=ScheduleSettings(name="cosine", warmup_steps=5)
)


class MyTaskSettings(TaskSettings):
    """All settings of my_task."""

    model: ModelSettings = Field(ModelSettings(), description="The network and its loss; fixed by a run.")
    data: DataSettings = Field(DataSettings(), description="What the arrays mean; fixed by a run.")
    train: TrainSettings = Field(TRAIN, description="How the model is trained; fixed by a run.")
    runtime: MyTaskRuntime = Field(MyTaskRuntime(), description="Where and how it runs; free at any time.")
    infer: ImageInfer = Field(ImageInfer(), description="How maps are made; free at any time.")
