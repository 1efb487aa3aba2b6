"""The way from raster to map: an identity model reproduces its input, missing stays missing, memory is a strip."""

import tracemalloc

import numpy as np
import pytest
import rasterio
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.predict import RowBuffer, predicted_rows
from eozoo_core.raster.read import ArrayReader, RasterReader
from eozoo_core.raster.tiles import Tiling, Window
from hypothesis import given, settings
from hypothesis import strategies as st


class Memory:
    """Stands for a CogWriter and keeps the rows, for properties over many small scenes."""

    def __init__(self, grid, bands):
        self.grid, self.bands, self.rows = grid, [Band(str(i)) for i in range(bands)], []

    def write_rows(self, row, values):
        assert row == sum(r.shape[1] for r in self.rows)
        self.rows.append(values.copy())

    @property
    def map(self):
        return np.concatenate(self.rows, axis=1)


def write_map(reader, writer, model, tiling, batch, bands=None, progress=None):
    row, bands = 0, bands or reader.info.bands
    ask, outputs = lambda windows: lambda: model(windows), lambda: len(writer.bands)
    for rows in predicted_rows(reader, ask, tiling, batch, bands, outputs, progress):
        if rows is not None:
            writer.write_rows(row, rows)
            row += rows.shape[1]


def predict(image, tiling, model=lambda batch: batch, block_rows=1, outputs=None, batch=4, **options):
    reader = ArrayReader(image)
    reader.block_rows = block_rows
    writer = Memory(reader.info.grid, outputs or reader.info.bands[-1])
    write_map(reader, writer, model, tiling, batch, **options)
    return writer.map


