"""Settings of tasks that make maps of rasters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from eozoo_core.settings.ensemble import EnsembleInfer
from eozoo_core.settings.schema import InferSettings, Settings


class MaskSettings(Settings):
    """Pixels that get no prediction, beside those without input."""

    classes: Path | None = Field(None, description="Class raster (WorldCover), any CRS; null = none is masked.")
    excluded: tuple[int, ...] = Field(
        (0, 50, 70, 80),
        description="Classes to mask: no data, built-up, snow and ice, water. Outside it all is masked.",
    )
    clouds: Path | None = Field(None, description="Raster of cloud probability, percent, any CRS; null = none.")
    max_cloud: float = Field(5.0, ge=0, description="Mask where the cloud probability is above this, percent.")
    scl: tuple[int, ...] = Field(
        (),
        description="Classes of a Sentinel-2 scene's own classification (SCL) to mask, as 3, 8, 9, 10: cloud shadow, "
        "clouds and cirrus; without a class is masked too. [] = it is not looked at.",
    )


class SourceSettings(Settings):
    """How scenes of several files are read: Sentinel-2 products (SAFE) and what catalogues (STAC) list."""

    pixel: float | None = Field(
        None,
        gt=0,
        description="Size of the map's pixels, in the unit of the CRS; null = of the finest band that is used.",
    )
    resampling: Literal["nearest", "bilinear", "cubic"] = Field(
        "bilinear", description="How bands of coarser pixels come to the map's; finer ones are averaged."
    )
    s2_offset: float | None = Field(
        None, description="Sentinel-2: added to digital numbers (-1000 or 0); null = as product or catalogue say."
    )
    trust: tuple[str, ...] = Field(
        (), description="Hosts, buckets (s3://NAME) and folders that a catalogue may refer to, beside its own."
    )


class PlainInfer(InferSettings):
    """How maps are made by a single network."""

    format: Literal["cog", "zarr"] = Field(
        "cog", description="cog = cloud-optimised GeoTIFFs, NAME_LAYER.tif; zarr = GeoZarr groups, NAME_LAYER.zarr."
    )
    picture: bool = Field(True, description="Also write a PNG of the maps beside them.")
    mask: MaskSettings = Field(MaskSettings(), description="Pixels that get no prediction.")


class SceneInfer(PlainInfer, EnsembleInfer):
    """How maps are made, of whatever."""

    member_maps: bool = Field(
        False, description="Also write NAME_members.tif, a band per draw: what each member predicts."
    )


class MapInfer(SceneInfer):
    """How maps are made of rasters."""

    earlier: ClassVar[dict[str, str]] = {"stride": "overlap"}  # older name -> what, set later, replaces it
    bands: tuple[int | str, ...] | None = Field(
        None, description="The raster's bands by number (from 1) or name, in the network's order; null = by name."
    )
    band_names: tuple[str, ...] | None = Field(
        None, description="What the raster's bands are, in its order, or a preset ([eurosat]); null = as it says."
    )
    nodata: tuple[float, ...] | None = Field(
        None,
        description="Stored values that mean missing, beside those that a raster declares; null = such as look so are "
        "asked about; [] = none.",
    )
    factor: float = Field(
        1.0,
        description="The network takes values times this: 10000 where it was trained on digital numbers and the scene "
        "is reflectance.",
    )
    source: SourceSettings = Field(SourceSettings(), description="Scenes of several files: SAFE, STAC.")
    window: int = Field(64, ge=16, description="Largest side of the square that the network sees at once, px.")
    overlap: int = Field(
        16, ge=0, description="Pixels that neighbouring windows share at least, and where they are blended."
    )
    batch_size: int | None = Field(None, ge=1, description="Windows per forward pass; null = as many as are fast.")

    @model_validator(mode="before")
    @classmethod
    def _from_stride(cls, values: Any) -> Any:
        """Read ``stride``, the distance between windows that was set before overlaps were."""
        if not isinstance(values, dict) or values.get("stride") is None:
            return values
        values = dict(values)
        window, stride = values.get("window", cls.model_fields["window"].default), values.pop("stride")
        if not isinstance(window, int) or not isinstance(stride, int) or not 1 <= stride <= window:
            raise ValueError(f"stride {stride} is not 1 to {window} px, the window; pixels would stay empty")
        return values | {"overlap": window - stride}

    @model_validator(mode="after")
    def _covers(self) -> MapInfer:
        if self.overlap >= self.window:
            raise ValueError(f"overlap {self.overlap} is not below window {self.window}: windows would not move on")
        return self
