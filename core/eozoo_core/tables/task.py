"""What tasks of samples in a table share: rows and splits, tables and rasters to predict, what ``check`` says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.run.table_file import SUFFIXES
from eozoo_core.spec import Port
from eozoo_core.tables.settings import TableSettings
from eozoo_core.tables.survey import ROLE, TableSurvey
from eozoo_core.task.survey import BandSurvey
from eozoo_core.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eozoo_core.checking import Expected, Findings, Separation, Split
    from eozoo_core.raster.files import Layer
    from eozoo_core.raster.read import RasterInfo
    from eozoo_core.run.directory import Run
    from eozoo_core.tables.data import Samples, TableData, Target
    from eozoo_core.tables.system import Encoder
    from eozoo_core.task.contract import Scores
    from eozoo_core.task.data import Data
    from eozoo_core.task.results import Network
    from eozoo_core.task.scenes import Block, Scene
    from eozoo_core.task.windows import Drawn


class TableTask(Task):
    """A network of samples, rows of a table: a subclass says what is learned of them, and its network, loss, scores.

    ``unit``: of a target of numbers as the settings give it, "" = its header's; None = the target is a class.
    ``classes``: names of the classes, () = all that the target holds.
    """

    Survey: ClassVar = TableSurvey
    settings: TableSettings
    tolerates_gaps: ClassVar = (ROLE,)
    unit: str | None = None
    classes: tuple[str, ...] = ()
    known: TableSurvey = TableSurvey()  # of the run at hand: its columns and classes are looked for in other tables
    _opened: tuple[Any, Samples] | None = None

    @property
    def target(self) -> Target:
        """What is learned, and in which order an encoder takes the bands."""
        from eozoo_core.tables.data import Target

        return Target(self.unit, self.classes, tuple(band.name for band in self.taken))

    @property
    def samples(self) -> Samples:
        """The table, read once as long as it does not change, or a registered dataset."""
        from eozoo_core.tables.data import open_samples, samples_of
        from eozoo_core.tables.registered import registered_table

        path, how = self.settings.runtime.table, self.settings.data
        stat = path.stat() if path is not None and path.exists() else None
        key = path, stat and (stat.st_mtime_ns, stat.st_size), self.known
        if self._opened is None or self._opened[0] != key:
            if how.dataset is None:
                found = open_samples(path, how, self.target, self.known)
            else:
                given = registered_table(self, how.dataset, how)
                found = samples_of(given.said, given.columns, given.how, self.target, self.known, given.files)
            self._opened = key, found
        return self._opened[1]

    def data(self, split: str) -> TableData:
        """Rows of a split that have a target and any feature."""
        from eozoo_core.tables.data import TableData

        return TableData(self.samples, split)

    @property
    def validates(self) -> bool:
        """Whether rows are kept for validation."""
        try:
            return len(self.samples.rows("val")) > 0
        except NoSplit:
            return False

    def survey(self, train: TableData) -> TableSurvey:
        """Statistics of every column, and the target."""
        from eozoo_core.tables.data import survey_table

        return survey_table(train, self.settings.data.days, self.taken)

    @property
    def taken(self) -> tuple[BandSurvey, ...]:
        """Bands of the run that ``model.encoder`` is taken from; () where it is taken from none."""
        encoder = self.settings.model.encoder
        if encoder is None or self.registry is None:
            return ()
        port = next((p for p in self.registry.chosen(self.slots["model.encoder"], encoder).takes if p.mean), None)
        rows = zip(port.bands, port.mean, port.std, strict=True) if port else ()
        return tuple(BandSurvey(name=name, mean=mean, std=std, count=1) for name, mean, std in rows)

    def inputs(self, survey: TableSurvey) -> tuple[Port, ...]:
        """The columns, with their names and statistics where they are known."""
        if not survey.seen:
            return (Port(ROLE, "B C", "those of the training table"),)
        known, units = (survey.names, survey.mean, survey.widths), tuple(band.unit for band in survey.bands)
        if len(set(units)) > 1:
            return (Port(ROLE, "B C", "", *known, units=units),)
        return (Port(ROLE, "B C", units[0] or "those of the training table", *known),)

    def parts(self, survey: TableSurvey, outputs: int, fresh: bool) -> tuple[Any, Encoder | None]:
        """Build the registered network, and the encoder before it or None."""
        model, inputs, encoder = self.settings.model, len(survey.bands), None
        if model.encoder is not None:
            encoder = self._encoder(survey, fresh)
            inputs = encoder.length(max(survey.dates, 1), inputs)
        return self.build("model", model, {"in_channels": inputs, "outputs": outputs}, fresh), encoder

    def _encoder(self, survey: TableSurvey, fresh: bool) -> Encoder:
        from eozoo_core.tables.system import Encoder, require_days

        part, sizes, dates = self.settings.model.encoder, {}, max(survey.dates, 1)
        takes = tuple(port.role for port in self.registry.chosen(self.slots["model.encoder"], part).takes)
        if "bands" in takes:
            require_days(self.settings, survey)
            sizes = {"in_channels": len(survey.bands) // dates, "sample_size": dates}
        if "columns" in takes:
            sizes["columns"] = tuple((band.name, band.unit) for band in survey.bands)
        return Encoder(self.build("model", part, sizes, fresh), takes)

    def describe_splits(self, data: Mapping[str, Data]) -> tuple[list[Split], Separation]:
        """Splits are rows of one table, divided by ``data.split``: each is looked at as one sample (C, rows)."""
        from eozoo_core.checking import Item, Separation, Split

        def split(name: str, one: TableData) -> Split:
            def read(number: int) -> Item:
                return Item(one.samples.values[one.chosen].T, one.samples.labels[one.chosen])

            return Split(name, [f"{name} rows of {one.samples.path.name}"], read, what="table")

        return [split(name, one) for name, one in data.items()], Separation()

    def expected(self) -> Expected:
        """Labels in the unit of the target, or the classes that it holds."""
        from eozoo_core.checking import Classes, Expected, channel

        if self._opened is None:
            return super().expected()
        samples = self.samples
        known = Classes(dict(enumerate(samples.classes))) if samples.classes else channel("label", samples.unit)
        remedies = {"nodata": "add it to data.nodata", "bands": "leave it out (data.exclude)", "units": "in data.units"}
        return Expected(known, remedies=remedies)

    def check(self, findings: Findings) -> None:
        """Look at all rows: columns, target, division, copies of rows, and features that give the target away."""
        from eozoo_core.tables.check import check_table
        from eozoo_core.task.check import check

        if check(self, findings):
            check_table(findings, self.samples, self.settings.data)

    # -- a run knows its columns and classes: another table is read by them ---------------------------------------

    def remember(self, run: Run) -> None:
        """Take columns and classes from a run."""
        from eozoo_core.task.evaluate import survey_of

        self.known = survey_of(self, run)

    def evaluate(self, run: Run, split: str) -> Scores:
        """See `Task.evaluate`."""
        self.remember(run)
        return super().evaluate(run, split)

    def score(self, run: Run, split: str, on_unlike: str | None = None) -> Scores:
        """See `Task.score`."""
        self.remember(run)
        return super().score(run, split, on_unlike)

    def network(self, run: Run | None = None) -> Network:
        """See `Task.network`."""
        if run is not None:
            self.remember(run)
        return super().network(run)

    # -- tables and rasters to predict ----------------------------------------------------------------------------

    def find_scenes(self, source: Path) -> Sequence[Any]:
        """A table or raster, or all of a folder; for a series, rasters with dates in their names are one scene."""
        from eozoo_core.raster.stack import by_date, date_of
        from eozoo_core.task.scenes import rasters

        tables = [p for p in sorted(source.iterdir()) if p.suffix.lower() in SUFFIXES] if source.is_dir() else []
        try:
            found = rasters(source)
        except ZooError:
            if not tables:
                raise ZooError(f"{source}: holds no table ({', '.join(SUFFIXES)}) and no raster") from None
            return tables
        dated = self.settings.data.series is not None and len(found) > 1 and all(map(date_of, found))
        return [*tables, tuple(by_date(found))] if dated else [*tables, *found]

    def open_scene(self, found: Any, survey: TableSurvey) -> Scene:
        """Look for the columns of the run in a table, or among the bands of a raster or of one for each date."""
        nodata = self.settings.data.nodata
        if isinstance(found, tuple):
            from eozoo_core.tables.pixels import open_series

            scene = open_series(found, self.settings.data.series or "", survey, self.settings.infer)
            return replace(scene, missing=nodata) if nodata and scene.missing is None else scene
        if isinstance(found, Path) and found.suffix.lower() in SUFFIXES:
            from eozoo_core.tables.predict import open_table

            return open_table(found, survey)
        scene = super().open_scene(found, survey)
        return replace(scene, missing=nodata) if nodata and scene.missing is None else scene

    def raster_bands(self, info: RasterInfo, survey: TableSurvey) -> tuple[int, ...]:
        """The bands that are called as the columns are, in the same units."""
        from eozoo_core.tables.pixels import bands_by_name

        return bands_by_name(info, survey)

    def map(self, drawn: Drawn, scene: Scene) -> Iterator[Block]:
        """Every pixel is a sample."""
        from eozoo_core.tables.pixels import map_pixels

        return map_pixels(drawn, scene, lambda values: {ROLE: values})

    def write(self, drawn: Drawn, scene: Scene, dest: Path) -> list[Path]:
        """The table with the predictions behind its columns."""
        from eozoo_core.tables.predict import predict_table

        how = self.settings.data
        return [predict_table(drawn, scene, dest, how, (*how.nodata, *(self.settings.infer.nodata or ())))]

    def layers(self, outputs: Sequence[Port], run: Run) -> Sequence[Layer]:
        """A file for every output."""
        from eozoo_core.tables.pixels import pixel_layers

        return pixel_layers(outputs)
