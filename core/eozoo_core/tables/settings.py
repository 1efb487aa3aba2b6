"""Settings of tasks of samples in a table; see ``data``. A task adds its model and what its target needs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from eozoo_core.settings import Named, ScheduleSettings, Settings, TaskSettings, like
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer, SceneInfer
from eozoo_core.settings.splits import SplitSettings

SCHEDULE = ScheduleSettings(name="cosine", warmup_steps=50)
TRAIN = EnsembleTrain(
    epochs=50, epoch_steps=20, batch_size=64, learning_rate=3e-3, weight_decay=1e-2, schedule=SCHEDULE
)


class TableDataSettings(Settings):
    """Which columns are learned from, which one is learned, and what the table does not say."""

    dataset: Named | None = Field(
        None, description="Registered dataset instead of a table; it gets split, and gives 'features' and 'target'."
    )
    target: str | None = Field(None, description="Column that is learned.")
    features: tuple[str, ...] | None = Field(
        None,
        description="Columns that are learned from, by name or pattern ('B*'), in the network's order; null = all "
        "numbers that are nothing else and not always the same.",
    )
    exclude: tuple[str, ...] = Field((), description="Columns, by name or pattern, that are no features.")
    series: str | None = Field(
        None,
        description="Instead of features: names of columns of a time series, such as 'B{band}_{t}' or, of columns of "
        "arrays, '{band}[{t}]'; {t} is the number of the date.",
    )
    days: tuple[int, ...] = Field((), description="Day of year (1..366) of each date of 'series', for model.encoder.")
    nodata: tuple[float, ...] = Field((), description="Values of the features and the target that mean missing.")
    units: dict[str, str] = Field(
        default_factory=dict,
        description="Unit of columns, by name or pattern, where their headers ('B2 [1]') say none.",
    )
    x: str | None = Field(None, description="Column of x or longitude; null = lon, longitude or x, where there is one.")
    y: str | None = Field(None, description="Column of y or latitude; null = lat, latitude or y, where there is one.")
    crs: str | None = Field(None, description="CRS of x and y (EPSG:32631); null = degrees WGS 84 of lon and lat.")
    group: str | None = Field(None, description="Column: rows with one value (a field, a plot) stay in one split.")
    split: SplitSettings = Field(SplitSettings(), description="How rows are divided into train, val and test.")


class TableModel(Named):
    """The network and its loss."""

    name: str = Field("mlp", description="Network; 'eozoo show TASK' lists what fits.")
    encoder: Named | None = Field(
        None,
        description="Encoder before the network, of the series ('btfm_transformer') or of columns; null = none.",
    )
    loss: Named = Field(description="Loss; 'eozoo show TASK' lists what fits.")


class TableRuntime(EnsembleRuntime):
    """Where and how the work runs."""

    table: Path | None = Field(None, description="Table of samples, one a row: CSV or Parquet with a line of names.")


class TableInfer(SceneInfer):
    """How tables are predicted, and maps made of rasters whose bands have the names of the features."""

    bands: tuple[int | str, ...] | None = like(MapInfer, "bands", None)
    band_names: tuple[str, ...] | None = like(MapInfer, "band_names", None)
    nodata: tuple[float, ...] | None = like(MapInfer, "nodata", None)
    batch_size: int | None = Field(None, ge=1, description="Rows or pixels at once; null = as many as are fast.")


class TableSettings(TaskSettings):
    """All settings of a task of samples but for its model."""

    data: TableDataSettings = Field(TableDataSettings(), description="What the columns mean; fixed by a run.")
    train: EnsembleTrain = Field(TRAIN, description="How the model is trained; fixed by a run.")
    runtime: TableRuntime = Field(TableRuntime(), description="Where and how it runs; free at any time.")
    infer: TableInfer = Field(TableInfer(), description="How it predicts; free at any time.")
    eval: EnsembleEval = Field(EnsembleEval(), description="How scores are computed; free at any time.")
