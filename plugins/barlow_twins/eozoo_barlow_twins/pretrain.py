"""Task ``barlow_twins``: an encoder learnt from two views of every pixel, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core import Graph, Network, Plan, Port, Run, Sample, Task, ZooError
from eozoo_core.raster.georeference import note_area
from eozoo_core.task import Predictor, Scores

from eozoo_barlow_twins.encoders import EncoderInfo, build_encoder, create, predict_batch
from eozoo_barlow_twins.plugin import TWINS_SLOTS
from eozoo_barlow_twins.prepare.steps import Preparation
from eozoo_barlow_twins.settings import BarlowSettings
from eozoo_barlow_twins.tile_overlap import require_separate_tiles
from eozoo_barlow_twins.training import memory_of, open_pixels, optimizer_for

if TYPE_CHECKING:
    from eozoo_core.checking import Findings


class BarlowTwinsTask(Preparation, Task):
    """Self-supervised encoder of Sentinel-2 pixel time series."""

    Settings = BarlowSettings
    slots = TWINS_SLOTS
    tolerates_gaps = ("bands",)

    def outputs(self) -> dict[str, str]:
        """The embedding of a pixel, a vector of plain numbers."""
        return {"embedding": "1"}

    def train(self, run: Run) -> None:
        """Pre-train; then fit the false colours, and map ``runtime.test_tile_path`` where it is given."""
        from eozoo_core.train.fit import fit
        from eozoo_core.train.launch import launch
        from eozoo_core.train.schedule import make_scheduler

        from eozoo_barlow_twins.batches import PixelBatches, PixelIndex
        from eozoo_barlow_twins.splits import TRAIN
        from eozoo_barlow_twins.steps import TwinSteps, validation, view_maker
        from eozoo_barlow_twins.twins import encoder_info, make_twins

        s = self.settings
        if s.runtime.test_tile_path is not None:
            from eozoo_barlow_twins.tiles import Tile

            Tile(Path(s.runtime.test_tile_path))  # a wrong path is found now, not after the training
        fabric = launch(run)
        pixels = open_pixels(s.runtime.data_dir, s.data)
        require_separate_tiles(pixels.tiles, s.data)
        run.check_data([f for t in pixels.tiles for f in t.files], Path(s.runtime.data_dir))
        info = encoder_info(self.settings, pixels)
        info.note(run)
        note_area(run, (tile.grid for tile in pixels.tiles))
        model = make_twins(s, self.registry, info, pixels)
        if s.runtime.compile:
            model.encoder.backbone.compile()
        loss = create(self.registry, "loss", s.model.loss, {})
        model, optimizer = fabric.setup(model, optimizer_for(model, s.train))
        index = PixelIndex(pixels.tiles, s.data, TRAIN)
        batches = PixelBatches(view_maker(index, pixels, s, s.data.augment), s.train.batch_size, fabric, s.runtime)
        schedule = make_scheduler([optimizer], s.train, len(batches))
        steps = TwinSteps(run, fabric, model, optimizer, loss)
        validate = validation(run, fabric, model, loss, pixels, steps.watch)
        fit(
            run, fabric, {"model": model, "optimizer": optimizer, "scheduler": schedule}, batches, steps, validate
        )  # fmt: skip
        if fabric.is_global_zero:
            self._finish(run, index)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt: loss and ranks of the views; where the tiles have labels, probes and raw-band baselines too.

        A randomly initialised encoder stands beside it. Writes RUN/eval_SPLIT/report.html and report.json.
        """
        from eozoo_barlow_twins.evaluation import evaluate_encoder

        return evaluate_encoder(run, self.settings, self.registry, split)

    def predictor(self, run: Run) -> Predictor:
        """bands (N, T, C) and doys (N, T) in, embedding (N, D) out; see ``encoders.predict_batch``."""
        from eozoo_barlow_twins.twins import series_encoder

        encoder = series_encoder(run, self.settings, self.registry)
        channels = len(EncoderInfo.of(run).bands)
        return lambda batch: {"embedding": predict_batch(encoder, batch, channels)}

    def graph(self, run: Run) -> Graph:
        """Series of any length to embeddings, choice of dates and standardisation included."""
        from eozoo_barlow_twins.graphs import Embedded, series_graph, whole_series
        from eozoo_barlow_twins.twins import trained_twins

        encoder = trained_twins(run, self.settings, self.registry).encoder
        mean = encoder.standardise.mean.numpy()
        return series_graph(Embedded(whole_series(encoder, run, self.settings.infer)), run, mean, {"embedding": ""})

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Map a tile folder, or every tile of a folder: embeddings (float32, int8) and false colours, with PNGs."""
        from eozoo_barlow_twins.maps import find_tiles
        from eozoo_barlow_twins.products import embedding_maps
        from eozoo_barlow_twins.twins import series_encoder

        tiles = find_tiles(source)
        return embedding_maps(run, series_encoder(run, self.settings, self.registry), tiles, dest)

    def check(self, findings: Findings) -> None:
        """Tiles, masks, digital numbers, statistics, and what splits share."""
        from eozoo_core.checking import judge_schedule

        from eozoo_barlow_twins.checking import check_tiles, tell_probes

        s = self.settings
        judge_schedule(findings, s.train, check_tiles(s.runtime.data_dir, s.data, None, None, findings))
        tell_probes(s.runtime.data_dir, s.data, s.eval.labels, findings)

    def plan(self, run: Run) -> Plan:
        """Look at data and model."""
        from eozoo_core.train.launch import resolve_device
        from eozoo_core.train.schedule import plan_steps

        from eozoo_barlow_twins.batches import PixelIndex
        from eozoo_barlow_twins.splits import SPLITS
        from eozoo_barlow_twins.twins import encoder_info, make_twins

        s = self.settings
        pixels = open_pixels(s.runtime.data_dir, s.data)
        require_separate_tiles(pixels.tiles, s.data)
        info = encoder_info(self.settings, pixels)
        model = make_twins(s, self.registry, info, pixels)
        counts = {name: len(PixelIndex(pixels.tiles, s.data, kind)) for name, kind in SPLITS.items()}
        if counts["train"] < 2:
            raise ZooError(f"{s.runtime.data_dir}: no usable training pixel; lower data.min_valid or look at masks.npy")
        times = plan_steps(s.train, counts["train"])
        views = 3 if s.data.augment.mixup else 2
        loss = create(self.registry, "loss", s.model.loss, {})
        memory = memory_of(
            model, lambda given: loss.parts(*given[1].chunk(views)[:2]).total, info,
            views * min(s.train.batch_size, counts["train"]), s.train, resolve_device(s.runtime.device),
        )  # fmt: skip
        data = {
            "tiles": f"{len(pixels.tiles)} in {pixels.tiles[0].path.parent}, bands {' '.join(pixels.bands)}",
            "pixels": ", ".join(f"{name} {count:,}" for name, count in counts.items()),
        }
        return Plan.of(data, [model], times, memory)

    def network(self, run: Run | None = None) -> Network:
        """The encoder; its projector is left behind after pre-training. Untrained: for 11 bands, its default."""
        from eozoo_core.task.describe import count_parameters

        from eozoo_barlow_twins.encoders import series_ports
        from eozoo_barlow_twins.twins import make_twins, trained_twins

        data, backbone = self.settings.data, self.settings.model.backbone
        bands = data.bands or tuple(f"band_{i + 1}" for i in range(11))
        info = EncoderInfo(backbone, bands, data.sample_size, data.min_valid) if run is None else EncoderInfo.of(run)
        standardise = None if run is None else trained_twins(run, self.settings, self.registry).encoder.standardise
        shown = info if run is not None or data.bands else None
        latent = make_twins(self.settings, self.registry, info, None).encoder.backbone.latent_dim
        return Network(
            architecture=info.backbone.name,
            parameters=count_parameters(lambda: build_encoder(self.registry, info)),
            inputs=series_ports(shown, standardise),
            outputs=(Port("embedding", f"B {latent}", "1"),),
        )

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Two small tiles of synthetic phenologies; see ``demo.phenology``."""
        from eozoo_barlow_twins.demo.phenology import pretrain_sample

        return pretrain_sample(root)

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """The training curves; the maps' quick-looks lie beside the maps."""
        from eozoo_barlow_twins.pictures import training_curves

        return [training_curves(run, out / "training.png")]

    def _finish(self, run: Run, index: Any) -> None:
        """After training: false colours from training pixels, and the test tile."""
        from eozoo_barlow_twins.colours import COLOURS, fit_colours, save_colours
        from eozoo_barlow_twins.maps import encode_numbers
        from eozoo_barlow_twins.twins import series_encoder

        encoder = None
        if not (run.path / COLOURS).exists():
            encoder = series_encoder(run, self.settings, self.registry)
            embedding = encode_numbers(encoder, index, index.spread(4096), EncoderInfo.of(run).bands)
            save_colours(run.path / COLOURS, fit_colours(embedding))
        test = self.settings.runtime.test_tile_path
        if test is not None and not (run.path / "test_tile").exists():
            from eozoo_barlow_twins.products import embedding_maps
            from eozoo_barlow_twins.tiles import Tile

            encoder = encoder or series_encoder(run, self.settings, self.registry)
            embedding_maps(run, encoder, [Tile(Path(test))], run.path / "test_tile")
