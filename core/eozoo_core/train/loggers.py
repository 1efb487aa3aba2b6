"""Where curves and pictures go: TensorBoard by default, Weights & Biases when asked for.

``training_log.jsonl`` is not a logger: the run always has it (see ``Run.log``).
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.settings.config import to_dict

if TYPE_CHECKING:
    import numpy as np

    from eozoo_core.run.directory import Run
    from eozoo_core.settings import RuntimeSettings


class Loggers:
    """All loggers of a run as one. ``first_step``: points from there on replace those of an interrupted try."""

    def __init__(self, run: Run, first_step: int):
        runtime = run.settings.runtime
        self._curves = run.path / "tensorboard"
        self._hook = threading.excepthook
        self._board = self._open_board(first_step) if runtime.tensorboard else None
        self._wandb = _wandb(run) if runtime.wandb != "off" else None

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Log numbers; a name like "val/rmse" puts it into the group "val"."""
        for name, value in values.items():
            self._to_board("add_scalar", name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture, (H, W, 3) uint8."""
        self._to_board("add_image", name, image, step, None, "HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Flush and close."""
        self._to_board("close")
        threading.excepthook = self._hook
        if self._wandb is not None:
            self._wandb.finish()

    def _to_board(self, call: str, *arguments: Any) -> None:
        """Call TensorBoard's writer. Where its disk is full it is left out: training_log.jsonl has every number."""
        if self._board is None:
            return
        try:
            getattr(self._board, call)(*arguments)
        except OSError as error:
            self._board = self._without(error)

    def _open_board(self, first_step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        threading.excepthook = self._quiet
        try:
            return SummaryWriter(str(self._curves), purge_step=first_step)
        except OSError as error:
            return self._without(error)

    def _without(self, error: OSError) -> None:
        print_message(f"{self._curves}: cannot be written ({error.strerror}); training goes on without TensorBoard")

    def _quiet(self, failed: threading.ExceptHookArgs) -> None:
        """TensorBoard's own thread would print a traceback for what its next call raises."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard")):
            self._hook(failed)


def require_loggers(runtime: RuntimeSettings) -> None:
    """Log in to Weights & Biases where it is asked for, before any work: what is missing is said at once.

    Raises ZooError where it is not installed, and where "online" has no key.
    """
    if runtime.wandb == "off":
        return
    try:
        import wandb
    except ImportError:
        raise ZooError(
            "runtime.wandb is on and wandb is not installed: pip install 'eozoo[wandb]', or runtime.wandb=off"
        ) from None
    if runtime.wandb != "online":
        return
    try:
        known = wandb.login()
    except wandb.Error as error:
        raise ZooError(_not_online(error)) from None
    if not known:
        raise ZooError(_not_online("no key"))


def _not_online(reason: object) -> str:
    said = " ".join(str(reason).split()).partition(". ")[0].rstrip(".")
    return f"runtime.wandb=online: {said}; log in with 'wandb login', or use runtime.wandb=offline"


def _wandb(run: Run) -> Any:
    import wandb

    runtime = run.settings.runtime
    if "wandb_id" not in run.info():
        run.note("wandb_id", secrets.token_hex(4))
    try:
        return wandb.init(
            id=run.info()["wandb_id"],  # the same curves go on when the run does
            resume="allow" if runtime.wandb == "online" else None,
            project=runtime.wandb_project,
            name=run.path.name,
            dir=str(run.path),
            mode=runtime.wandb,
            config=to_dict(run.settings),
        )
    except wandb.Error as error:
        raise ZooError(_not_online(error)) from None
