"""The task ``prithvi_refine``: optical images refined by Prithvi in 8 bit with LoRA and a ConvNeXt head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core import Port, Sample, Task
from eozoo_core.settings import Named
from eozoo_core.task import Ports

from eozoo_prithvi_refine.plugin import PAIR, SLOTS
from eozoo_prithvi_refine.settings import (
    BANDS,
    BIOMES,
    LOWVR,
    UNIT,
    DataSettings,
    ModelSettings,
    PrithviInferSettings,
    PrithviRuntimeSettings,
    PrithviSettings,
    PrithviTrainSettings,
)
from eozoo_prithvi_refine.survey import RefineSurvey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eozoo_core import Run
    from eozoo_core.checking import Expected, Findings, Separation, Split
    from eozoo_core.raster.assembly import Assembly
    from eozoo_core.raster.files import Layer
    from eozoo_core.task import Arrays, Scores
    from eozoo_core.task.contract import Baseline, Target
    from eozoo_core.task.scenes import Block, Scene
    from eozoo_core.task.train import Trainer
    from eozoo_core.task.windows import Drawn

    from eozoo_prithvi_refine.data import Tiles
    from eozoo_prithvi_refine.maps import Found
    from eozoo_prithvi_refine.refiner import Around
    from eozoo_prithvi_refine.scoring import RefineLoss, RefineScores
    from eozoo_prithvi_refine.step import Step
    from eozoo_prithvi_refine.system import RefineSystem


class PrithviRefine(Task):
    """Brings a rough optical image (blue, green, red, NIR; for example made from radar) nearer to a real one."""

    Settings: ClassVar = PrithviSettings
    Survey: ClassVar = RefineSurvey
    slots: ClassVar = SLOTS
    presets: ClassVar = {"lowvr": LOWVR}
    settings: PrithviSettings
    prepare_steps: ClassVar = {
        "tiles": "Sentinel-2 or HLS GeoTIFFs under prepare.source -> NPZ tiles in runtime.data_dir, split by place",
        "season_pairs": "tiles of several dates -> the date before as input, in runtime.stage1_dir",
    }

    def data(self, split: str) -> Tiles:
        """Tiles of a split, or of ``data.dataset``; with ``data.max_samples`` the first, of val a quarter as many."""
        return self._tiles(split, lenient=False)

    def data_to_check(self, split: str) -> Tiles:
        """The same, also where stage-1 outputs are missing."""
        return self._tiles(split, lenient=True)

    def has_split(self, split: str) -> bool:
        """Whether there is any tile of it."""
        from eozoo_prithvi_refine.data import has_tiles

        if self.settings.data.dataset is not None:
            return super().has_split(split)
        return has_tiles(self.settings.runtime.data_dir, split)

    def describe_splits(self, data: Mapping[str, Tiles]) -> tuple[list[Split], Separation]:
        """No target twice; places by name and, where tiles know it, by ground; times for the report."""
        from eozoo_prithvi_refine.checking import SEPARATION, split_of

        return [split_of(name, tiles) for name, tiles in data.items()], SEPARATION

    def survey(self, train: Tiles) -> RefineSurvey:
        """Bands of the input, a per-band affine fit and an unsharp mask."""
        from eozoo_prithvi_refine.baselines import survey_tiles

        return survey_tiles(train)

    def ports(self, survey: RefineSurvey) -> Ports:
        """A rough image with its month and biome in, the refined one out; ``_tl`` encoders take time and place too.

        What the input is scaled with is fixed: the statistics of Prithvi's pre-training.
        """
        from eozoo_prithvi_refine.refiner import input_statistics

        inputs = [
            Port("opt_v1", "B 4 H W", UNIT, BANDS, *input_statistics()),
            Port("month", "B", "1..12"),
            Port("biome", "B", f"0..{BIOMES - 1}"),
        ]
        model = self.settings.model
        if model.encoder.endswith("_tl"):
            inputs.append(Port("time", "B 2", "year, day of the year", optional=True))
            inputs.append(Port("location", "B 2", "degrees north, degrees east", optional=True))
        refined = Port("refined", "B 4 H W", "reflectance", BANDS, spread="moments")
        return Ports(tuple(inputs), (refined, Port("features", f"B {model.head_width} H W", "1")))

    @property
    def architecture(self) -> str:
        """Encoder and head."""
        model = self.settings.model
        parts = [model.encoder if model.encoder != "none" else "", model.context.name if model.context else ""]
        named = " and ".join(filter(None, parts))
        return f"{named} with a ConvNeXt head" if named else "ConvNeXt head"

    def system(self, survey: RefineSurvey, fresh: bool) -> RefineSystem:
        """The refiner without its discriminator."""
        from eozoo_prithvi_refine.system import build_system

        return build_system(self.settings.model, fresh, self._around(fresh))

    def loss(self, survey: RefineSurvey) -> RefineLoss:
        """The weighted losses that need no discriminator."""
        from eozoo_prithvi_refine.scoring import Criterion, RefineLoss

        train = self.settings.train
        named = {
            "spectral": (train.spectral_weight, train.spectral_loss),
            "identity": (train.identity_weight, train.identity_loss),
            "target": (train.target_weight, train.target_loss),
        }
        return RefineLoss(Criterion({n: (w, self.build("loss", part)) for n, (w, part) in named.items()}))

    def metrics(self, survey: RefineSurvey) -> RefineScores:
        """The document's table and PSNR; evaluation adds SSIM."""
        from eozoo_prithvi_refine.scoring import RefineScores

        return RefineScores(self.loss(survey).criterion)

    def targets(self) -> Mapping[str, Target]:
        """The document's table of quality metrics."""
        from eozoo_prithvi_refine.evaluation import TARGETS

        return TARGETS

    def baselines(self, survey: RefineSurvey) -> dict[str, Baseline]:
        """The input as it is, an affine fit and an unsharp mask."""
        from eozoo_prithvi_refine.baselines import predictors

        return predictors(survey.baselines)

    def optimizers(self, trainer: Trainer) -> None:
        """Train the refiner and, where it has a weight, its discriminator."""
        from eozoo_prithvi_refine.step import add_networks

        add_networks(trainer)

    def step(self, trainer: Trainer) -> Step:
        """Generator and discriminator on the same images; see `Step`."""
        from eozoo_prithvi_refine.step import Step

        return Step(trainer, self.loss(trainer.survey))

    def validate(self, trainer: Trainer) -> dict[str, Any]:
        """Score the validation tiles, and draw a few of them for TensorBoard."""
        from eozoo_core.task.train import validate

        from eozoo_prithvi_refine.pictures import Seen

        runtime = self.settings.runtime
        seen = Seen(runtime.pictures if runtime.tensorboard and trainer.fabric.is_global_zero else 0)
        return validate(self, trainer, seen) | seen.picture()

    def plan_notes(self) -> list[str]:
        """What the base is made of, and where inputs come from."""
        model, runtime = self.settings.model, self.settings.runtime
        base = f"base: {model.encoder}, {model.quantization}, weights {model.weights or 'random'}"
        degraded = "input: the target, degraded (runtime.stage1_dir is not given)"
        return [base] + ([degraded] if runtime.stage1_dir is None and self.settings.data.dataset is None else [])

    def expected(self) -> Expected:
        """Tiles have no labels: an image is compared with an image."""
        from eozoo_core.checking import Expected

        return Expected()

    def check(self, findings: Findings) -> None:
        """Tiles, months and biomes, stage-1 outputs, and what splits share."""
        from eozoo_prithvi_refine.checking import check

        check(self, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt, its input, an affine fit and an unsharp mask against the target; write a report."""
        from eozoo_prithvi_refine.evaluation import evaluate

        return evaluate(self, run, split)

    def check_inputs(self, arrays: Arrays) -> Arrays:
        """Refuse what is no reflectance, month, biome, day or place; NaN passes."""
        from eozoo_prithvi_refine.coordinates import check_batch

        check_batch(arrays)
        return arrays

    def example(self, inputs: Sequence[Port]) -> Arrays:
        """Two landscapes of the demo."""
        import numpy as np

        from eozoo_prithvi_refine.demo.landscape import landscape

        side = self.settings.infer.window
        codes = {"month": [6, 1], "biome": [4, 8], "time": [[2021, 166]] * 2, "location": [[48.9, 2.4]] * 2}
        arrays = {name: np.array(values, np.float32) for name, values in codes.items()}
        arrays["opt_v1"] = np.stack([landscape(7 + i, side, side, 6, 4) for i in range(2)])
        return {port.role: arrays[port.role] for port in inputs}

    reads_xarray = False

    def find_scenes(self, source: Path) -> list[Found]:
        """NPZ tiles and GeoTIFF scenes, in subfolders too."""
        from eozoo_prithvi_refine.maps import find

        return find(source)

    def open_scene(self, found: Found | Assembly, survey: RefineSurvey) -> Scene:
        """See `maps.open_scene`."""
        from eozoo_prithvi_refine.maps import open_scene

        return open_scene(found, self.settings)

    def map(self, drawn: Drawn, scene: Scene) -> Iterator[Block]:
        """Blended windows; features, 32 channels, only where they are asked for."""
        from eozoo_core.raster.tiles import Tiling
        from eozoo_core.task.windows import map_raster

        how = self.settings.infer
        tiling = Tiling(how.window, how.overlap, drawn.multiple)
        return map_raster(drawn, scene, tiling, () if how.features else ("features",))

    def write(self, drawn: Drawn, scene: Scene, dest: Path) -> list[Path]:
        """Write a refined tile, DEST/NAME.npz with opt_v2."""
        from eozoo_prithvi_refine.maps import write_tile

        return write_tile(drawn, scene, dest, self.settings)

    def layers(self, outputs: Sequence[Port], run: Run) -> list[Layer]:
        """NAME_refined.tif, and NAME_features.tif where it is asked for."""
        from eozoo_prithvi_refine.maps import layers_of

        return layers_of(outputs, self.settings.infer)

    def tags(self, run: Run) -> dict[str, str]:
        """The name of the run."""
        return {"RUN": run.path.name}

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: Scene, dest: Path) -> list[Path]:
        """The scene before and after in true colour, where ``infer.picture`` says so."""
        from eozoo_prithvi_refine.maps import draw

        return draw(files, scene, dest) if self.settings.infer.picture else []

    def _around(self, fresh: bool) -> Around | None:
        """The network that ``model.context`` names; one that takes values is told what the bands are."""
        from eozoo_prithvi_refine.refiner import Around

        part, width = self.settings.model.context, self.settings.model.head_width
        if part is None:
            return None
        takes = tuple(port.role for port in self.registry.chosen(self.slots["model.context"], part).takes)
        sizes = {"in_channels": len(BANDS), "outputs": width}
        if "values" in takes:
            sizes["bands"] = tuple((band, UNIT) for band in BANDS)
        return Around(self.build("model", part, sizes, fresh), takes, width)

    def _tiles(self, split: str, lenient: bool) -> Tiles:
        from eozoo_core.task.registered import Registered

        from eozoo_prithvi_refine.data import RefineTiles, most_of, split_files
        from eozoo_prithvi_refine.given_tiles import GivenTiles

        runtime, data, seed = self.settings.runtime, self.settings.data, self.settings.train.seed
        if data.dataset is not None:
            made = self.build("dataset", data.dataset, {"split": split})
            samples = Registered(made, f"data.dataset.name: {data.dataset.name}", PAIR)
            return GivenTiles(samples, data, seed, lenient, most_of(split, data))
        files = split_files(runtime.data_dir, split, data)
        tiles = RefineTiles(files, data, runtime.stage1_dir, seed, lenient)
        tiles.root = runtime.data_dir
        return tiles

    def prepare_tiles(self) -> list[Path]:
        """Cut products into tiles; see ``prepare.tiles.prepare_tiles``."""
        from eozoo_prithvi_refine.prepare.tiles import prepare_tiles

        with self.workers() as pool:
            return prepare_tiles(self.settings, pool)

    def prepare_season_pairs(self) -> list[Path]:
        """Pair each tile with the date before it; see ``prepare.tiles.prepare_season_pairs``."""
        from eozoo_prithvi_refine.prepare.tiles import prepare_season_pairs

        return prepare_season_pairs(self.settings)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write synthetic tiles and a scene; its settings train a small Prithvi on them within two minutes.

        The weights on the target and its edges are those of the runs on real tiles, beyond the document's.
        """
        import numpy as np

        from eozoo_prithvi_refine.demo.landscape import landscape, write_world

        world = write_world(root)
        settings = PrithviSettings(
            model=ModelSettings(encoder="prithvi_eo_nano", num_convnext_blocks=2, head_width=16),
            data=DataSettings(tile_size=64),
            train=PrithviTrainSettings(
                epochs=40,
                batch_size=4,
                accumulate=1,
                learning_rate=2e-3,
                validate_every=10,
                checkpoint_every=None,
                target_weight=5.0,
                target_loss=Named(name="identity_edge", options={"edge": 3.0}),
            ),
            # Tensors are small; on a busy machine threads that wait for each other take many times longer than one.
            runtime=PrithviRuntimeSettings(data_dir=world.data_dir, threads=1),
            infer=PrithviInferSettings(window=64, overlap=16, biome=4),
        )
        images = np.stack([landscape(4000 + i, 24, 24, 6, 4) for i in range(3)])
        codes = {"month": np.array([6.0, 1.0, 9.0]), "biome": np.array([4.0, 8.0, 12.0])}
        return Sample(settings, world.scene, {"opt_v1": images, **codes})

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw the report's tiles, and the scene before and after."""
        from eozoo_prithvi_refine.demo.pictures import draw_demo

        return draw_demo(run, sample, out)
