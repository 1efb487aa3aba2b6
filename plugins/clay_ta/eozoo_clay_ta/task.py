"""The task ``clay_ta``: near-surface air temperature from GK-2A images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Sample, Task, ZooError
from eozoo_core.task import Ports

from eozoo_clay_ta.plugin import CONTEXT, SLOTS, UNITS
from eozoo_clay_ta.sample_schema import CHANNELS, KELVIN
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.survey import ClaySurvey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from eozoo_core import Graph, Plan, Run
    from eozoo_core.checking import Expected, Findings, Separation, Split
    from eozoo_core.raster.files import Layer
    from eozoo_core.task import Arrays, Scores
    from eozoo_core.task.baselines import Baseline
    from eozoo_core.task.scenes import Block
    from eozoo_core.task.windows import Drawn

    from eozoo_clay_ta.data import Samples
    from eozoo_clay_ta.maps import TaScene
    from eozoo_clay_ta.scenes import ScenePaths
    from eozoo_clay_ta.scores import TaScores, ZLoss
    from eozoo_clay_ta.system import TaSystem


class ClayTa(Task):
    """GK-2A patches to near-surface air temperature."""

    Settings: ClassVar = ClaySettings
    Survey: ClassVar = ClaySurvey
    slots: ClassVar = SLOTS
    settings: ClaySettings
    prepare_steps: ClassVar = {
        "build_index": "scenes and ASOS tables -> index_train.csv, index_val.csv, index_test.csv",
        "build_patches": "index, scenes and static fields -> SPLIT_chunk_00000.pt ... and statistics",
        "inspect": "look into a chunk: --set prepare.inspect.file=... --set prepare.inspect.idx=N",
        "simulate": "write synthetic scenes, stations and static fields on data.grid",
    }

    # -- training ---------------------------------------------------------------------------------------------------

    def data(self, split: str) -> Samples:
        """Samples of the registered dataset ``data.samples``: chunks, unless set otherwise."""
        from eozoo_clay_ta.data import open_samples
        from eozoo_clay_ta.grid import KoGrid

        named, grid = self.settings.data.samples, KoGrid(**self.settings.data.grid.model_dump())
        made = self.build("dataset", named, {"patch_dir": str(self._folder), "split": split})
        return open_samples(made, f"data.samples.name: {named.name}", grid)

    def has_split(self, split: str) -> bool:
        """Whether there are chunks of it; another dataset says so by opening."""
        if not self.settings.data.own:
            return super().has_split(split)
        return any(self._folder.glob(f"{split}_chunk_*.pt"))

    def describe_splits(self, data: Mapping[str, Samples]) -> tuple[list[Split], Separation]:
        """No sample twice; times apart or, where the index was split by stations, the windows around these."""
        from eozoo_clay_ta.splits import samples_of

        return samples_of(self.settings, data)

    def survey(self, train: Samples) -> ClaySurvey:
        """The statistics of the samples (of chunks: those they were made with), and the stations' climatology."""
        from eozoo_clay_ta.encoder import require_weights
        from eozoo_clay_ta.sample_schema import read_json
        from eozoo_clay_ta.survey import survey_patches

        require_weights(self.settings.model)

        said = self._folder / "calibration.json"  # samples that others prepared have none
        calibration = tuple(read_json(said)) if said.exists() else ()
        return survey_patches(train, calibration)

    def beside(self) -> list[Path]:
        """Elevation, land/sea mask and land cover, which maps need."""
        return sorted(self._folder.glob("static_*.tif"))

    def ports(self, survey: ClaySurvey) -> Ports:
        """Windows with their time and place in; temperature at the window's centre out."""
        known = (survey.mean, survey.std) if survey.label else ((), ())
        context = (Port(role, "B", unit, dtype=dtype) for role, (unit, dtype) in CONTEXT.items())
        inputs = (Port("x", f"B {CHANNELS} 9 9", UNITS, survey.names, *known), *context)
        unit = self.settings.infer.unit
        return Ports(inputs, (Port("ta", "B", unit, spread="moments", quantity="near-surface air temperature"),))

    def system(self, survey: ClaySurvey, fresh: bool) -> TaSystem:
        """The network of ``model.type``, with published weights where they are given and needed."""
        from eozoo_clay_ta.encoder import take_weights
        from eozoo_clay_ta.system import CONTEXT, MapNetwork, build_encoder, build_model

        options, norm = self.settings.model, survey.normalisation()
        if options.network is not None:
            network = self.build("model", options.network, {"in_channels": CONTEXT, "outputs": 1}, fresh)
            system: TaSystem = MapNetwork(norm, network)
        else:
            encoder = build_encoder(options)
            receipt = take_weights(encoder, options, self.settings.runtime.quiet) if encoder and fresh else ""
            system = build_model(options, norm, encoder)
            system.receipt = receipt
        system.metres = self.settings.data.grid.metres
        system.offset = KELVIN if self.settings.infer.unit == "K" else 0.0
        return system

    def loss(self, survey: ClaySurvey) -> ZLoss:
        """The registered loss of z-scores, and their squared error for the log."""
        from eozoo_clay_ta.scores import ZLoss

        loss = self.settings.model.loss
        return ZLoss(self.build("loss", loss), loss.name, survey.normalisation())

    def metrics(self, survey: ClaySurvey) -> TaScores:
        """Loss and root mean squared error, normalised and in K."""
        from eozoo_clay_ta.scores import TaScores

        return TaScores(self.loss(survey), survey.normalisation())

    def baselines(self, survey: ClaySurvey) -> dict[str, Baseline]:
        """The mean of the samples' temperatures, whose z-score is 0."""
        import numpy as np

        return {"training mean": lambda batch: {"z": np.zeros(len(batch["target"]))}}

    def covariates(self, batch: Arrays, survey: ClaySurvey) -> np.ndarray | None:
        """What the window's centre, time and place say, 47 numbers."""
        from eozoo_core.task.data import tensors

        from eozoo_clay_ta.system import TaSystem, context_of

        return context_of(TaSystem(survey.normalisation()).stage(tensors(batch))).numpy()

    def derive(self, means: dict[str, float], survey: ClaySurvey) -> dict[str, float]:
        """The roots of the mean squared error."""
        from eozoo_clay_ta.scores import rmse

        return rmse(means["mse"], survey.normalisation().ta_std)

    def plan(self, run: Run) -> Plan:
        """Say too which weights the encoder begins with."""
        from eozoo_clay_ta.encoder import RANDOM

        made, options = super().plan(run), self.settings.model
        first = [f"encoder: {options.weights or RANDOM}"] if options.type == "clay_transfer" else []
        return replace(made, notes=(*first, *made.notes))

    # -- use ----------------------------------------------------------------------------------------------------------

    def expected(self) -> Expected:
        """Temperatures of stations in degC, whatever the unit of maps."""
        from eozoo_core.checking import Expected

        from eozoo_clay_ta.checking import TA

        return Expected(TA)

    def check(self, findings: Findings) -> None:
        """Samples in physical units, their statistics, temperatures, and what splits share."""
        from eozoo_clay_ta.checking import check

        check(self, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt beside mean, climatology and persistence; write tables, pictures and a page."""
        from eozoo_clay_ta.evaluation import evaluate

        return evaluate(self, run, split)

    reads_assemblies = False
    reads_xarray = False

    def find_scenes(self, source: Path) -> list[tuple[str, ScenePaths]]:
        """Time stamps of a folder, or the one scene to which a file belongs."""
        from eozoo_clay_ta.maps import scenes_of

        return scenes_of(source)

    def open_scene(self, found: tuple[str, ScenePaths], survey: ClaySurvey) -> TaScene:
        """See ``maps.open_scene``."""
        from eozoo_clay_ta.maps import open_scene

        return open_scene(*found, self.settings)

    def map(self, drawn: Drawn, scene: TaScene) -> Iterator[Block]:
        """The temperature at the centre of every window; see ``maps.map_scene``."""
        from eozoo_clay_ta.maps import map_scene

        return map_scene(drawn, scene, self.settings)

    def layers(self, outputs: Sequence[Port], run: Run) -> list[Layer]:
        """``ta_STAMP.tif``, and what members do not agree about."""
        from eozoo_core.raster.cog import Band
        from eozoo_core.raster.files import Layer
        from eozoo_core.task.ensemble import member_runs

        self._kept = member_runs(run, self.settings)[0].path  # the static fields are there
        spread = "standard deviation between members"
        return [Layer(p.role, (Band(spread if p.of else p.quantity, p.unit),)) for p in outputs]

    def tags(self, run: Run) -> dict[str, str]:
        """The encoder and where its weights come from."""
        from eozoo_clay_ta.encoder import encoder_label

        return {"ENCODER": encoder_label(run, self.settings)}

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: TaScene, dest: Path) -> list[Path]:
        """Draw the map with the coastline."""
        import numpy as np
        from eozoo_core.run.written import is_current

        from eozoo_clay_ta.maps import static_of
        from eozoo_clay_ta.pictures import picture_of_map

        if not self.settings.infer.picture:
            return []
        if is_current(picture := files["ta"].with_suffix(".png"), files["ta"]):
            return [picture]
        land = static_of(self._kept, scene.when.year, scene.ko).lsmask
        return [picture_of_map(files["ta"], np.nan_to_num(land))]

    def graph(self, run: Run) -> Graph:
        """Windows in physical units to temperatures; the kernels of a frozen encoder are generated before."""
        made = super().graph(run)
        for system in made.module.systems:
            if system.encoder is not None:
                system.kernel()
        return made

    def example(self, inputs: Sequence[Port]) -> Arrays:
        """Windows with noise around the mean, in 2022, on land."""
        from eozoo_clay_ta.demo.example import windows_like

        return windows_like(inputs[0])

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Simulate scenes on a small part of the grid and prepare them; see ``demo.sample``."""
        from eozoo_clay_ta.demo.sample import make_sample

        return make_sample(root)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Return the pictures that evaluation and inference have drawn, and one of a sample."""
        from eozoo_clay_ta.prepare.inspect_chunk import inspect_chunk

        _, picture = inspect_chunk("", 0, self._folder, out)
        return [picture, *sorted((run.path / "eval_test").glob("*.png")), run.path / "eval_test" / "report.html"]

    def prepare_build_index(self) -> list[Path]:
        """Match scenes with stations; print what was dropped and why."""
        from eozoo_core.run.progress import print_message

        from eozoo_clay_ta.grid import KoGrid
        from eozoo_clay_ta.prepare.index import build_index

        folder = Path(self.settings.runtime.index_dir)
        grid = KoGrid(**self.settings.data.grid.model_dump())
        files, counts = build_index(self.settings.prepare.build_index, folder, grid)
        print_message("\n".join(f"{n:9,}  {what}" for what, n in counts.items()))
        return files

    def prepare_build_patches(self) -> list[Path]:
        """Cut, check and normalise the samples; print how many each check dropped."""
        from eozoo_core.run.progress import print_message

        from eozoo_clay_ta.prepare.patches import PatchBuilder

        with self.workers() as pool:
            files, report = PatchBuilder(self.settings, pool).build()
        for split, counts in report.items():
            print_message(f"{split}: " + ", ".join(f"{what} {n:,}" for what, n in counts.items()))
        return files

    def prepare_inspect(self) -> list[Path]:
        """Print what a chunk holds; return the picture of one sample."""
        from eozoo_clay_ta.prepare.inspect_chunk import inspect_chunk

        options = self.settings.prepare.inspect
        text, picture = inspect_chunk(options.file, options.idx, self._folder, Path(options.out))
        print(text)
        return [picture]

    def prepare_simulate(self) -> list[Path]:
        """Write a synthetic data set on ``data.grid``."""
        from eozoo_clay_ta.demo.products import simulate
        from eozoo_clay_ta.grid import KoGrid

        options = self.settings.prepare.simulate
        if Path(options.out).exists() and any(Path(options.out).iterdir()):
            raise ZooError(f"prepare.simulate.out {options.out}: is not empty; choose another folder")
        grid = KoGrid(**self.settings.data.grid.model_dump())
        return simulate(Path(options.out), options, grid, self.settings.runtime.quiet)

    @property
    def _folder(self) -> Path:
        return Path(self.settings.runtime.data_dir)
