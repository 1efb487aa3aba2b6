"""Every setting of ``my_task``, with unit and range: what ``eozoo config my_task`` prints."""

from __future__ import annotations

from eozoo_core.images.settings import ImageSettings
from eozoo_core.settings import Named
from pydantic import Field


class ModelSettings(Named):
    """The network and its loss."""

    name: str = Field("my_task_net", description="Network; 'eozoo show my_task' lists what fits.")
    loss: Named = Field(Named(name="my_task_loss"), description="Loss; 'eozoo show my_task' lists what fits.")


class MyTaskSettings(ImageSettings):
    """All settings of my_task."""

    model: ModelSettings = Field(ModelSettings(), description="The network and its loss; fixed by a run.")
