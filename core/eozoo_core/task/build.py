"""A system with its ports, for training and for use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.task.contract import Contract

if TYPE_CHECKING:
    from eozoo_core.task.survey import Survey
    from eozoo_core.task.system import System


def build_system(task: Contract, survey: Survey, fresh: bool) -> System:
    """Build a system and tell it its ports."""
    system, ports = task.system(survey, fresh), task.ports(survey)
    system.inputs, system.outputs = ports.inputs, ports.outputs
    return system
