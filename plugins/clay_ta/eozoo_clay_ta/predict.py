"""The verb predict: windows in physical units -> temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.grid import HALF, WINDOW
from eozoo_clay_ta.sample_schema import CHANNELS, KELVIN, SZA, one_hot, time7
from eozoo_clay_ta.static import CLASSES

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Arrays, Predictor, Registry

    from eozoo_clay_ta.settings import ClaySettings

INPUTS = {
    "x": "(N, 19, 9, 9): BT10 in K, RF6 albedo, SZA in degrees, DEM in m, LSMASK 0 or 1",
    "time": "(N,) seconds since 1970-01-01 UTC",
    "lat": "(N,) degrees north",
    "lon": "(N,) degrees east",
    "landcover": "(N,) class 0..16",
}


def make_predictor(run: Run, settings: ClaySettings, registry: Registry | None = None) -> Predictor:
    """Return a function of the arrays in INPUTS: ``{"ta": (N,) float32}`` in ``infer.unit``.

    A sample with NaN anywhere, or a land cover that is no class, has the temperature NaN. Raises ZooError for missing
    arrays and wrong shapes.
    """
    import torch

    from eozoo_clay_ta.training import load_model

    model = load_model(run, settings, "infer", registry)
    device = next(model.parameters()).device
    norm, metres = model.normalisation(), settings.data.grid.metres
    offset = KELVIN if settings.infer.unit == "K" else 0.0

    def predict(batch: Arrays) -> Arrays:
        x, valid, arrays = _arrays(batch, norm, metres)
        out = np.full(len(x), np.nan, np.float32)
        chosen = np.flatnonzero(valid)
        with torch.inference_mode():
            for start in range(0, len(chosen), settings.infer.batch_size):
                part = chosen[start : start + settings.infer.batch_size]
                inputs = {name: torch.from_numpy(array[part]).to(device) for name, array in arrays.items()}
                z = model(inputs).double().cpu().numpy()
                out[part] = z * norm.ta_std + norm.ta_mean + offset
        return {"ta": out}

    return predict


def _arrays(batch: Arrays, norm: object, metres: float) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Return x, which samples are complete, and the model's inputs."""
    for name, what in INPUTS.items():
        if name not in batch:
            raise ZooError(f"predict: the array {name!r} is missing; give {name} {what}")
    x = np.asarray(batch["x"], np.float32)
    if x.ndim != 4 or x.shape[1:] != (CHANNELS, WINDOW, WINDOW):
        raise ZooError(f"predict: x has shape {x.shape}; give x {INPUTS['x']}")
    single = {name: np.asarray(batch[name], np.float64) for name in INPUTS if name != "x"}
    for name, values in single.items():
        if values.shape != (len(x),):
            raise ZooError(f"predict: {name} has shape {values.shape}; give {name} {INPUTS[name]}")
    valid = np.isfinite(x).all(axis=(1, 2, 3)) & np.all([np.isfinite(v) for v in single.values()], axis=0)
    classes = np.where(np.isfinite(single["landcover"]), single["landcover"], -1).astype(np.int64)
    valid &= (classes >= 0) & (classes < CLASSES)
    z = norm.inputs(np.where(np.isfinite(x), x, 0))
    seconds = np.where(np.isfinite(single["time"]), single["time"], 0).astype(np.int64)
    times = seconds.astype("datetime64[s]").astype("datetime64[m]")
    loc = np.stack([single["lat"], single["lon"], np.full(len(x), metres)], axis=1).astype(np.float32)
    inputs = {"x": z, "time7": time7(times, z[:, SZA, HALF, HALF]), "loc": loc, "landcover_onehot": one_hot(classes)}
    return x, valid, inputs
