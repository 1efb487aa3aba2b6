"""Typed settings: `schema` says what they are, `config` reads and writes them as YAML and ``--set``, `fixed` says what
a run fixes, `aliases` which other names are read."""

from eozoo_core.settings.schema import (
    BY_CONTENT,
    FIXED_SCOPES,
    FREE,
    SKIP,
    Alias,
    EvalSettings,
    InferSettings,
    Named,
    OnUnreadable,
    PrepareSettings,
    RuntimeSettings,
    ScheduleSettings,
    Settings,
    TaskSettings,
    TrainSettings,
    WeightsFile,
    is_group,
    like,
)
