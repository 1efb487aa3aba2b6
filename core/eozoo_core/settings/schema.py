"""Typed settings: frozen pydantic models with the scopes that every task shares.

``model``, ``data`` and ``train`` say what is learned: a run fixes them. ``runtime``, ``infer``, ``eval`` and
``prepare`` say where, how fast and what for: they may be set anew at any call, and the run records them. So may a
field of a fixed scope that says how learning is logged, stored or read: it is marked ``FREE`` where it stands.
Reading YAML, ``--set`` and the commented template is the job of ``eozoo_core.settings.config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

FIXED_SCOPES = ("model", "data", "train")
Precision = Literal["auto", "fp32", "bf16-mixed", "fp16-mixed"]
_IN_USE = "auto = the training's where the device is fast at it, else fp32."

# Marks of a field: Field(..., json_schema_extra=FREE).
FREE = {"free": True}  # not learned: it may change when a run goes on
BY_CONTENT = {"by_content": True}  # a path (of a run: its best.pt): a run compares what lies there, not where it lies

# A file of weights; "" in a file or --set means none.
WeightsFile = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]
OnUnreadable = Literal["stop", "skip"]
OnUnlike = Literal["stop", "warn"]
SKIP = {True: "skip", False: "stop", "error": "stop"}  # what the values of its former names are called now


@dataclass(frozen=True)
class Alias:
    """Another name's present name (dotted), and what its values are called now where they changed."""

    new: str
    values: Mapping[Any, Any] = field(default_factory=dict)

    def value(self, old: Any) -> Any:
        """Return the present word for the value ``old``."""
        return next((now for before, now in self.values.items() if before == old and type(before) is type(old)), old)


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown keys refused, defaults checked like given values.

    aliases: other names that are read, dotted from here (from the ``TaskSettings`` of a task) -> the present one.
    earlier: of a ``TaskSettings``: what settings (dotted) were in runs that do not name them yet, where that is not the
    default.
    """

    aliases: ClassVar[Mapping[str, Alias]] = {}
    earlier: ClassVar[Mapping[str, Any]] = {}

    # "constants": without it an infinity among free options would become None on its way to the file.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=(), ser_json_inf_nan="constants"
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_group(cls, values: Any) -> Any:
        """A group with all its lines deleted ("infer:" alone, null in YAML) means its defaults."""
        if not isinstance(values, dict):
            return values
        groups = {name for name, field in cls.model_fields.items() if is_group(field)}
        return {k: {} if v is None and k in groups else v for k, v in values.items()}


def like(cls: type[BaseModel], name: str, default: Any) -> Any:
    """Return field ``name`` of ``cls`` with another default, for a subclass: description, limits and marks stay."""
    field = copy(cls.model_fields[name])
    field.default = default
    return field


def is_group(field: FieldInfo) -> bool:
    """Whether a field holds settings of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


class Named(Settings):
    """A registered model, loss or dataset and the keyword options it is built with.

    Any installed plugin's name fits where its declared shapes fit; ``eozoo show NAME`` lists the options.
    """

    name: str = Field(description="Registered name; 'eozoo list' shows all.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Keyword options of that name; left out = its own defaults."
    )

    @field_validator("options", mode="before")
    @classmethod
    def _no_options(cls, values: Any) -> Any:
        return {} if values is None else values


class ScheduleSettings(Settings):
    """How the learning rate moves with the optimiser step."""

    name: Literal["constant", "cosine", "linear", "multistep", "triangular2"] = Field(
        "constant",
        description="constant; cosine or linear to zero at the end of the run; multistep at milestones; triangular2 = "
        "cyclic, halving.",
    )
    warmup_steps: int = Field(
        0, ge=0, description="Optimiser steps of linear rise, at most a fifth of the run (all but triangular2)."
    )
    hold_steps: int = Field(
        0, ge=0, description="cosine, linear: optimiser steps at the full rate after the warm-up, before it falls."
    )
    milestones: tuple[int, ...] = Field((), description="multistep: optimiser steps at which the rate is multiplied.")
    gamma: float = Field(0.1, gt=0, le=1, description="multistep: the factor at each milestone.")
    max_learning_rate: float = Field(0.1, gt=0, description="triangular2: peak rate of the first cycle.")
    half_cycle_epochs: float = Field(2.0, gt=0, description="triangular2: epochs from base rate to peak.")


