"""From arrays to a table, a sample in each row; and a synthetic one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.run.written import write_table

UNITS = {"ndvi": "1", "vv": "dB", "elevation": "m", "slope": "degree", "biomass": "Mg/ha"}
_SAMPLES, _DATES = 400, 6


def write_samples(file: Path, series: dict, place: dict, lon: np.ndarray, lat: np.ndarray, biomass: np.ndarray) -> None:
    """Write ``file``. series: name -> (n, dates); place: name -> (n,); NaN = missing; lon, lat in degrees."""
    columns = {f"{name}_{t} [{UNITS[name]}]": v[:, t] for name, v in series.items() for t in range(v.shape[1])}
    columns |= {f"{name} [{UNITS[name]}]": values for name, values in place.items()}
    columns |= {"lon": lon, "lat": lat, "biomass [Mg/ha]": biomass}
    rows = zip(*columns.values(), strict=True)
    write_table(file, list(columns), [["" if np.isnan(v) else f"{v:.5f}" for v in row] for row in rows])


def write_world(root: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Write ROOT/samples.csv and ROOT/new/plots.csv, synthetic; return the folder ``new`` and some rows."""
    random = np.random.default_rng(0)
    lon, lat = random.uniform(15.0, 15.5, _SAMPLES), random.uniform(48.0, 48.4, _SAMPLES)
    biomass = np.clip(100 + 60 * np.sin(lon * 30) + 40 * np.cos(lat * 40), 0, None)
    season, shape = np.sin(np.arange(_DATES) / _DATES * np.pi), (_SAMPLES, _DATES)
    ndvi = 0.3 + 0.002 * biomass[:, None] * season + random.normal(0, 0.05, shape)
    series = {"ndvi": ndvi, "vv": -14 + 0.03 * biomass[:, None] + random.normal(0, 1, shape)}
    series["ndvi"][random.random(shape) < 0.2] = np.nan  # clouds
    place = {"elevation": random.uniform(200, 900, _SAMPLES), "slope": random.uniform(0, 30, _SAMPLES)}
    write_samples(root / "samples.csv", series, place, lon, lat, biomass)
    few = [{name: values[:40] for name, values in given.items()} for given in (series, place)]
    write_samples(root / "new" / "plots.csv", *few, lon[:40], lat[:40], np.full(40, np.nan))
    columns = [values[:40, t] for values in series.values() for t in range(_DATES)] + [v[:40] for v in few[1].values()]
    return root / "new", {"features": np.stack(columns, axis=1).astype("float32")}
