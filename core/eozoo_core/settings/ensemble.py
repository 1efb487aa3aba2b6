"""Settings of tasks whose runs may hold several networks."""

from __future__ import annotations

from pydantic import Field

from eozoo_core.settings.schema import EvalSettings, InferSettings, RuntimeSettings, Settings, TrainSettings


class DrawSettings(Settings):
    """Which predictions are drawn and combined."""

    members: tuple[int, ...] | None = Field(None, description="Numbers of the members that predict; null = all.")
    mc_passes: int = Field(
        0,
        ge=0,
        description="Monte-Carlo dropout: passes per member with dropout on (the network needs dropout); 0 = off.",
    )


class EnsembleTrain(TrainSettings):
    """How the model is trained."""

    members: int = Field(
        1,
        ge=1,
        description="Networks of the ensemble, each from its own seed (seed + 1000 x number); 1 = a single network.",
    )


class EnsembleRuntime(RuntimeSettings):
    """Where and how the work runs."""

    member_processes: int = Field(
        1, ge=1, description="Members trained at the same time, each in a process of its own; GPUs are given in turn."
    )


class EnsembleInfer(InferSettings):
    """How maps are made."""

    draws: DrawSettings = Field(DrawSettings(), description="Which members predict, and Monte-Carlo dropout.")
    scale_variance: bool = Field(
        True, description="Multiply all variances by the factor that training fitted on the validation split."
    )


class EnsembleEval(EvalSettings):
    """How scores are computed."""

    draws: DrawSettings = Field(DrawSettings(), description="Which members predict, and Monte-Carlo dropout.")
