"""``run.predict`` of xarray: bands by name, windows and masks as ``infer`` has them, and the same coordinates out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.files import Layer
from eozoo_core.raster.masks import RowMask
from eozoo_core.raster.xarrays import InMemory, axes_of
from eozoo_core.task.guard import SceneGuard
from eozoo_core.task.maps import members_port, role_of, strips_of
from eozoo_core.task.scenes import DATED
from eozoo_core.task.windows import Drawn

# Attributes that say what a variable's numbers mean, which are others in a prediction.
_OF_NUMBERS = {
    "_FillValue", "missing_value", "nodata", "scale_factor", "add_offset", "valid_min", "valid_max", "valid_range",
    "units", "long_name", "standard_name", "grid_mapping", "_Unsigned",
}  # fmt: skip

if TYPE_CHECKING:
    import xarray as xr

    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract
    from eozoo_core.task.predict import Predictor


def is_xarray(given: Any) -> bool:
    """Whether something is a DataArray or a Dataset of xarray; imports nothing."""
    return type(given).__module__.partition(".")[0] == "xarray" and type(given).__name__ in ("DataArray", "Dataset")


def predict_xarray(task: Contract, run: Run, predictor: Predictor, given: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Return a Dataset with a variable for each map that ``infer`` would write, float32, NaN = missing.

    ``given``: (y, x) variables that are bands, or (band, y, x); with several dates a run of one date predicts each. Its
    coordinates of rows, columns, time and place are kept, and its attributes. Lazy data are read window by window.
    Raises ZooError for a task that maps no rasters, and as ``infer`` does: for bands that are missing, for instance.
    """
    data = given if hasattr(given, "data_vars") else _as_dataset(given)
    if not task.reads_xarray:
        raise ZooError("predict: this task maps no rasters of bands; give a dict of arrays, name -> array")
    axes = next((axes for name in data.data_vars if (axes := axes_of(data, name))), None)
    if axes is None:
        raise ZooError("predict: the xarray has no variable with rows and columns (y, x or lat, lon)")
    dated = any(DATED.match(name) for name in predictor.survey.names)
    times = [str(d) for d in data.dims if d in data.coords and data[d].dtype.kind == "M" and data.sizes[d] > 1]
    if dated or not times:
        return _one(task, run, predictor, data, axes)
    import xarray as xr

    each = [_one(task, run, predictor, data.isel({times[0]: n}), axes) for n in range(data.sizes[times[0]])]
    return xr.concat(each, dim=times[0], coords="minimal", compat="override")


def _as_dataset(given: xr.DataArray) -> xr.Dataset:
    """One variable, and on the whole what it says beside what its numbers mean."""
    about = {name: value for name, value in given.attrs.items() if name not in _OF_NUMBERS}
    return given.rename(None).to_dataset(name=given.name or "image").assign_attrs(about)


def _one(task: Contract, run: Run, predictor: Predictor, data: xr.Dataset, axes: tuple[str, str]) -> xr.Dataset:
    """Predict one scene."""
    import xarray as xr

    scene = task.open_scene(InMemory(data), predictor.survey)
    guard = SceneGuard(task, predictor, scene)
    role = role_of(members_port(task, predictor))
    drawn = Drawn(predictor, role, lambda done, of: None, watch=guard.watch, refuse=guard.allow)
    mask = RowMask(scene.grid, task.settings.infer.mask, str(scene.path), scene.scl)
    layers: Sequence[Layer] = task.layers(predictor.outputs, run)
    rows: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
    for strip in strips_of(task, predictor, scene, drawn, guard):
        if strip is None:
            continue
        layers = [layer.sized(strip) for layer in layers]
        hidden = mask.next(next(iter(strip.values())).shape[-2])
        for layer in layers:
            rows[layer.name].append(np.where(hidden, np.float32(np.nan), layer.of(strip)))
    about = guard.finish()
    kept = {name: one for name, one in data.coords.items() if set(one.dims) <= set(axes)}
    found = xr.Dataset(coords=kept, attrs={**data.attrs, **about})
    for layer in layers:
        found = found.assign({layer.name: _variable(layer, np.concatenate(rows[layer.name], axis=1), axes)})
        found[layer.name].encoding["grid_mapping"] = "spatial_ref"
    return found


def _variable(layer: Layer, values: np.ndarray, axes: tuple[str, str]) -> xr.DataArray:
    import xarray as xr

    attrs: dict[str, Any] = {"units": layer.bands[0].unit, "long_name": layer.bands[0].name}
    if classes := layer.bands[0].classes:
        names = [one.name.replace(" ", "_") for one in classes.values()]
        attrs = {"long_name": attrs["long_name"], "flag_values": list(classes), "flag_meanings": " ".join(names)}
    if len(layer.bands) == 1:
        return xr.DataArray(values[0], dims=axes, attrs=attrs)
    names = [band.name for band in layer.bands]
    return xr.DataArray(values, dims=("band", *axes), coords={"band": names}, attrs={"units": attrs["units"]})