class TrainSettings(Settings):
    """How the model is trained. The words mean the same in every task."""

    epochs: int | None = Field(
        100, ge=1, description="Passes over the training samples; null = as many as 'steps' needs."
    )
    steps: int | None = Field(
        None, ge=1, description="Optimiser steps; training ends at 'epochs' or 'steps', whichever comes first."
    )
    batch_size: int = Field(
        32,
        ge=1,
        description="Samples per forward pass, over all processes: more devices do not change what is learned.",
    )
    epoch_steps: int | None = Field(
        None,
        ge=1,
        description="Optimiser steps that an epoch has at least: few samples are passed several times, each time drawn "
        "anew; null = once.",
    )
    accumulate: int = Field(
        1, ge=1, description="Forward passes per optimiser step; effective batch = batch_size x this."
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of forward and backward; auto = bf16-mixed where the device is fast at it, else fp32; "
        "fp16-mixed scales the loss and needs a GPU.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="Optimiser.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate; the base rate of a schedule.")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (adam, sgd) or decoupled decay (adamw).")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum; sgd only.")
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="Learning-rate schedule.")
    clip_norm: float | None = Field(1.0, gt=0, description="Clip the gradient's total L2 norm to this; null = do not.")
    clip_value: float | None = Field(None, gt=0, description="Clip each gradient element to +- this; null = do not.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, shuffling, augmentation and dropout.")
    validate_every: int = Field(1, ge=1, description="Epochs between validations; the last epoch is always validated.")
    validate_every_steps: int | None = Field(
        None, ge=1, description="Also validate (and log a line) every so many optimiser steps: for very long epochs."
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        description="Keep checkpoint_epoch_NNN.pt every so many epochs; null = only current.pt and best.pt.",
        json_schema_extra=FREE,
    )
    save_every_steps: int | None = Field(
        None,
        ge=1,
        description="Also write current.pt every so many optimiser steps, within an epoch.",
        json_schema_extra=FREE,
    )
    log_every: int = Field(
        20, ge=1, description="Optimiser steps between points of the step-level curves.", json_schema_extra=FREE
    )

    @model_validator(mode="after")
    def _ends(self) -> TrainSettings:
        if self.epochs is None and self.steps is None:
            raise ValueError("give 'epochs' or 'steps': training must end")
        return self


class RuntimeSettings(Settings):
    """Where and how the work runs. Tasks add their paths here. It changes what is learned by rounding alone."""

    device: str = Field("auto", description="auto (CUDA, then MPS, then CPU), cpu, mps, cuda or cuda:N.")
    devices: int = Field(1, ge=1, description="Processes on this machine, one per device (data parallel).")
    nodes: int = Field(1, ge=1, description="Machines; start the same command on each (or under torchrun or SLURM).")
    threads: int | None = Field(
        None, ge=1, description="CPU threads per process; null = OMP_NUM_THREADS or all cores that it may use."
    )
    layout: Literal["auto", "plain", "channels-last"] = Field(
        "auto", description="How images lie in memory; auto = what is faster, and as the run was begun."
    )
    workers: int | None = Field(None, ge=0, description="Processes that load data; null = 0 on CPU, up to 8 per GPU.")
    tensorboard: bool = Field(True, description="Write curves and pictures to RUN/tensorboard.")
    wandb: Literal["off", "offline", "online"] = Field("off", description="Weights & Biases; offline needs no account.")
    wandb_project: str = Field("eozoo", description="Project name for Weights & Biases.")
    profile: bool = Field(False, description="Write a PyTorch profiler trace of a few steps to RUN/profile.")
    quiet: bool = Field(False, description="No progress bar.")


class InferSettings(Settings):
    """How maps are made. Tasks add their own fields."""

    precision: Precision = Field("auto", description=f"Arithmetic of the network; {_IN_USE}")
    on_unlike: OnUnlike = Field(
        "stop",
        description="Values far outside what training saw (docs/guard.md) fail their scene, or are told in the map.",
    )
    strict: bool = Field(
        False, description="The first scene that fails ends the work; else it is noted and the others go on (--strict)."
    )
    workers: int = Field(1, ge=1, description="Processes that share scenes, and the windows of large ones (--workers).")
    dask: str | None = Field(
        None, description="Dask scheduler whose workers share them, tcp://HOST:PORT or its file (--dask)."
    )


class EvalSettings(Settings):
    """How scores are computed. Tasks add their own fields."""

    precision: Precision = Field("auto", description=f"Arithmetic of the network; {_IN_USE}")
    on_unlike: OnUnlike = Field(
        "stop", description="Values far outside what training saw (docs/guard.md) stop the work, or are warned of."
    )
    baselines: tuple[Literal["ridge", "forest"], ...] = Field(
        ("ridge", "forest"),
        description="What stands beside scores with the mean: training fits it on at most 20,000 labels and keeps it.",
    )


class PrepareSettings(Settings):
    """How raw products become training data. Tasks add one field per step."""

    workers: int = Field(1, ge=1, description="Processes that share the files of a step (--workers).")
    dask: str | None = Field(
        None, description="Dask scheduler whose workers share them, tcp://HOST:PORT or its file (--dask)."
    )


class TaskSettings(Settings):
    """All settings of a task, one field per scope. A task subclasses this and narrows the fields it extends."""

    # Its "stop" stands in every run of old: it was the default, and no wish.
    aliases: ClassVar[Mapping[str, Alias]] = {
        "infer.on_unreadable": Alias("infer.strict", {"stop": False, "skip": False})
    }

    train: TrainSettings = Field(TrainSettings(), description="How the model is trained; fixed by a run.")
    runtime: RuntimeSettings = Field(RuntimeSettings(), description="Where and how the work runs; free at any time.")
    infer: InferSettings = Field(InferSettings(), description="How maps are made; free at any time.")
    eval: EvalSettings = Field(EvalSettings(), description="How scores are computed; free at any time.")
    prepare: PrepareSettings = Field(PrepareSettings(), description="How raw products become data; free at any time.")
