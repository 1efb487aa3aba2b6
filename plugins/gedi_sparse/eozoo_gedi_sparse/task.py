"""The task ``gedi_sparse``: canopy height or biomass from bands, learned from sparse GEDI shots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core.task import Graph, Network, Plan, Sample, Task

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
    from eozoo_core.checking import Findings
    from eozoo_core.task import Predictor, Scores


class GediSparse(Task):
    """Mean and standard deviation of canopy height (m) or biomass density (Mg/ha) for every pixel of a raster."""

    Settings: ClassVar = GediSettings
    slots: ClassVar = SLOTS
    settings: GediSettings
    prepare_steps: ClassVar = {
        "shots": "GEDI L4A or L2A granules, or tables of shots -> filtered shots, and what each filter removed",
        "labels": "shots -> raster of their mean per pixel, with a band that counts them",
        "stack": "rasters and mosaics of tiles, scaled -> one raster of named bands",
        "patches": "stack and labels -> train/, val/ and test/ patches from blocks that do not touch",
        "dataset": "a registered dataset, from whichever plugin -> patches of one split",
        "totals": "biomass map and polygons -> Mg per polygon with the uncertainty of the sum",
        "example": "synthetic granules and rasters to try the steps on, with a settings file for all of them",
    }

    def prepare_example(self) -> list[Path]:
        """Write synthetic raw products; see ``prepare.example``."""
        from eozoo_gedi_sparse.prepare.example import make_example

        return make_example(self.settings.prepare.example)

    def prepare_stack(self) -> list[Path]:
        """Put bands together; see ``prepare.stack``."""
        from eozoo_gedi_sparse.prepare.stack import make_stack

        return make_stack(self.settings.prepare.stack, self.settings.runtime.quiet)

    def prepare_patches(self) -> list[Path]:
        """Cut patches; see ``prepare.patches``."""
        from eozoo_gedi_sparse.prepare.patches import make_patches

        return make_patches(self.settings.prepare.patches, self.settings.runtime.quiet)

    def prepare_dataset(self) -> list[Path]:
        """Write a registered dataset as patches; see ``prepare.dataset``."""
        from eozoo_gedi_sparse.prepare.dataset import make_from_dataset

        return make_from_dataset(self.settings.prepare.dataset, self.registry, self.settings.runtime.quiet)

    def prepare_totals(self) -> list[Path]:
        """Sum a biomass map over polygons; see ``prepare.totals``."""
        from eozoo_gedi_sparse.prepare.totals import make_totals

        return make_totals(self.settings.prepare.totals)

    def prepare_shots(self) -> list[Path]:
        """Read and filter granules; see ``prepare.extract``."""
        from eozoo_gedi_sparse.prepare.extract import extract

        return extract(self.settings.prepare.shots, self.settings.runtime.quiet)

    def prepare_labels(self) -> list[Path]:
        """Rasterise shots; see ``prepare.labels``."""
        from eozoo_gedi_sparse.prepare.labels import make_labels

        return make_labels(self.settings.prepare.labels)

    def outputs(self) -> dict[str, str]:
        """Mean; standard deviation where the loss trains one; with several draws also the parts that it is made of."""
        from eozoo_gedi_sparse.ensemble import draw_count
        from eozoo_gedi_sparse.maps import map_names
        from eozoo_gedi_sparse.training import make_loss

        trains_variance = make_loss(self.settings, self.registry).trains_variance
        names = map_names(trains_variance, draw_count(self.settings, self.settings.infer.draws))
        return dict.fromkeys(names, self.settings.data.unit)

    def train(self, run: Run) -> None:
        """Train every member, fit the factor of their variances, and score the test split where there is one."""
        from eozoo_core.run.rank import is_first_process

        from eozoo_gedi_sparse.evaluation import fit_variance_scale
        from eozoo_gedi_sparse.members import train_members
        from eozoo_gedi_sparse.pairs import folders

        train_members(run, self.settings, self.registry)
        if not is_first_process():
            return
        fit_variance_scale(run, self.settings, self.registry)
        if all((folder / "test").is_dir() for folder in folders(self.settings)):
            run.write_scores("test", self.evaluate(run, "test"))

    def plan(self, run: Run) -> Plan:
        """Data found, size of the model, steps and memory."""
        from eozoo_gedi_sparse.training import plan

        return plan(run, self.settings, self.registry)

    def check(self, findings: Findings) -> None:
        """Pairs, bands, units, labels and what splits share."""
        from eozoo_gedi_sparse.checking import check

        check(self.settings, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score the ensemble, its members and simple baselines over all labels of the split; write a report."""
        from eozoo_gedi_sparse.evaluation import evaluate

        return evaluate(run, self.settings, self.registry, split)

    def predictor(self, run: Run) -> Predictor:
        """``{"image": (C, H, W) or (B, C, H, W)}`` -> see ``outputs``, same leading and spatial axes, float32."""
        from eozoo_gedi_sparse.maps import make_predictor

        return make_predictor(run, self.settings, self.registry)

    def network(self, run: Run | None = None) -> Network:
        """Every member counted; untrained, with the documented bands."""
        from eozoo_gedi_sparse.describe import describe

        return describe(self.settings, self.registry, self.outputs(), run)

    def graph(self, run: Run) -> Graph:
        """All members as one graph, from raw bands to the maps."""
        from eozoo_gedi_sparse.graphs import make_graph

        return make_graph(run, self.settings, self.registry)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Write DEST/NAME_mean.tif, NAME_std.tif and the parts of the latter for a raster or every one of a folder."""
        from eozoo_gedi_sparse.maps import infer

        return infer(run, self.settings, self.registry, source, dest)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write a synthetic landscape with GEDI-like tracks; its settings train on it in about two minutes."""
        import numpy as np

        from eozoo_gedi_sparse.demo.landscape import write_landscape

        made = write_landscape(root)
        settings = GediSettings(
            model=ModelSettings(options={"width": 16}),
            data=DataSettings(unit="m"),
            train=GediTrainSettings(epochs=40, batch_size=8, learning_rate=3e-3, members=1),
            runtime=GediRuntimeSettings(data_dir=root),
            infer=GediInferSettings(window=128, stride=96),
        )
        patches = sorted((made.input_dir / "val").glob("*.npy"))[:2]
        pixels = [np.nan_to_num(np.load(patch, allow_pickle=False)[:, :32, :32]) for patch in patches]
        return Sample(settings, made.scene, {"image": np.stack(pixels)})

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw the scene, the true height, the map and its uncertainty side by side."""
        from eozoo_gedi_sparse.pictures import draw_demo

        return draw_demo(sample, out)