@settings(deadline=None)
@given(st.data())
def test_identity_for_every_size_window_overlap_batch_and_block(data):
    size = data.draw(st.integers(1, 9))
    tiling = Tiling(size, data.draw(st.integers(0, size - 1)), data.draw(st.sampled_from([0, 1, 4])))
    batch = data.draw(st.integers(1, 7))
    height, width, blocks = (data.draw(st.integers(1, limit)) for limit in (30, 30, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    image = rng.normal(size=(2, height, width)).astype(np.float32)
    image[:, rng.random((height, width)) < data.draw(st.sampled_from([0, 0.3, 1]))] = np.nan
    np.testing.assert_array_equal(predict(image, tiling, block_rows=blocks, batch=batch), image)


def test_a_pixel_that_misses_one_band_is_missing_in_the_map():
    image = np.ones((2, 5, 5), np.float32)
    image[1, 2, 3] = np.nan
    out = predict(image, Tiling(4, 2), lambda batch: np.ones_like(batch[:, :1]), outputs=1)
    assert np.argwhere(np.isnan(out)).tolist() == [[0, 2, 3]]
    whole = predict(image, Tiling(4, 2), lambda batch: np.ones_like(batch), bands=[1], outputs=1)
    assert not np.isnan(whole).any()  # the band that misses it was not asked for


def test_nan_from_the_model_stays_missing():
    def broken(batch):
        out = batch.copy()
        out[:, :, 0, 0] = np.nan
        return out

    out = predict(np.ones((1, 4, 8), np.float32), Tiling(4, 0), broken)
    assert np.isnan(out).sum() == 2


@pytest.mark.parametrize(("multiple", "shape"), [(0, (8, 8)), (1, (3, 5)), (4, (4, 8)), (7, (7, 7))])
def test_small_scene_is_padded_with_nan_to_a_side_that_the_network_takes(multiple, shape):
    seen = []
    out = predict(np.ones((1, 3, 5), np.float32), Tiling(8, 4, multiple), lambda batch: seen.append(batch) or batch)
    assert [batch.shape for batch in seen] == [(1, 1, *shape)]
    assert np.isnan(seen[0]).sum() == shape[0] * shape[1] - 15
    np.testing.assert_array_equal(out, np.ones((1, 3, 5)))


def test_batches_are_full_and_empty_windows_cost_nothing():
    image = np.ones((1, 4, 40), np.float32)
    image[:, :, 8:20] = np.nan
    sizes, steps = [], []
    predict(
        image,
        Tiling(4, 0),
        lambda b: sizes.append(len(b)) or b,
        batch=3,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert sizes == [3, 3, 1]  # ten windows, three of them empty
    assert steps[-1] == (10, 10)


def test_wrong_shapes():
    image = np.ones((1, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"the model returned \(4, 1, 4, 8\)"):
        predict(image, Tiling(4, 0), lambda batch: np.repeat(batch, 2, 3))
    with pytest.raises(ValueError, match=r"the model returned \(1, 2, 4, 4\)"):  # one channel in the batch before
        predict(image, Tiling(4, 0), lambda batch: np.repeat(batch, 1 if len(batch) == 3 else 2, 1), batch=3)


def test_where_all_is_missing_nothing_is_predicted():
    out = predict(np.full((1, 5, 9), np.nan, np.float32), Tiling(4, 0), lambda batch: 1 / 0, outputs=3)
    assert out.shape == (3, 5, 9)
    assert np.isnan(out).all()


def test_a_scene_of_less_than_a_batch_lets_others_into_its_pass():
    reader, order = ArrayReader(np.ones((1, 4, 8), np.float32)), []
    ask = lambda batch: order.append("asked") or (lambda: order.append("answered") or batch)  # noqa: E731
    for rows in predicted_rows(reader, ask, Tiling(4, 0), 3, [1], lambda: 1):
        order.append(None if rows is None else rows.shape)
    assert order == ["asked", None, "answered", (1, 4, 8)]
    full = predicted_rows(reader, lambda batch: lambda: batch, Tiling(4, 0), 2, [1], lambda: 1)
    assert all(rows is not None for rows in full)


@pytest.mark.parametrize("blocks", [1, 5, 16, 64, 5000])
def test_each_row_is_read_once_and_few_are_held(blocks):
    image = np.arange(300, dtype=np.float32)[None, :, None] * np.ones((1, 1, 10), np.float32)
    reader = ArrayReader(image)
    reader.block_rows = blocks
    rows, read = [], reader.read
    reader.read = lambda window, bands: (
        rows.extend(range(window.row, window.row + window.height)) or read(window, bands)
    )
    buffer = RowBuffer(reader, [1], 12)
    chunk = 12 if blocks > 1024 else -(-12 // blocks) * blocks
    for window in Tiling(20, 8).windows(300, 10):
        values, hidden = buffer.window(window)
        assert values[0, :, 0].tolist() == list(range(window.row, window.row + window.height))
        assert hidden.shape == (20, window.width)
        assert buffer.held <= 20 + chunk
    assert rows == list(range(300))


def peak(height, tmp_path):
    class Endless(ArrayReader):
        """A tall scene that is nowhere in memory."""

        def read(self, window, bands=None):
            return np.ones((4, window.height, window.width), np.float32)

    reader = Endless(np.broadcast_to(np.float32(1), (4, height, 256)))
    tracemalloc.start()
    try:
        with CogWriter(tmp_path / f"{height}.tif", reader.info.grid, [Band("a"), Band("b")]) as writer:
            write_map(reader, writer, lambda batch: batch[:, :2], Tiling(64, 16), 4)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_scene(tmp_path):
    low, high = peak(1000, tmp_path), peak(8000, tmp_path)
    assert high < 1.2 * low  # the list of windows grows by about 100 bytes each
    assert high < 8e6  # strips of 64 to 512 rows x 256 columns; the taller map alone has 16 MB


def test_real_file_to_real_map(tmp_path):
    grid = Grid(600, 530, rasterio.CRS.from_epsg(32616), rasterio.Affine(10, 0, 500000, 0, -10, 1400000))
    image = np.random.default_rng(0).integers(0, 3000, (3, 600, 530)).astype(np.uint16)
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", count=3, height=600, width=530, dtype="uint16", nodata=0, tiled=True,
        crs=grid.crs, transform=grid.transform, blockxsize=256, blockysize=256, compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(image)
    bands = [Band("a", "1"), Band("b", "1")]
    with (
        RasterReader(tmp_path / "in.tif") as reader,
        CogWriter(tmp_path / "out.tif", reader.info.grid, bands) as writer,
    ):
        write_map(reader, writer, lambda batch: batch, Tiling(100, 30), 8, bands=[3, 1])
    hidden = (image[[2, 0]] == 0).any(axis=0)
    with RasterReader(tmp_path / "out.tif") as reader:
        assert reader.info.grid == grid
        expected = np.where(hidden, np.nan, image[[2, 0]].astype(np.float32))
        np.testing.assert_array_equal(reader.read(Window(0, 0, 600, 530)), expected)
