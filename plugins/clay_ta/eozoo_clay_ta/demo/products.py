"""Write the simulated world as the real products come: level-1B files, ASOS tables, static fields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.written import hdf5_bytes, write_array, write_bytes, write_text

from eozoo_clay_ta.channels import BT, QUALITY_SHIFT, RF, Channel
from eozoo_clay_ta.demo.atmosphere import World, radiances
from eozoo_clay_ta.grid import HALF, PROJECTION, KoGrid
from eozoo_clay_ta.level1b import VARIABLE, l1b_name
from eozoo_clay_ta.scenes import stamp_time
from eozoo_clay_ta.settings import SimulateSettings

if TYPE_CHECKING:
    import h5py

NOTE = "SYNTHETIC: written by eozoo-clay-ta from a simulated atmosphere"
_STATION_NOISE = 0.4  # degC


def simulate(root: Path, settings: SimulateSettings, grid: KoGrid, quiet: bool = True) -> list[Path]:
    """Write scenes, labels, stations and static fields below ``root``; the same bytes every time.

    l1b/ and map/ hold level-1B files, labels/ the hourly tables (text interface before July, portal CSV from then on),
    stations.csv the positions (one station moves in June), static/ elevation and land cover in degrees and the mask.
    """
    world = World()
    times = list(_times(settings))
    moments = [(t, root / "l1b") for t in times] + [(stamp_time(s), root / "map") for s in settings.map_stamps]
    ground = world.grid(grid)
    with progress_bar("simulate", len(moments), "scenes", quiet) as bar:
        for number, (when, folder) in enumerate(moments):
            write_scene(folder, when, world, ground, grid)
            bar.update(number + 1)
    places = _stations(world, grid, settings.stations)
    asked = {t - timedelta(days=d) for t, _ in moments for d in (0, 1)}
    files = [
        _write_stations(root / "stations.csv", places),
        *_write_labels(root / "labels", sorted(asked), world, places),
    ]
    return [root / "l1b", *files, *_write_static(root / "static", world, ground, grid)]


def write_scene(folder: Path, when: datetime, world: World, ground: object, grid: KoGrid) -> None:
    """Write the sixteen files of one time stamp, with a few bad pixels and, now and then, a lost line."""
    stamp = when.strftime("%Y%m%d%H%M")
    random = np.random.default_rng(int(stamp))
    seen = radiances(world.weather(when, ground), ground, random)
    for channel in (*BT, *RF):
        factor = max(1, round(grid.metres / channel.metres)) if channel.kind == "rf" else 1
        values = np.repeat(np.repeat(seen[channel.name], factor, axis=0), factor, axis=1)
        raw = channel.counts(values)
        raw[random.random(raw.shape) < 2e-5] |= np.uint16(3 << QUALITY_SHIFT)
        if channel.name == "ir133" and random.random() < 0.15:
            raw[int(random.integers(len(raw)))] |= np.uint16(3 << QUALITY_SHIFT)
        write_l1b(folder / l1b_name(channel, stamp), channel, raw, grid)


def write_l1b(path: Path, channel: Channel, raw: np.ndarray, grid: KoGrid) -> None:
    """Write one level-1B file: counts and quality bits ``raw`` (H, W) uint16, and KMA's attributes."""

    def fill(h5: h5py.File) -> None:
        data = h5.create_dataset(VARIABLE, data=raw, compression="gzip", compression_opts=1, track_times=False)
        data.attrs["channel_name"] = np.bytes_(channel.name.upper())
        data.attrs["number_of_valid_bits_per_pixel"] = np.int32(channel.valid_bits)
        data.attrs["number_of_data_quality_flag_bits_per_pixel"] = np.int32(2)
        metres = grid.metres * grid.width / raw.shape[1]
        numbers = {
            "standard_parallel1": 30.0, "standard_parallel2": 60.0, "origin_latitude": 38.0,
            "central_meridian": 126.0, "false_easting": 0.0, "false_northing": 0.0, "pixel_size": metres,
            "upper_left_easting": grid.left + metres / 2, "upper_left_northing": grid.top - metres / 2,
        }  # fmt: skip
        for key, value in numbers.items():
            h5.attrs[key] = np.float64(value)
        h5.attrs["projection"] = np.bytes_(PROJECTION)
        h5.attrs["title"] = np.bytes_(NOTE)

    write_bytes(path, hdf5_bytes(fill, ("v110", "v110")))


def _times(settings: SimulateSettings) -> Iterator[datetime]:
    for number in range(settings.days):
        day = datetime(2022, 1, 3) + timedelta(days=number * settings.every_days)
        for hour in settings.hours:
            # Every other day the hours are six later: scores by hour then have something to tell apart.
            yield day + timedelta(hours=(hour + 6 * (number % 2)) % 24)


