"""Task ``barlow_twins``: an encoder learnt from two views of every pixel, without labels."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core import Network, Port, Run, Sample
from eozoo_core.task import Ports, Scores

from eozoo_barlow_twins.colours import Colours, load_colours
from eozoo_barlow_twins.pixel_task import PixelTask
from eozoo_barlow_twins.plugin import TWINS_SLOTS
from eozoo_barlow_twins.settings import BarlowSettings
from eozoo_barlow_twins.survey import PixelSurvey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eozoo_core.checking import Findings
    from eozoo_core.raster.files import Layer
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.scenes import Block
    from eozoo_core.task.train import Trainer
    from eozoo_core.task.windows import Drawn

    from eozoo_barlow_twins.maps import TileScene
    from eozoo_barlow_twins.pixels import PixelIndex, PixelSeries
    from eozoo_barlow_twins.step import TwinStep
    from eozoo_barlow_twins.system import TwinSystem


class BarlowTwinsTask(PixelTask):
    """Self-supervised encoder of Sentinel-2 pixel time series."""

    Settings: ClassVar = BarlowSettings
    Survey: ClassVar = PixelSurvey
    Fitted: ClassVar = Colours
    slots: ClassVar = TWINS_SLOTS
    presets: ClassVar = {"documented": Path(__file__).with_name("documented.yaml")}
    processes_differ: ClassVar = "the correlation of a whole batch is added up over processes in single precision"
    settings: BarlowSettings
    colours = Colours()  # of the maps being made
    _training = False  # which needs no labels: those that do not fit are no reason to stop

    @property
    def architecture(self) -> str:
        """Name of the encoder."""
        return self.settings.model.backbone.name

    def data(self, split: str) -> PixelSeries:
        """All usable pixels, without labels."""
        from eozoo_barlow_twins.pixels import PixelSeries

        data, seed = self.settings.data, self.settings.train.seed
        index, known = self.index(split), self.described()
        series = PixelSeries(index, known, seed, data.augment, data.val_samples, "", *self.divided)
        series.division = self.division
        return series

    def index(self, split: str) -> PixelIndex:
        """See `PixelTask.index`."""
        from eozoo_barlow_twins.pixels import PixelIndex, require_pixels, split_number

        index = PixelIndex(self.tiles, self.usable, split_number(split))
        require_pixels(index, split, self.tiles[0].path.parent)
        return index

    def survey(self, train: PixelSeries) -> PixelSurvey:
        """Bands with their statistics, and the encoder of the settings."""
        return self.expects().model_copy(update={"bands": train.surveyed()})

    def ports(self, survey: PixelSurvey) -> Ports:
        """A series in, its embedding out; embeddings of two trainings cannot be averaged."""
        from eozoo_core.task.build import shapes_alone

        length = shapes_alone(lambda: self.encoder(self.known(survey))).backbone.latent_dim
        return Ports(self.inputs(survey), (Port("embedding", f"B {length}", "1"),))

    def system(self, survey: PixelSurvey, fresh: bool) -> TwinSystem:
        """Encoder and projector."""
        from eozoo_barlow_twins.networks import projector
        from eozoo_barlow_twins.system import TwinSystem

        known, p = self.known(survey), self.settings.model.projector
        encoder = self.encoder(known, fresh)
        head = projector(encoder.backbone.latent_dim, p.width, p.hidden_layers, p.batch_norm)
        return TwinSystem(encoder, head, known, self.settings.infer)

    @cached_property
    def function(self) -> Any:
        """The registered loss of two views."""
        return self.build("loss", self.settings.model.loss)

    def loss(self, survey: PixelSurvey) -> Loss:
        """The registered loss, called with the projections of two views; see ``step``."""
        from eozoo_barlow_twins.step import pair_loss

        return pair_loss(self.function)

    def step(self, trainer: Trainer) -> TwinStep:
        """A loss of whole batches; it also validates, and watches for a collapse."""
        from eozoo_barlow_twins.step import TwinStep

        self._step = TwinStep(trainer, self.function)
        return self._step

    def validate(self, trainer: Trainer) -> dict[str, Any]:
        """The same statistic over views that are always the same."""
        return self._step.validate()

    def train(self, run: Run) -> None:
        """Pre-train; then map ``runtime.test_tile_path`` where it is given."""
        from eozoo_core.run.rank import is_first_process

        from eozoo_barlow_twins.tiles import Tile

        test = self.settings.runtime.test_tile_path
        if test is not None:
            Tile(Path(test))  # a wrong path is found now, not after the training
        self._training = True
        try:
            super().train(run)
        finally:
            self._training = False
        if test is not None and is_first_process():
            self.infer(run, Path(test), run.path / "test_tile")

    def fitted(self, run: Run) -> Colours:
        """False colours from training pixels, so that all maps of the run share them."""
        from eozoo_core.task.predict import open_draws

        from eozoo_barlow_twins.colours import fit_colours
        from eozoo_barlow_twins.evaluation import encode

        draws, index = open_draws(self, run, "infer"), self.index("train")
        (system,) = draws.systems.values()
        return fit_colours(encode(system, draws.device, index, index.spread(4096), draws.survey, self.settings.infer))

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt: loss and ranks of the views; where the tiles have labels, probes and raw-band baselines too.

        A randomly initialised encoder stands beside it. Writes RUN/eval_SPLIT/report.html and report.json.
        """
        from eozoo_barlow_twins.evaluation import evaluate_encoder

        self.remember(run)
        return evaluate_encoder(self, run, split, strict=not self._training)

    def layers(self, outputs: Sequence[Port], run: Run) -> Sequence[Layer]:
        """Embeddings as float32, as bytes with their scale, and as false colours: those that ``infer`` asks for."""
        from eozoo_core.task.predict import load_fitted

        from eozoo_barlow_twins.products import embedding_layers

        infer, length = self.settings.infer, int(outputs[0].axes.split()[1])
        named = infer.colours
        self.colours = load_fitted(run, self) if named is None else load_colours(Path(named), length)
        return embedding_layers(infer.products, length, lambda: self.colours)

    def map(self, drawn: Drawn, scene: TileScene) -> Iterator[Block]:
        """See `PixelTask.map`; a run that was stopped early has no colours: those of the first tile serve all."""
        from eozoo_barlow_twins.products import colours_of_maps

        for block in super().map(drawn, scene):
            if not self.colours.mean and "false_colour" in self.settings.infer.products:
                self.colours = colours_of_maps(scene, drawn.dest)
            yield block

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: TileScene, dest: Path) -> list[Path]:
        """The false colours as PNG, and statistics of the embedding as JSON."""
        from eozoo_barlow_twins.products import beside_embedding

        super().pictures(outputs, files, scene, dest)
        return beside_embedding(files, self.settings.infer.picture)

    def check(self, findings: Findings) -> None:
        """Tiles, masks, digital numbers, statistics, and what splits share."""
        from eozoo_core.checking import judge_schedule

        from eozoo_barlow_twins.checking import check_tiles, tell_probes

        s = self.settings
        judge_schedule(findings, s.train, check_tiles(s.runtime.data_dir, s.data, None, None, findings))
        tell_probes(self.where_scored(None), findings)

    def network(self, run: Run | None = None) -> Network:
        """The encoder; its projector is left behind after pre-training."""
        from eozoo_core.task.describe import count_parameters

        found, used = super().network(run), self.known(self.Survey())
        return replace(found, parameters=count_parameters(lambda: self.encoder(used)))

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Two small tiles of synthetic phenologies; see ``demo.phenology``."""
        from eozoo_barlow_twins.demo.phenology import pretrain_sample

        return pretrain_sample(root)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """The training curves; the maps' quick-looks lie beside the maps."""
        from eozoo_barlow_twins.pictures import training_curves

        return [training_curves(run, out / "training.png")]
