"""What both tasks share: tiles, ports, the choice of dates, and maps of tiles."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from eozoo_core import Graph, Network, Port, Run, Task, ZooError
from eozoo_core.task.task import Predictor

from eozoo_barlow_twins.prepare.steps import Preparation
from eozoo_barlow_twins.survey import PixelSurvey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eozoo_core.checking import Separation, Split
    from eozoo_core.checking.division import Division
    from eozoo_core.task import Arrays, Scores
    from eozoo_core.task.data import Data
    from eozoo_core.task.scenes import Block
    from eozoo_core.task.train import Trainer
    from eozoo_core.task.windows import Drawn

    from eozoo_barlow_twins.maps import TileScene
    from eozoo_barlow_twins.networks import Encoder
    from eozoo_barlow_twins.pixels import PixelIndex
    from eozoo_barlow_twins.settings import PixelData
    from eozoo_barlow_twins.tiles import Tile


class PixelTask(Preparation, Task):
    """A network of pixel time series, trained on tiles."""

    tolerates_gaps: ClassVar = ("bands",)
    away = False  # whether the data are those of another place, see `where_scored`
    survey_seen: PixelSurvey | None = None  # of the run at hand, so that another run is not asked for it

    @cached_property
    def tiles(self) -> list[Tile]:
        """The tiles of the settings, opened once."""
        from eozoo_barlow_twins.pixels import open_checked

        return open_checked(self.settings.runtime.data_dir, self.settings.data)

    @property
    def validates(self) -> bool:
        """Whether the settings keep pixels for validation."""
        return bool(self.settings.data.val_share or self.settings.data.val_tiles)

    def has_split(self, split: str) -> bool:
        """Whether the settings keep pixels for it, and there are any."""
        data = self.settings.data
        kept = {"val": self.validates, "test": bool(data.test_share or data.test_tiles)}
        return kept.get(split, True) and super().has_split(split)

    def expects(self) -> PixelSurvey:
        """Return what settings alone say of bands and encoder."""
        data, unseen = self.settings.data, self.Survey()
        named = tuple(unseen.bands[0].model_copy(update={"name": name}) for name in data.bands or unseen.names)
        backbone = self.settings.model.backbone or unseen.backbone
        return self.Survey(bands=named, backbone=backbone, sample_size=data.sample_size, min_valid=data.min_valid)

    def remember(self, run: Run) -> None:
        """Take bands and encoder from a run that knows them: the data's, or those of a run that is gone by now."""
        from eozoo_core.task.ensemble import member_runs

        if kept := member_runs(run, self.settings)[0].info().get("survey"):
            self.survey_seen = self.Survey.model_validate(kept)

    def known(self, survey: PixelSurvey) -> PixelSurvey:
        """Return ``survey``, or for one of no data what is known without any."""
        return survey if survey.seen else self.survey_seen or self.expects()

    def described(self) -> PixelSurvey:
        """Return bands (without statistics) and encoder of the tiles. Raises ZooError for a tile that lacks a band."""
        known = self.survey_seen or self.expects()
        names = known.names if known.seen else self.settings.data.bands or self.tiles[0].band_names
        for tile in self.tiles:
            tile.select(names)
        band = PixelSurvey().bands[0]
        kept = known.bands if known.seen else tuple(band.model_copy(update={"name": name}) for name in names)
        return known.model_copy(update={"bands": kept})

    @property
    def usable(self) -> PixelData:
        """Settings of the data, with the fewest clear dates that the encoder was made for."""
        return self.settings.data.model_copy(update={"min_valid": self.known(self.Survey()).min_valid})

    @property
    def divided(self) -> tuple[bool, tuple[str, ...]]:
        """Whether tiles are divided between the splits, and the tiles that are whole in another than training."""
        data = self.settings.data
        return data.val_share + data.test_share > 0, (*data.val_tiles, *data.test_tiles)

    @property
    def division(self) -> Division | None:
        """What the division of tiles into blocks came to; None of another place, which nothing was learned of."""
        from eozoo_barlow_twins.splits import division_of

        return None if self.away else division_of(self.tiles, self.usable)

    def index(self, split: str) -> PixelIndex:
        """Return the usable pixels of a split. Raises ZooError where there are too few."""
        raise NotImplementedError

    def describe_splits(self, data: Mapping[str, Data]) -> tuple[list[Split], Separation]:
        """Compare the ground of tiles; within one, splits are blocks of pixels."""
        from eozoo_barlow_twins.tile_overlap import describe_tiles

        return describe_tiles(self.tiles, self.settings.data)

    def encoder(self, survey: PixelSurvey, fresh: bool = False) -> Encoder:
        """Build the encoder; its embedding size is ``encoder.backbone.latent_dim``. ``fresh``: see `Contract.build`."""
        from eozoo_barlow_twins.networks import Encoder

        extra = {"in_channels": len(survey.bands), "sample_size": survey.sample_size}
        takes = [port.role for port in self.registry.chosen(self.slots["model.backbone"], survey.backbone).takes]
        if "values" in takes and survey.seen:
            extra["bands"] = survey.names
        encoder = Encoder(self.build("model", survey.backbone, extra, fresh), len(survey.bands), takes)
        if not isinstance(getattr(encoder.backbone, "latent_dim", None), int):
            encoder.backbone.latent_dim = encoder.length(survey.sample_size)
        return encoder

    def inputs(self, survey: PixelSurvey) -> tuple[Port, Port]:
        """Series of any length; the bands where they are known, statistics of data seen."""
        statistics = (survey.mean, survey.std) if survey.seen else ()
        names = survey.names if survey.seen or self.settings.data.bands else ()
        return (
            Port("bands", "B T C", "reflectance x 10000, NaN = not clear", names, *statistics),
            Port("doys", "B T", "day of year 1..366", dtype="int64"),
        )

    def optimizers(self, trainer: Trainer) -> None:
        """Biases and norms have a rate of their own."""
        from eozoo_barlow_twins.step import add_pixel_model

        add_pixel_model(trainer)

    def predictor(self, run: Run) -> Predictor:
        """ "masks" (N, T), 1 = clear, may be given too: they hide dates as NaN in all bands does."""
        predict = super().predictor(run)

        def masked(batch: Arrays) -> Arrays:
            if "masks" not in batch:
                return predict(batch)
            rest = {name: values for name, values in batch.items() if name != "masks"}
            clear = np.asarray(batch["masks"]) != 0
            return predict({**rest, "bands": np.where(clear[..., None], batch["bands"], np.float32(np.nan))})

        return masked

    def network(self, run: Run | None = None) -> Network:
        """See `Task.network`."""
        if run is not None:
            self.remember(run)
        return super().network(run)

    def check_inputs(self, arrays: Arrays) -> Arrays:
        """Refuse days that are none."""
        doys = arrays["doys"]
        if doys.size and (doys.min() < 1 or doys.max() > 366):
            raise ZooError(f"predict: doys hold {doys.min()} to {doys.max()}; a day of year is 1..366")
        return arrays

    def graph(self, run: Run) -> Graph:
        """Random dates are no function of the input."""
        if self.settings.infer.selection != "even":
            raise ZooError(f"{run.path}: random dates cannot be exported; add --set infer.selection=even")
        self.remember(run)
        return super().graph(run)

    def score(self, run: Run, split: str, on_unlike: str | None = None) -> Scores:
        """See `Task.score`; its bands are those of the run, its place that of ``eval``."""
        place = self.where_scored(run, split)
        return super(PixelTask, place).score(run, split, on_unlike)

    def scored_on(self, run: Run, split: str) -> dict[str, Any]:
        """See `Task.scored_on`."""
        return super(PixelTask, self.where_scored(run, split)).scored_on(run, split)

    def where_scored(self, run: Run | None, split: str = "test") -> PixelTask:
        """Return this task, or the same with the data of the other place that ``eval`` names.

        There, tiles are divided as they would be for training; "all" are all pixels of it. Raises ZooError for "all" of
        the place that was trained on.
        """
        s, e = self.settings, self.settings.eval
        if split == "all" and not e.elsewhere:
            raise ZooError("split all: holds what was trained on; name another place with eval.tiles or eval.data_dir")
        if run is not None:
            self.remember(run)
        if not e.elsewhere:
            return self
        data = {"dataset": e.dataset or s.data.dataset, "tiles": e.tiles, "val_tiles": (), "test_tiles": ()}
        data |= {} if s.data.test_share else {"test_share": type(s.data).model_fields["test_share"].default}
        runtime = s.runtime.model_copy(update={"data_dir": e.data_dir or s.runtime.data_dir})
        moved = {"data": s.data.model_copy(update=data), "runtime": runtime}
        there = type(self)(s.model_copy(update=moved), self.registry)
        there.survey_seen, there.away = self.survey_seen, True
        return there

    def train(self, run: Run) -> None:
        """See `Task.train`."""
        self.remember(run)
        super().train(run)

    def example(self, inputs: Sequence[Port]) -> Arrays:
        """Six series with dates of their own, some not clear; one has a clear date too few."""
        known, (bands, _), rng = self.known(self.Survey()), inputs, np.random.default_rng(0)
        mean = np.array(bands.mean or [2000.0] * len(known.bands), np.float32)
        dates = 2 * max(known.sample_size, known.min_valid) + 3
        values = (mean * rng.uniform(0.5, 1.5, (6, dates, len(mean)))).astype("float32")
        values[:, ::5] = np.nan
        values[4, known.min_valid :] = np.nan
        return {"bands": values, "doys": np.sort(rng.integers(1, 367, (6, dates)), axis=1)}

    reads_assemblies = False
    reads_xarray = False

    def find_scenes(self, source: Path) -> Sequence[Path]:
        """A tile folder, or every tile of a folder."""
        from eozoo_barlow_twins.maps import find_tiles

        return find_tiles(source)

    def open_scene(self, found: Path, survey: PixelSurvey) -> TileScene:
        """Check bands, masks and days before anything is written."""
        from eozoo_barlow_twins.maps import open_tile

        return open_tile(found, survey, self.settings.infer)

    def map(self, drawn: Drawn, scene: TileScene) -> Iterator[Block]:
        """Blocks of rows, several at once; a map that was stopped goes on."""
        from eozoo_barlow_twins.maps import map_tile

        infer = self.settings.infer
        dropout = getattr(infer, "draws", None) is not None and infer.draws.mc_passes > 0  # one pass at a time
        return map_tile(drawn, scene, infer, 1 if dropout else infer.block_threads)

    def pictures(self, outputs: Sequence[Port], files: Mapping[str, Path], scene: TileScene, dest: Path) -> list[Path]:
        """Delete what a stopped map would have gone on from: the maps are there."""
        import shutil

        from eozoo_barlow_twins.maps import part_of

        shutil.rmtree(part_of(scene, dest), ignore_errors=True)
        return []