def _stations(world: World, grid: KoGrid, count: int) -> list[dict]:
    """Land pixels spread over the grid; number 100 + i. The first moves by five pixels in June."""
    random = np.random.default_rng(11)
    land = world.grid(grid).land[HALF : grid.height - HALF, HALF : grid.width - HALF]
    rows, cols = np.nonzero(land)
    chosen = random.permutation(len(rows))[: count + 1]
    cols, rows = cols[chosen] + HALF, rows[chosen] + HALF
    lat, lon = grid.place_of(cols + random.uniform(-0.4, 0.4, len(cols)), rows + random.uniform(-0.4, 0.4, len(rows)))
    lat, lon = np.round(lat, 5), np.round(lon, 5)
    ground = world.points(
        grid.left + (cols + 0.5) * grid.metres, grid.top - (rows + 0.5) * grid.metres, *grid.place_of(cols, rows)
    )
    fields = {"lat": lat, "lon": lon, "x": ground.x, "y": ground.y, "plat": ground.lat, "plon": ground.lon}
    places = [{k: float(v[i]) for k, v in fields.items()} | {"stn": 100 + i, "end": ""} for i in range(len(cols) - 1)]
    for place in places:
        place["start"] = "2000-01-01"
    moved = {k: float(v[-1]) for k, v in fields.items()} | {"stn": 100, "start": "2022-06-15", "end": ""}
    places[0]["end"] = "2022-06-15"
    return [*places, moved]


def _write_stations(path: Path, places: list[dict]) -> Path:
    lines = ["지점,시작일,종료일,지점명,위도,경도"]
    lines += [f"{p['stn']},{p['start']},{p['end']},모의{p['stn']},{p['lat']},{p['lon']}" for p in places]
    return write_text(path, "\n".join(lines) + "\n", "cp949")


def _write_labels(folder: Path, times: list[datetime], world: World, places: list[dict]) -> list[Path]:
    """The first half of the year as the text interface gives it, the second as the portal's CSV; some are missing."""
    random = np.random.default_rng(12)
    columns = (np.array([p[k] for p in places]) for k in ("x", "y", "plat", "plon"))
    ground = world.points(*columns)
    text, table = ["#START7777", f"# {NOTE}"], ["지점,지점명,일시,기온(°C)"]
    for when in times:
        ta = world.weather(when, ground).ta + _STATION_NOISE * random.standard_normal(len(places))
        missing = random.random(len(places)) < 0.02
        kst = when + timedelta(hours=9)
        day = kst.strftime("%Y-%m-%d")
        for place, value, gone in zip(places, ta, missing):
            if not (place["start"] <= day and (not place["end"] or day < place["end"])):
                continue
            if when < datetime(2022, 7, 1):
                cells = [
                    kst.strftime("%Y%m%d%H%M"),
                    str(place["stn"]),
                    *["-9"] * 9,
                    "-99.0" if gone else f"{value:.1f}",
                ]
                text.append(" ".join([*cells, *["-9.0"] * 34]))
            else:
                table.append(f"{place['stn']},모의{place['stn']},{kst:%Y-%m-%d %H:%M},{'' if gone else f'{value:.1f}'}")
    files = {"asos_2022_1.txt": [*text, "#7777END"], "asos_2022_2.csv": table}
    return [write_text(folder / name, "\n".join(lines) + "\n", "cp949") for name, lines in files.items()]


def _write_static(folder: Path, world: World, ground: object, grid: KoGrid) -> list[Path]:
    """Elevation and land cover as rasters in degrees, finer than the grid, and the mask on the grid."""
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.raster.small import write_small
    from rasterio import Affine
    from rasterio.crs import CRS

    lat, lon = grid.places
    step = 0.01 if grid.width * grid.height < 200_000 else 0.02
    west, north = lon.min() - 0.1, lat.max() + 0.1
    width, height = int((lon.max() + 0.1 - west) / step) + 1, int((north - lat.min() + 0.1) / step) + 1
    lons, lats = np.meshgrid(west + (np.arange(width) + 0.5) * step, north - (np.arange(height) + 0.5) * step)
    col, row = grid.pixel_of(lats, lons)
    x = grid.left + (col.ravel() + 0.5) * grid.metres
    y = grid.top - (row.ravel() + 0.5) * grid.metres
    parts = [world.points(x[i : i + 50_000], y[i : i + 50_000], *(2 * [np.zeros(1)])) for i in range(0, x.size, 50_000)]
    files = []
    for name, dtype, add in (("dem", "float32", 0), ("landcover", "uint8", 1)):
        values = np.concatenate([getattr(p, name) for p in parts]).reshape(lats.shape) + add
        degrees = Grid(height, width, CRS.from_epsg(4326), Affine(step, 0, west, 0, -step, north))
        files.append(write_small(folder / f"{name}.tif", values.astype(dtype)[None], degrees, tiles=256))
    return [*files, write_array(folder / "lsmask.npy", ground.land.astype(np.float32))]
