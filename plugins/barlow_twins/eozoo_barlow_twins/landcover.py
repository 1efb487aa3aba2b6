"""Task ``barlow_landcover``: land-cover classes of pixels from a pre-trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import Graph, Network, Plan, Port, Run, Sample, Task, ZooError
from eozoo_core.raster.georeference import note_area
from eozoo_core.settings import Named
from eozoo_core.task import Predictor, Scores

from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder, build_encoder, create, predict_batch
from eozoo_barlow_twins.labels import class_layer, class_names, class_values
from eozoo_barlow_twins.plugin import LANDCOVER_SLOTS
from eozoo_barlow_twins.prepare.steps import Preparation
from eozoo_barlow_twins.settings import Augment, LandCoverSettings
from eozoo_barlow_twins.tile_overlap import require_separate_tiles
from eozoo_barlow_twins.training import Pixels, memory_of, open_pixels, optimizer_for

if TYPE_CHECKING:
    from eozoo_core.checking import Findings


class LandCoverTask(Preparation, Task):
    """Land-cover maps from pixel time series."""

    Settings = LandCoverSettings
    slots = LANDCOVER_SLOTS
    tolerates_gaps = ("bands",)

    def outputs(self) -> dict[str, str]:
        """Probability per class, in the order of the legend, and the code of the most probable class (as in maps)."""
        return {"probabilities": "1", "class": "class code"}

    def train(self, run: Run) -> None:
        """Fine-tune (or train from scratch where ``model.pretrained`` is null)."""
        from eozoo_core.train.fit import fit
        from eozoo_core.train.launch import launch
        from eozoo_core.train.schedule import make_scheduler
        from eozoo_core.train.step import pooled_step

        from eozoo_barlow_twins.batches import PixelBatches, PixelIndex, ViewMaker
        from eozoo_barlow_twins.splits import TRAIN

        s = self.settings
        fabric = launch(run)
        info, pixels, labels = self._open(run)
        require_separate_tiles(pixels.tiles, s.data)
        run.check_data([f for t in pixels.tiles for f in [*t.files, t.path / s.data.labels]], Path(s.runtime.data_dir))
        info.note(run)
        note_area(run, (tile.grid for tile in pixels.tiles))
        model = self._trained_encoder(run, info, pixels)
        if s.runtime.compile:
            model.encoder.backbone.compile()
        index = PixelIndex(pixels.tiles, s.data, TRAIN, labels)
        loss = self._loss(index, labels)
        model, optimizer = fabric.setup(model, optimizer_for(model, s.train))
        maker = ViewMaker(
            index, pixels.bands, info.sample_size, 1, s.train.seed, Augment(), pixels.statistics, labels
        )  # fmt: skip
        batches = PixelBatches(_Counted(maker), s.train.batch_size, fabric, s.runtime)
        schedule = make_scheduler([optimizer], s.train, len(batches))

        def loss_sum(batch: dict[str, Any]) -> tuple[Any, Any]:
            logits = model(batch["bands"][0], batch["doys"][0])
            total, count = loss(logits.float(), batch["target"])
            right = (logits.argmax(dim=1) == batch["target"]).sum()
            return total, {"loss": (total, count), "accuracy": (right, count)}

        fit(
            run, fabric, {"model": model, "optimizer": optimizer, "scheduler": schedule}, batches,
            lambda micro, step: pooled_step(fabric, model, optimizer, s.train, micro, loss_sum),
            self._validation(fabric, model, info, pixels, labels),
        )  # fmt: skip

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt on the labelled pixels of ``split``, beside the most frequent class and raw-band classifiers.

        Writes RUN/eval_SPLIT/report.html and report.json.
        """
        from eozoo_barlow_twins.landcover_scores import evaluate_landcover

        return evaluate_landcover(run, self._trained(run, "eval"), *self._open(run), split)

    def predictor(self, run: Run) -> Predictor:
        """bands (N, T, C) and doys (N, T) in; probabilities (N, K) and class (N,) out, NaN where too few are clear."""
        encoder = self.series_encoder(run)
        channels = len(EncoderInfo.of(run).bands)
        codes = np.array(class_values(run.settings.data), np.float32)

        def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            probabilities = predict_batch(encoder, batch, channels)
            missing = np.isnan(probabilities[:, 0])
            best = codes[np.nan_to_num(probabilities).argmax(axis=1)]
            return {"probabilities": probabilities, "class": np.where(missing, np.float32(np.nan), best)}

        return predict

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Map a tile folder, or every tile of a folder: class map with names and colours, class probabilities."""
        from eozoo_barlow_twins.maps import find_tiles
        from eozoo_barlow_twins.products import class_maps

        tiles = find_tiles(source)
        return class_maps(run, self.series_encoder(run), tiles, dest, run.settings.data)

    def check(self, findings: Findings) -> None:
        """Tiles, masks, digital numbers, classes, the pre-trained encoder, and what splits share."""
        from eozoo_core.checking import judge_schedule

        from eozoo_barlow_twins.checking import check_tiles

        s, bands = self.settings, None
        with findings.guard("model.pretrained"):
            info = self._encoder_info()
            bands = info.bands if info else None
        judge_schedule(findings, s.train, check_tiles(s.runtime.data_dir, s.data, bands, s.data, findings))

    def plan(self, run: Run) -> Plan:
        """Look at data and model."""
        from eozoo_core.train.launch import resolve_device
        from eozoo_core.train.schedule import plan_steps

        from eozoo_barlow_twins.batches import PixelIndex
        from eozoo_barlow_twins.splits import SPLITS

        s = self.settings
        info, pixels, labels = self._open(run)
        require_separate_tiles(pixels.tiles, s.data)
        model = self._trained_encoder(run, info, pixels)
        counts = {name: len(PixelIndex(pixels.tiles, s.data, kind, labels)) for name, kind in SPLITS.items()}
        if counts["train"] < 2:
            raise ZooError(f"{s.runtime.data_dir}: no usable labelled training pixel; check labels and data.min_valid")
        times = plan_steps(s.train, counts["train"])
        samples, device = min(s.train.batch_size, counts["train"]), resolve_device(s.runtime.device)
        memory = memory_of(model, lambda logits: logits.float().square().sum(), info, samples, s.train, device)
        data = {
            "tiles": f"{len(pixels.tiles)} in {pixels.tiles[0].path.parent}, bands {' '.join(pixels.bands)}",
            "labelled pixels": ", ".join(f"{name} {count:,}" for name, count in counts.items()),
            "classes": ", ".join(class_names(s.data)),
        }
        return Plan.of(data, [model], times, memory)

    def network(self, run: Run | None = None) -> Network:
        """Encoder and classifier. Untrained: for the encoder's default of 11 bands, or that of ``pretrained``."""
        from eozoo_core.task.describe import count_parameters

        from eozoo_barlow_twins.encoders import series_ports

        s = self.settings
        known = EncoderInfo.of(run) if run is not None else self._encoder_info()
        backbone, bands = s.model.backbone or Named(name="btfm_transformer"), s.data.bands or ("band",) * 11
        info = known or EncoderInfo(backbone, bands, s.data.sample_size, s.data.min_valid)
        standardise = None if run is None else self._trained(run, None, "cpu").encoder.standardise
        names, codes = class_names(s.data), class_values(s.data)
        return Network(
            architecture=f"{info.backbone.name} with a {s.model.head} classifier",
            parameters=count_parameters(lambda: self._model(info)),
            inputs=series_ports(known, standardise),
            outputs=(Port("probabilities", f"B {len(names)}", "1"), Port("class", "B", "class code")),
            classes=dict(zip(codes, names, strict=True)),
            pretrained=None if run is None else run.info().get("pretrained"),
        )

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Two small tiles of synthetic phenologies with labels; see ``demo.phenology``."""
        from eozoo_barlow_twins.demo.phenology import landcover_sample

        return landcover_sample(root)

    def graph(self, run: Run) -> Graph:
        """Series of any length to probabilities and class codes, choice of dates and standardisation included."""
        from eozoo_barlow_twins.graphs import Classified, Probabilities, series_graph, whole_series

        model, data = self._trained(run, None, "cpu"), run.settings.data
        codes, series = class_values(data), whole_series(Probabilities(model), run, self.settings.infer)
        legend = ", ".join(f"{code} {name}" for code, name in zip(codes, class_names(data)))
        mean = model.encoder.standardise.mean.numpy()
        about = {"probabilities": f"of the classes {legend}", "class": "code of the most probable"}
        return series_graph(Classified(series, codes), run, mean, about)

    def series_encoder(self, run: Run) -> SeriesEncoder:
        """The trained classifier's probabilities on whole series (best.pt, strictly loaded)."""
        import torch
        from eozoo_core.train.launch import resolve_device

        device, info = resolve_device(self.settings.runtime.device), EncoderInfo.of(run)
        model = self._trained(run, "infer")
        classes = len(class_names(run.settings.data))
        return SeriesEncoder(
            lambda bands, doys: torch.softmax(model(bands, doys).float(), dim=1), classes, info,
            self.settings.infer, device,
        )  # fmt: skip

    def _trained(self, run: Run, scope: str | None, device: str | None = None) -> Any:
        """The classifier of best.pt; see ``load_trained``."""
        from eozoo_core.task.load import load_trained

        return load_trained(run, self.settings, lambda _: self._model(EncoderInfo.of(run)), scope, device)[0]

    def _open(self, run: Run) -> tuple[EncoderInfo, Pixels, list[np.ndarray]]:
        """Encoder, pixels and class layers. What the run knows of its encoder already is not asked of another run."""
        s = self.settings
        info = EncoderInfo.of(run) if "encoder" in run.info() else self._encoder_info()
        pixels = open_pixels(s.runtime.data_dir, s.data, info.bands if info else None)
        info = info or EncoderInfo(
            s.model.backbone or Named(name="btfm_transformer"), pixels.bands, s.data.sample_size, s.data.min_valid
        )
        return info, pixels, [class_layer(tile, s.data) for tile in pixels.tiles]

    def _encoder_info(self) -> EncoderInfo | None:
        """The encoder of ``model.pretrained``; None without one. Raises ZooError where the settings say otherwise."""
        s = self.settings
        if s.model.pretrained is None:
            return None
        from eozoo_barlow_twins.pretrain import BarlowTwinsTask

        other = Run.open(Path(s.model.pretrained), BarlowTwinsTask.Settings, "barlow_twins")
        info = EncoderInfo.of(other)
        both = {"model.backbone": (s.model.backbone, info.backbone), "data.bands": (s.data.bands, info.bands)}
        for name, (here, there) in both.items():
            if here is not None and here != there:
                raise ZooError(f"{name} is {here}, the encoder in {s.model.pretrained} has {there}; leave {name} null")
        return info

    def _model(self, info: EncoderInfo) -> Any:
        from eozoo_barlow_twins.classifier import Classifier, make_head

        m = self.settings.model
        encoder = build_encoder(self.registry, info)
        classes = len(class_names(self.settings.data))
        head = make_head(m.head, encoder.backbone.latent_dim, classes, m.hidden, m.dropout)
        return Classifier(encoder, head, m.trainable, m.last_layers)

    def _trained_encoder(self, run: Run, info: EncoderInfo, pixels: Pixels) -> Any:
        """The model at the start of training: encoder of ``model.pretrained`` with its statistics, or a new one."""
        import torch

        model = self._model(info)
        if self.settings.model.pretrained is None or run.has("current"):
            model.encoder.standardise.mean.copy_(torch.from_numpy(pixels.mean))
            model.encoder.standardise.std.copy_(torch.from_numpy(pixels.std))
            return model
        from eozoo_core.run.checkpoint import load_module
        from eozoo_core.task.load import read_trained

        from eozoo_barlow_twins.pretrain import BarlowTwinsTask

        other = Run.open(Path(self.settings.model.pretrained), BarlowTwinsTask.Settings, "barlow_twins")
        weights = read_trained(other, other.settings).state
        state = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
        receipt = load_module(model.encoder, state, other.file("best"))
        if run.path.exists():
            run.note("pretrained", str(receipt))
        return model

    def _loss(self, index: Any, labels: list[np.ndarray]) -> Any:
        m = self.settings.model
        if m.class_weights == "none":
            return create(self.registry, "loss", m.loss, {})
        counts = np.zeros(len(class_names(self.settings.data)))
        for number, _, pixels in index.groups(np.arange(len(index))):
            counts += np.bincount(labels[number].reshape(-1)[pixels], minlength=len(counts))
        there = counts > 0
        weights = np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 0.0)
        return create(self.registry, "loss", m.loss, {"weights": weights.tolist()})

    def _validation(self, fabric: Any, model: Any, info: EncoderInfo, pixels: Pixels, labels: list[np.ndarray]) -> Any:
        from eozoo_barlow_twins.landcover_scores import class_scores

        s = self.settings
        if not s.data.val_share and not s.data.val_tiles:
            return None
        return lambda: class_scores(model, fabric.device, info, s, pixels, labels, "val")[0]


class _Counted:
    """A view maker whose batches carry their number of labelled pixels, as ``pooled_step`` wants it."""

    def __init__(self, maker: Any):
        self._maker, self.index, self.seed = maker, maker.index, maker.seed

    def __call__(self, numbers: np.ndarray, epoch: int) -> dict[str, Any]:
        return {**self._maker(numbers, epoch), "count": len(numbers)}
