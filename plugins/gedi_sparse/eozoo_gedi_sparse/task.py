"""The task ``gedi_sparse``: canopy height or biomass from bands, learned from sparse GEDI shots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Sample, Task
from eozoo_core.task import Ports

from eozoo_gedi_sparse.plugin import SLOTS
from eozoo_gedi_sparse.settings import (
    PRESETS,
    DataSettings,
    GediInferSettings,
    GediRuntimeSettings,
    GediSettings,
    GediTrainSettings,
    ModelSettings,
)
from eozoo_gedi_sparse.survey import GediSurvey

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.checking import Expected, Separation, Split
    from eozoo_core.images.moments import MomentsSystem
    from eozoo_core.raster.read import RasterInfo
    from eozoo_core.run.pool import Pool
    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.label_loss import LabelLoss

    from eozoo_gedi_sparse.data import Patches
    from eozoo_gedi_sparse.evaluation import LabelScores


class GediSparse(Task):
    """Mean and standard deviation of canopy height (m) or biomass density (Mg/ha) for every pixel of a raster."""

    Settings: ClassVar = GediSettings
    Survey: ClassVar = GediSurvey
    slots: ClassVar = SLOTS
    presets: ClassVar = PRESETS
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

    def steps(self) -> Mapping[str, Callable[[], list[Path]]]:
        """One module below ``prepare`` for each step."""
        from eozoo_gedi_sparse.prepare import dataset, example, extract, labels, patches, stack, totals

        how, quiet = self.settings.prepare, self.settings.runtime.quiet
        return {
            "shots": lambda: self._shared(lambda pool: extract.extract(how.shots, quiet, pool)),
            "labels": lambda: labels.make_labels(how.labels),
            "stack": lambda: self._shared(lambda pool: stack.make_stack(how.stack, quiet, pool)),
            "patches": lambda: self._shared(lambda pool: patches.make_patches(how.patches, quiet, pool)),
            "dataset": lambda: dataset.make_from_dataset(how.dataset, self.registry, quiet),
            "totals": lambda: totals.make_totals(how.totals),
            "example": lambda: example.make_example(how.example),
        }

    def _shared(self, step: Callable[[Pool], list[Path]]) -> list[Path]:
        with self.workers() as pool:
            return step(pool)

    def data(self, split: str) -> Patches:
        """Input and label patches of the same names."""
        return self._patches(split, lenient=False)

    def has_split(self, split: str) -> bool:
        """Whether both folders hold it."""
        from eozoo_gedi_sparse.pairs import folders

        return all((folder / split).is_dir() for folder in folders(self.settings))

    @property
    def validates(self) -> bool:
        """Whether the settings say that there is a split for it."""
        return self.settings.data.validation

    def survey(self, train: Patches) -> GediSurvey:
        """Bands and labels, in one pass."""
        from eozoo_gedi_sparse.survey import survey_patches

        return survey_patches(train, self.settings.data.unit, self.settings.data.normalise == "standard")

    def ports(self, survey: GediSurvey) -> Ports:
        """Bands in; out the mean and, where the loss trains a variance, its standard deviation."""
        unit = self.settings.data.unit
        what = "canopy height" if unit == "m" else "above-ground biomass density"
        statistics = (survey.mean, survey.std) if survey.bands[0].count else ()
        image = Port("image", "B C H W", "that of the training files", survey.names, *statistics)
        mean = Port("mean", "B H W", unit, spread="moments", quantity=what, least=0.0)
        std = Port("std", "B H W", unit, spread="deviation", of="mean", quantity=what)
        return Ports((image,), (mean, std) if self._loss().trains_variance else (mean,))

    def system(self, survey: GediSurvey, fresh: bool) -> MomentsSystem:
        """The network between the scaling of bands and labels that ``data`` asks for."""
        from eozoo_core.images.moments import MomentsSystem
        from eozoo_core.images.system import image_network

        loss, data, bands = self._loss(), self.settings.data, len(survey.bands)
        scaled = data.normalise == "standard"
        mean, std = (survey.mean, survey.std) if scaled else ((0.0,) * bands, (1.0,) * bands)
        label = survey.label if data.standardise_target else None
        target = (label.mean, max(label.std, 1e-6)) if label else (0.0, 1.0)
        network, takes = image_network(self, survey, 2 if loss.trains_variance else 1, fresh)
        return MomentsSystem(network, loss, mean, std, *target, takes)

    def loss(self, survey: GediSurvey) -> Loss:
        """The registered loss, and the squared error of the mean for the log."""
        from eozoo_core.task.label_loss import called

        return called(self._loss())

    def metrics(self, survey: GediSurvey) -> LabelScores:
        """Scores over labelled pixels."""
        from eozoo_gedi_sparse.evaluation import LabelScores

        return LabelScores("mean", "std", (*self.settings.strata, float("inf")))

    def derive(self, means: dict[str, float], survey: GediSurvey) -> dict[str, float]:
        """RMSE from the mean squared error."""
        return {"rmse": means["mse"] ** 0.5}

    def data_to_check(self, split: str) -> Patches:
        """The same with the patches that do not fit."""
        return self._patches(split, lenient=True)

    def expected(self) -> Expected:
        """Labels of ``data.unit``, the documented bands, and which settings put them right."""
        from eozoo_gedi_sparse.checking import expected_of

        return expected_of(self.settings.data.unit)

    def describe_splits(self, data: Mapping[str, Patches]) -> tuple[list[Split], Separation]:
        """As core does, with the gap that step ``patches`` left."""
        from eozoo_gedi_sparse.checking import gap_between

        return super().describe_splits(data)[0], gap_between(
            next(iter(data.values())), self.settings.prepare.patches.gap
        )

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score the ensemble, its members and simple baselines over all labels of the split; write a report."""
        from eozoo_gedi_sparse.evaluation import evaluate

        return evaluate(self, run, split, self._loss().scale_power == 1)

    def raster_bands(self, info: RasterInfo, survey: GediSurvey) -> tuple[int, ...]:
        """The bands that the network was trained on, by name where the file has names, else as ``data`` says."""
        from eozoo_gedi_sparse.pairs import trained_bands

        return trained_bands(info, self.settings.data, list(survey.names))

    def _patches(self, split: str, lenient: bool) -> Patches:
        from eozoo_gedi_sparse.data import Patches
        from eozoo_gedi_sparse.pairs import folders

        return Patches(*folders(self.settings), split, self.settings.data, self.settings.train.seed, lenient)

    def _loss(self) -> LabelLoss:
        from eozoo_core.task.label_loss import label_loss

        return label_loss(self)

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
            infer=GediInferSettings(window=128, overlap=32),
        )
        patches = sorted((made.input_dir / "val").glob("*.npy"))[:2]
        pixels = [np.nan_to_num(np.load(patch, allow_pickle=False)[:, :32, :32]) for patch in patches]
        return Sample(settings, made.scene, {"image": np.stack(pixels)})

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw the scene, the true height, the map and its uncertainty side by side."""
        from eozoo_gedi_sparse.pictures import draw_demo

        return draw_demo(sample, out)
