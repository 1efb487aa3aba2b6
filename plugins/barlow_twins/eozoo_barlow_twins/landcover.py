"""Task ``barlow_landcover``: land-cover classes of pixels from a pre-trained encoder."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core import Port, Run, Sample, ZooError
from eozoo_core.task import Ports, Scores
from eozoo_core.task.survey import BandSurvey

from eozoo_barlow_twins.labels import class_layer, class_names, class_values
from eozoo_barlow_twins.pixel_task import PixelTask
from eozoo_barlow_twins.plugin import LANDCOVER_SLOTS
from eozoo_barlow_twins.settings import Augment, BarlowSettings, LandCoverSettings
from eozoo_barlow_twins.survey import UNIT, ClassSurvey, PixelSurvey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from eozoo_core.checking import Findings
    from eozoo_core.raster.files import Layer
    from eozoo_core.task.baselines import Baseline
    from eozoo_core.task.contract import Loss
    from eozoo_core.task.data import Arrays
    from eozoo_core.task.folds import Fold
    from eozoo_core.task.train import Trainer

    from eozoo_barlow_twins.maps import TileScene
    from eozoo_barlow_twins.pixels import PixelIndex, PixelSeries
    from eozoo_barlow_twins.scores import ClassSums
    from eozoo_barlow_twins.system import ClassSystem


class LandCoverTask(PixelTask):
    """Land-cover maps from pixel time series."""

    Settings: ClassVar = LandCoverSettings
    Survey: ClassVar = ClassSurvey
    slots: ClassVar = LANDCOVER_SLOTS
    presets: ClassVar = {"documented": Path(__file__).with_name("documented_landcover.yaml")}
    settings: LandCoverSettings
    folded_by: Fold | None = None  # of cross-validation

    @property
    def architecture(self) -> str:
        """Names of encoder and head."""
        return f"{self.known(self.Survey()).backbone.name} with a {self.settings.model.head} classifier"

    def expects(self) -> ClassSurvey:
        """Bands and encoder of ``model.pretrained`` where it is there, else of the settings; classes of the legend."""
        known, data = super().expects(), self.settings.data
        with suppress(ZooError):  # a trained run outlives it: who opens its data is told
            known = self.pretrained or known
        legend = tuple(zip(class_values(data), class_names(data), strict=True))
        return ClassSurvey(**{name: getattr(known, name) for name in PixelSurvey.model_fields}, legend=legend)

    @cached_property
    def pretrained(self) -> PixelSurvey | None:
        """What the encoder of ``model.pretrained``, or of ``from_run``, was trained on; None without one.

        Raises ZooError where the settings say otherwise.
        """
        s = self.settings
        if s.model.pretrained is None:
            return self._survey_of_part()
        run = self._pretrained_run()
        kept = run.info().get("survey")
        if kept is None:
            raise ZooError(f"{run.path}: run.json describes no encoder; was it trained? 'eozoo train {run.task}'")
        survey = PixelSurvey.model_validate(kept)
        both = {"model.backbone": (s.model.backbone, survey.backbone), "data.bands": (s.data.bands, survey.names)}
        for name, (here, there) in both.items():
            if here is not None and here != there:
                raise ZooError(f"{name} is {here}, the encoder in {s.model.pretrained} has {there}; leave {name} null")
        return survey

    def described(self) -> ClassSurvey:
        """See `PixelTask.described`. Raises ZooError where ``model.pretrained`` is needed and cannot be used."""
        if self.survey_seen is None:
            self.pretrained  # noqa: B018 - raises
        return super().described()

    @cached_property
    def labels(self) -> list[np.ndarray]:
        """Class numbers of every tile."""
        return [class_layer(tile, self.settings.data) for tile in self.tiles]

    def data(self, split: str) -> PixelSeries:
        """Labelled pixels."""
        from eozoo_barlow_twins.pixels import MOST, PixelSeries

        data, seed = self.settings.data, self.settings.train.seed
        index, known = self.index(split), self.described()
        series = PixelSeries(index, known, seed, Augment(), MOST, data.labels, *self.divided)
        series.division, series.side, series.raw = self.division, data.block, self.folded_by is not None
        return series

    def folded(self, fold: Fold) -> LandCoverTask:
        """Blocks or fields of pixels in folds; labels are drawn among the pixels of the training fields."""
        from eozoo_core.task.folds import with_data

        if fold.by not in ("blocks", "fields"):
            raise ZooError(f"--cv {fold.by}: tiles are divided into fields (blocks.npy) or blocks; --cv fields")
        if fold.by == "fields" and not all(tile.has("blocks.npy") for tile in self.tiles):
            raise ZooError("--cv fields: a tile has no fields (blocks.npy); --cv blocks")
        data = self.settings.data
        made = {"folds": fold.folds, "fold": fold.number, "split_seed": fold.draw, "shares_of": "pixels"}
        made |= {"val_tiles": (), "test_tiles": (), "test_share": 1 / fold.folds, "label_share": fold.labels}
        found = type(self)(with_data(self.settings, **made, block=int(fold.block or data.block)), self.registry)
        found.folded_by = fold
        return found

    def covariates(self, batch: Arrays, survey: ClassSurvey) -> np.ndarray | None:
        """Gap-filled series, in cross-validation; see `evaluate` for other scores."""
        return batch.get("raw")

    def index(self, split: str) -> PixelIndex:
        """See `PixelTask.index`."""
        from eozoo_barlow_twins.pixels import PixelIndex, require_pixels, split_number

        index = PixelIndex(self.tiles, self.usable, split_number(split), self.labels)
        if split in ("train", "val"):
            index.thin(self.settings.data.label_share, self.settings.data.split_seed)
        require_pixels(index, split, self.tiles[0].path.parent)
        return index

    def survey(self, train: PixelSeries) -> ClassSurvey:
        """Bands and their statistics, those of the pre-trained encoder where there is one; labels of each class."""
        counts = train.index.class_counts(len(train.survey.legend))
        bands, known = train.survey.bands, self._survey_of_part()
        if known is not None:  # its scaling, and what this training saw
            pairs = zip(train.surveyed(), known.bands, strict=True)
            bands = tuple(own.model_copy(update={"mean": its.mean, "std": its.std}) for own, its in pairs)
        elif self.settings.model.pretrained is None:
            bands = train.surveyed()
        return train.survey.model_copy(update={"bands": bands, "counts": tuple(counts.tolist())})

    def ports(self, survey: ClassSurvey) -> Ports:
        """A series in; out the probability of each class of the legend, and the code of the likeliest (as in maps)."""
        legend = self.known(survey).legend
        names = tuple(name for _, name in legend)
        probabilities = Port("probabilities", f"B {len(names)}", "1", names, spread="probabilities")
        return Ports(
            self.inputs(survey),
            (probabilities, Port("class", "B", "class code", spread="class", of="probabilities", legend=legend)),
        )

    def system(self, survey: ClassSurvey, fresh: bool) -> ClassSystem:
        """Encoder and classifier; ``fresh``: the encoder has the weights of ``model.pretrained``."""
        from eozoo_barlow_twins.system import ClassSystem, make_head

        known, m = self.known(survey), self.settings.model
        encoder = self.encoder(known, fresh)
        head = make_head(m.head, encoder.backbone.latent_dim, len(known.legend), m.hidden, m.dropout)
        system = ClassSystem(encoder, head, known, self.settings.infer, m.trainable, m.last_layers)
        if fresh and m.pretrained is not None:
            from eozoo_core.run.checkpoint import load_module
            from eozoo_core.task.load import read_trained

            other = self._pretrained_run()
            weights = read_trained(other, other.settings).state
            state = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
            system.receipt = str(load_module(encoder, state, other.file("best")))
        return system

    def optimizers(self, trainer: Trainer) -> None:
        """Biases and norms have a rate of their own, and so has the classifier."""
        from eozoo_barlow_twins.step import add_pixel_model

        add_pixel_model(trainer, self.settings.train.head_rate)

    def loss(self, survey: ClassSurvey) -> Loss:
        """The registered loss over labelled pixels, and for the log the share of right ones."""
        from eozoo_core.score.classes import balanced
        from eozoo_core.task.loss import called_with

        part, extra = self.settings.model.loss, {}
        if self.settings.model.class_weights == "balanced":
            extra = {"weights": balanced(survey.counts)}
        registered = called_with(self.build("loss", part, extra), part.name, "logits", "target")

        def loss(raw: dict, batch: dict) -> dict:
            raw = {"logits": raw["logits"].float()}
            right = (raw["logits"].argmax(dim=1) == batch["target"]).sum()
            return registered(raw, batch) | {"accuracy": (right, len(batch["target"]))}

        return loss

    def metrics(self, survey: ClassSurvey) -> ClassSums:
        """Cross-entropy, accuracy and F1."""
        from eozoo_barlow_twins.scores import ClassSums

        return ClassSums(len(self.known(survey).legend))

    def baselines(self, survey: ClassSurvey) -> Mapping[str, Baseline]:
        """The most frequent class of the training labels."""
        from eozoo_barlow_twins.scores import most_frequent

        return most_frequent(survey.counts)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt on the labelled pixels of ``split``, beside the most frequent class and raw-band classifiers.

        Writes RUN/eval_SPLIT/report.html and report.json.
        """
        from eozoo_barlow_twins.evaluation import evaluate_classes

        self.remember(run)
        return evaluate_classes(self, run, split)

    def layers(self, outputs: Sequence[Port], run: Run) -> Sequence[Layer]:
        """A class map with names and colours, and probabilities: those that ``infer`` asks for."""
        from eozoo_barlow_twins.products import class_layers

        self.remember(run)
        return class_layers(self.settings.infer.products, self.known(self.Survey()), outputs)

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: TileScene, dest: Path) -> list[Path]:
        """The class map as PNG with its legend."""
        from eozoo_barlow_twins.pictures import map_picture
        from eozoo_barlow_twins.products import drawn_beside

        super().pictures(outputs, files, scene, dest)
        wanted = [files["classes"]] if self.settings.infer.picture and "classes" in files else []
        return drawn_beside([(file, file.with_suffix(".png"), map_picture) for file in wanted])

    def check(self, findings: Findings) -> None:
        """Tiles, masks, digital numbers, classes, the pre-trained encoder, and what splits share."""
        from eozoo_core.checking import judge_schedule

        from eozoo_barlow_twins.checking import check_tiles

        s, bands = self.settings, None
        with findings.guard("model.pretrained"):
            bands = self.pretrained.names if self.pretrained else None
        judge_schedule(findings, s.train, check_tiles(s.runtime.data_dir, self.usable, bands, s.data, findings))

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Two small tiles of synthetic phenologies with labels; see ``demo.phenology``."""
        from eozoo_barlow_twins.demo.phenology import landcover_sample

        return landcover_sample(root)

    def _survey_of_part(self) -> PixelSurvey | None:
        """Bands and statistics of the run that ``model.backbone`` takes its encoder from; None where it takes none."""
        backbone, known = self.settings.model.backbone, super().expects()
        if backbone is None or self.registry is None:
            return None
        port = next((p for p in self.registry.chosen(self.slots["model.backbone"], backbone).takes if p.mean), None)
        if port is None:
            return None
        if self.settings.data.bands not in (None, port.bands):
            raise ZooError(f"data.bands is {self.settings.data.bands}, the encoder has {port.bands}; leave it null")
        rows = zip(port.bands, port.mean, port.std, strict=True)
        bands = tuple(BandSurvey(name=name, unit=UNIT, mean=mean, std=std, count=1) for name, mean, std in rows)
        return known.model_copy(update={"bands": bands})

    def _pretrained_run(self) -> Run:
        return Run.open(Path(self.settings.model.pretrained), BarlowSettings, "barlow_twins")
