"""Where curves and pictures go: TensorBoard by default, Weights & Biases when asked for.

``training_log.jsonl`` is not a logger: the run always has it (see ``Run.log``).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.settings.config import to_dict

if TYPE_CHECKING:
    import numpy as np

    from eozoo_core.run.directory import Run


class Loggers:
    """All loggers of a run as one. ``first_step``: points from there on replace those of an interrupted try."""

    def __init__(self, run: Run, first_step: int):
        runtime = run.settings.runtime
        self._board = _tensorboard(run, first_step) if runtime.tensorboard else None
        self._wandb = _wandb(run) if runtime.wandb != "off" else None

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Log numbers; a name like "val/rmse" puts it into the group "val"."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture, (H, W, 3) uint8."""
        if self._board is not None:
            self._board.add_image(name, image, step, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Flush and close."""
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _tensorboard(run: Run, first_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run.path / "tensorboard"), purge_step=first_step)


def _wandb(run: Run) -> Any:
    try:
        import wandb
    except ImportError:
        raise ZooError(
            "runtime.wandb is on and wandb is not installed: pip install wandb, or runtime.wandb=off"
        ) from None
    runtime = run.settings.runtime
    if "wandb_id" not in run.info():
        run.note("wandb_id", secrets.token_hex(4))
    return wandb.init(
        id=run.info()["wandb_id"],  # the same curves go on when the run does
        resume="allow" if runtime.wandb == "online" else None,
        project=runtime.wandb_project,
        name=run.path.name,
        dir=str(run.path),
        mode=runtime.wandb,
        config=to_dict(run.settings),
    )
