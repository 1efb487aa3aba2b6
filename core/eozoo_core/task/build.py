"""A system with its ports, for training and for use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from eozoo_core.task.contract import Contract

if TYPE_CHECKING:
    from eozoo_core.task.survey import Survey
    from eozoo_core.task.system import System


def build_system(task: Contract, survey: Survey, fresh: bool) -> System:
    """Build a system and tell it its ports."""
    system, ports = task.system(survey, fresh), task.ports(survey)
    system.inputs, system.outputs = ports.inputs, ports.outputs
    return system


def build_shapes(task: Contract, survey: Survey) -> System:
    """Build a system of which only shapes are asked: on torch's meta device, so that 600 million numbers cost nothing.

    A network that looks at its values while it is built is built with them.
    """
    try:
        with torch.device("meta"):
            return build_system(task, survey, fresh=False)
    except (NotImplementedError, RuntimeError):
        return build_system(task, survey, fresh=False)
