"""The task ``gedi_sparse``: canopy height or biomass from bands, learned from sparse GEDI shots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core.task import Plan, Sample, Task

from eozoo_gedi_sparse.plugin import SLOTS
from eozoo_gedi_sparse.settings import (
    DataSettings,
    GediInferSettings,
    GediRuntimeSettings,
    GediSettings,
    GediTrainSettings,
    ModelSettings,
)

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Predictor, Scores


class GediSparse(Task):
    """Mean and standard deviation of canopy height (m) or biomass density (Mg/ha) for every pixel of a raster."""

    Settings: ClassVar = GediSettings
    slots: ClassVar = SLOTS
    settings: GediSettings

    def outputs(self) -> dict[str, str]:
        """Mean, and standard deviation where the loss trains one."""
        from eozoo_gedi_sparse.training import make_loss

        names = ("mean", "std") if make_loss(self.settings, self.registry).trains_variance else ("mean",)
        return dict.fromkeys(names, self.settings.data.unit)

    def train(self, run: Run) -> None:
        """Train, and score the test split where there is one."""
        from eozoo_core.run import is_first_process

        from eozoo_gedi_sparse.training import folders, train

        train(run, self.settings, self.registry)
        if is_first_process() and all((folder / "test").is_dir() for folder in folders(self.settings)):
            run.write_scores("test", self.evaluate(run, "test"))

    def plan(self, run: Run) -> Plan:
        """Data found, size of the model, steps and memory."""
        from eozoo_gedi_sparse.training import plan

        return plan(run, self.settings, self.registry)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt, the training mean and ridge regression over all labels of the split; write pictures."""
        from eozoo_gedi_sparse.evaluation import evaluate

        return evaluate(run, self.settings, self.registry, split)

    def predictor(self, run: Run) -> Predictor:
        """``{"image": (C, H, W) or (B, C, H, W)}`` -> mean and std of the same leading and spatial axes, float32."""
        from eozoo_gedi_sparse.maps import make_predictor

        return make_predictor(run, self.settings, self.registry)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Write DEST/NAME_mean.tif and NAME_std.tif for a raster or every raster of a folder."""
        from eozoo_gedi_sparse.maps import infer

        return infer(run, self.settings, self.registry, source, dest)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write a synthetic landscape with GEDI-like tracks; its settings train on it in about two minutes."""
        import numpy as np

        from eozoo_gedi_sparse.landscape import write_landscape

        made = write_landscape(root)
        settings = GediSettings(
            model=ModelSettings(options={"width": 16}),
            data=DataSettings(unit="m"),
            train=GediTrainSettings(epochs=40, batch_size=8, learning_rate=3e-3),
            runtime=GediRuntimeSettings(input_dir=made.input_dir, label_dir=made.label_dir),
            infer=GediInferSettings(window=128, stride=96),
        )
        patches = sorted((made.input_dir / "val").glob("*.npy"))[:2]
        pixels = [np.nan_to_num(np.load(patch, allow_pickle=False)[:, :32, :32]) for patch in patches]
        return Sample(settings, made.scene, {"image": np.stack(pixels)})

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw the scene, the true height, the map and its uncertainty side by side."""
        from eozoo_gedi_sparse.pictures import draw_demo

        return draw_demo(sample, out)
