"""Typed settings: `schema` says what they are, `config` reads and writes them as YAML and ``--set``."""

from eozoo_core.settings.schema import (
    FIXED_SCOPES,
    EvalSettings,
    InferSettings,
    Named,
    PrepareSettings,
    RuntimeSettings,
    ScheduleSettings,
    Settings,
    TaskSettings,
    TrainSettings,
    is_group,
)

__all__ = [
    "FIXED_SCOPES",
    "EvalSettings",
    "InferSettings",
    "Named",
    "PrepareSettings",
    "RuntimeSettings",
    "ScheduleSettings",
    "Settings",
    "TaskSettings",
    "TrainSettings",
    "is_group",
]
