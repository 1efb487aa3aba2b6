"""best.pt as a network ready to use: one way for all tasks. A plugin gives the builder of its module alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eozoo_core.errors import ZooError
from eozoo_core.run.continuity import check_trained, other_plugin
from eozoo_core.run.frozen import base_file, read_base
from eozoo_core.run.manifest import require_beside
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.config import build_settings, to_dict
from eozoo_core.settings.fixed import with_fixed

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from eozoo_core.run.directory import Run

S = TypeVar("S", bound=TaskSettings)
M = TypeVar("M", bound="Module")


@dataclass(frozen=True)
class Trained(Generic[S]):
    """What best.pt holds.

    settings: everything that was learned with, from the checkpoint; what is free, as it is set now.
    state:    name -> tensor of the module, on the CPU.
    """

    run: Run
    settings: S
    state: dict[str, Tensor]
    content: dict[str, Any]

    @property
    def file(self) -> Path:
        """The checkpoint."""
        return self.run.file("best")

    @property
    def base_file(self) -> Path:
        """The file of the frozen tensors, named by hash. Raises ZooError where the checkpoint names none."""
        digest = self.content.get("base", {}).get("sha256")
        if digest is None:
            raise ZooError(f"{self.file}: names no frozen base, which its settings need; copy the whole run again")
        return base_file(self.run.path, digest)

    def base(self) -> dict[str, Tensor]:
        """Read the frozen tensors; they may be gigabytes and are not kept. Raises ZooError as ``read_base``."""
        return read_base(self.base_file)


def read_trained(run: Run, settings: S) -> Trained[S]:
    """Read best.pt of ``run``; ``settings``: what is free now.

    Raises ZooError where the file is missing, damaged or of another task, and where config.yaml says that something
    else was learned than the checkpoint does.
    """
    content = run.load("best")
    learned = check_trained(run.file("best"), content, run.settings)
    require_beside(content.get("beside", {}), run.file("best"))
    values = with_fixed(type(settings), to_dict(settings), to_dict(learned))
    return Trained(run, build_settings(type(settings), values, str(run.file("best"))), content["model"], content)


def load_trained(
    run: Run, settings: S, build: Callable[[Trained[S]], M], scope: str | None, device: str | None = None
) -> tuple[M, Any]:
    """Return the trained module in eval mode, every tensor matched, and its torch device.

    build:  makes the module for what best.pt holds, with its frozen tensors in it (``Trained.base``); the values of
            all others are loaded over it, so that nothing published need be fetched.
    scope:  "eval" or "infer", whose precision and layout the module computes in; None = fp32, plain.
    device: None = ``runtime.device``.

    Raises ZooError as ``read_trained``, and with counts and examples where a tensor is missing, too many, or of another
    shape or type.
    """
    import torch

    from eozoo_core.run.checkpoint import load_module
    from eozoo_core.train.execution import plan_use
    from eozoo_core.train.launch import resolve_device, set_threads
    from eozoo_core.train.precision import compute_in, precision_in_use

    set_threads(settings.runtime)
    trained = read_trained(run, settings)
    module = build(trained)
    try:
        load_module(module, trained.state, trained.file)
    except ZooError as error:
        other = other_plugin(run.info())
        raise ZooError(f"{error}. {other}") from None if other else error
    target = torch.device(device or resolve_device(settings.runtime.device))
    module = module.eval().to(target)
    if scope is None:
        return module, target
    precision = precision_in_use(run, scope, target)
    plan_use(run, settings.runtime, scope, module, (target, precision)).lay_out(module)
    return compute_in(precision, module, target), target
