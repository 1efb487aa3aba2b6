"""Every setting of ``my_task``, with unit and range: what ``eozoo config my_task`` prints."""

from __future__ import annotations

from eozoo_core.images.settings import ImageDataSettings, ImageSettings
from eozoo_core.settings import Named
from pydantic import Field


class ModelSettings(Named):
    """The network and its loss."""

    name: str = Field("my_task_net", description="Network; 'eozoo show my_task' lists what fits.")
    loss: Named = Field(Named(name="my_task_loss"), description="Loss; 'eozoo show my_task' lists what fits.")


class DataSettings(ImageDataSettings):
    """What the arrays mean."""

    classes: tuple[str, ...] = Field(
        ("bare", "shrub", "forest"), min_length=2, description="Names of the classes; a label holds their index from 0."
    )


class MyTaskSettings(ImageSettings):
    """All settings of my_task."""

    model: ModelSettings = Field(ModelSettings(), description="The network and its loss; fixed by a run.")
    data: DataSettings = Field(DataSettings(), description="What the arrays mean; fixed by a run.")
