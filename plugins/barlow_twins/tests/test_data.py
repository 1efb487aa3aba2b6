"""The tile layout: what is read, what is refused, statistics, splits, batches."""

import json
import pickle

import numpy as np
import pytest
from eozoo_barlow_twins.labels import class_layer, class_names, class_values
from eozoo_barlow_twins.pixels import PixelIndex, PixelSeries, require_pixels
from eozoo_barlow_twins.prepare.store import write_store
from eozoo_barlow_twins.prepare.write_tile import connected_fields, write_statistics
from eozoo_barlow_twins.settings import Augment, LabelledData, PixelData, PretrainData
from eozoo_barlow_twins.splits import NEITHER, TEST, TRAIN, VAL, split_map
from eozoo_barlow_twins.survey import PixelSurvey
from eozoo_barlow_twins.tiles import Tile, open_tiles, pooled_statistics
from eozoo_core import TrainSettings, ZooError
from eozoo_core.task.data import Batched, as_is
from eozoo_core.task.survey import BandSurvey
from eozoo_core.train.loading import Loader


def make_tile(folder, t=12, h=8, w=6, c=3, seed=0, bands=("B02", "B04", "B08")):
    """A tile of random numbers, about three quarters of the dates clear."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    np.save(folder / "bands.npy", random.integers(1, 5000, (t, h, w, c)).astype(np.uint16))
    np.save(folder / "masks.npy", (random.random((t, h, w)) < 0.75).astype(np.uint8))
    np.save(folder / "doys.npy", np.sort(random.choice(np.arange(1, 366), t, replace=False)).astype(np.int16))
    if bands:
        (folder / "tile.json").write_text(json.dumps({"bands": list(bands)}))
    write_statistics(Tile(folder))
    return folder


def asked(**values):
    return {"sample_size": 4, "min_valid": 5, "block": 2, "buffer": 0, **values}


def data(**values):
    return PretrainData(**asked(**values))


def test_statistics_are_of_clear_pixels_only(tmp_path):
    tile = Tile(make_tile(tmp_path / "T"))
    clear = np.array(tile.masks) == 1
    mean, std = tile.statistics()
    assert np.allclose(mean, np.array(tile.bands)[clear].astype(float).mean(0))
    assert np.allclose(std, np.array(tile.bands)[clear].astype(float).std(0))


def test_statistics_of_tiles_are_pooled_not_averaged(tmp_path):
    tiles = [Tile(make_tile(tmp_path / "A", h=4)), Tile(make_tile(tmp_path / "B", h=12, seed=1))]
    shifted = np.array(tiles[1].bands) // 10
    np.save(tmp_path / "B" / "bands.npy", shifted.astype(np.uint16))
    tiles[1] = Tile(tmp_path / "B")
    write_statistics(tiles[1])
    mean, std = pooled_statistics(tiles, ("B08", "B02"))
    values = np.concatenate([np.array(t.bands)[np.array(t.masks) == 1] for t in tiles]).astype(float)[:, [2, 0]]
    assert np.allclose(mean, values.mean(0))
    assert np.allclose(std, values.std(0))
    averaged = np.mean([t.statistics()[1][[2, 0]] for t in tiles], axis=0)
    assert not np.allclose(std, averaged, rtol=0.05)


def test_bands_are_found_by_name_whatever_their_order(tmp_path):
    tile = Tile(make_tile(tmp_path / "T"))
    assert tile.select(("B08", "B02")).tolist() == [2, 0]
    with pytest.raises(ZooError, match="no band 'B03'"):
        tile.select(("B03",))
    nameless = Tile(make_tile(tmp_path / "N", bands=()))
    assert nameless.band_names == ("band_1", "band_2", "band_3")
    with pytest.raises(ZooError, match=r"tile.json is missing"):
        nameless.select(("B02", "B04", "B08"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "masks.npy").unlink(), "masks.npy: is missing"),
        (lambda p: (p / "band_mean.npy").unlink(), "prepare barlow_twins statistics"),
        (lambda p: np.save(p / "masks.npy", np.ones((3, 3, 3), np.uint8)), r"masks.npy: is uint8 \(3, 3, 3\)"),
        (lambda p: np.save(p / "masks.npy", np.full((12, 8, 6), 255, np.uint8)), "holds 255 at date 0"),
        (lambda p: np.save(p / "doys.npy", np.arange(12)), "holds day 0 to 11"),
        (lambda p: np.save(p / "doys.npy", np.arange(1, 5)), "expected 12 integers"),
        (lambda p: np.save(p / "bands.npy", np.ones((12, 8, 6, 3), np.float32)), "expected uint16"),
        (lambda p: np.save(p / "bands.npy", np.ones((8, 6, 3), np.uint16)), r"expected \(T, H, W, C\)"),
        (lambda p: np.save(p / "band_std.npy", np.array([1.0, 0.0, 2.0])), "band B04 has no spread"),
        (lambda p: np.save(p / "band_mean.npy", np.array([1.0, np.nan, 2.0])), "expected 3 finite numbers"),
        (lambda p: (p / "bands.npy").write_bytes((p / "bands.npy").read_bytes()[:500]), "cannot be read"),
        (lambda p: np.save(p / "doys.npy", np.array([{}], object), allow_pickle=True), "cannot be read"),
        (lambda p: (p / "tile.json").write_text("{"), "cannot be read as JSON"),
        (lambda p: (p / "tile.json").write_text('{"bands": ["B02"]}'), "bands.npy has 3 bands"),
    ],
)
def test_bad_tiles_are_refused_in_one_line(tmp_path, spoil, message):
    spoil(make_tile(tmp_path / "T"))
    with pytest.raises(ZooError, match=message) as error:
        use_everything(tmp_path / "T")
    assert "\n" not in str(error.value)


def use_everything(folder):
    tile = Tile(folder)
    return pooled_statistics([tile], tile.band_names), tile.doys


def test_days_go_on_over_the_turn_of_a_year(tmp_path):
    folder = make_tile(tmp_path / "T", t=4)
    np.save(folder / "doys.npy", np.array([216, 360, 5, 200]))
    assert Tile(folder).days.tolist() == [216, 360, 370, 565]


def test_store_holds_the_same_and_is_refused_when_stale(tmp_path):
    folder = make_tile(tmp_path / "T")
    plain, pixels = Tile(folder).series(np.array([0, 7, 47])), np.array([0, 7, 47])
    write_store(Tile(folder))
    stored = Tile(folder)
    assert stored._store is not None
    for a, b in zip(plain, stored.series(pixels), strict=True):
        assert (a == b).all()
    for a, b in zip(plain, stored.rows(0, 8), strict=True):
        assert (a == b[pixels]).all()
    np.save(folder / "masks.npy", 1 - np.array(stored.masks))
    with pytest.raises(ZooError, match="does not belong to"):
        Tile(folder).series(pixels)


def test_tiles_come_in_order_of_their_names(tmp_path):
    for name in ("C", "A", "B"):
        make_tile(tmp_path / name)
    assert [t.name for t in open_tiles(tmp_path)] == ["A", "B", "C"]
    with pytest.raises(ZooError, match="no tile 'D'"):
        open_tiles(tmp_path, ("D",))


def test_splits_are_whole_blocks_with_a_buffer_between(tmp_path):
    tile = Tile(make_tile(tmp_path / "T", h=40, w=40))
    settings = data(block=10, val_share=0.2, test_share=0.3, buffer=1)
    split = split_map(tile, settings)
    blocks = split.reshape(4, 10, 4, 10).swapaxes(1, 2).reshape(16, 100)
    held = [set(np.unique(b)) - {NEITHER} for b in blocks]
    assert all(len(kinds) == 1 for kinds in held)
    counts = [sum(kind in kinds for kinds in held) for kind in (TRAIN, VAL, TEST)]
    assert counts == [8, 3, 5]
    padded = np.pad(split, 1, constant_values=TRAIN)
    near = np.stack([np.roll(padded, (i, j), (0, 1))[1:-1, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    assert not ((split == TRAIN) & np.isin(near, (VAL, TEST)).any(0)).any()
    assert (split_map(tile, settings) == split).all()


def test_shares_are_of_usable_pixels_and_of_every_class(tmp_path):
    """The upper half is never clear, and of the lower half two thirds are class 10, a third, of five blocks, 20."""
    folder = make_tile(tmp_path / "T", h=60, w=60)
    masks = np.ones((12, 60, 60), np.uint8)
    masks[:, :30] = 0
    np.save(folder / "masks.npy", masks)
    labels = np.full((60, 60), 10, np.uint8)
    labels[30:, 50:] = labels[50:, 40:50] = labels[50:, :10] = 20
    np.save(folder / "labels.npy", labels)
    settings = LabelledData(**asked(block=10, val_share=0.2, test_share=0.2, buffer=0), legend={10: "a", 20: "b"})
    split = split_map(Tile(folder), settings)
    inside = np.zeros((60, 60), bool)
    inside[30:] = True
    pixels = np.array([[((split == s) & inside & (labels == c)).sum() for c in (10, 20)] for s in (TRAIN, VAL, TEST)])
    assert pixels.tolist() == [[700, 300], [300, 100], [300, 100]]
    assert np.abs(pixels.sum(axis=1) / 1800 - [0.6, 0.2, 0.2]).max() < 0.05
    without = split_map(Tile(folder), data(block=10, val_share=0.2, test_share=0.2, buffer=0))
    assert [((without == s) & inside).sum() for s in (TRAIN, VAL, TEST)] == [1000, 400, 400]


def test_the_seed_moves_blocks_and_another_tile_does_not(tmp_path):
    one, two = (Tile(make_tile(tmp_path / name, h=40, w=40, seed=3)) for name in ("A", "B"))
    settings = data(block=5, val_share=0.2, test_share=0.2)
    split = split_map(one, settings)
    assert (split != split_map(two, settings)).any()  # of the name
    assert (split_map(Tile(one.path), settings) == split).all()
    assert (split != split_map(one, settings.model_copy(update={"split_seed": 1}))).any()


def test_earlier_runs_keep_their_splits(tmp_path):
    """By number: two blocks of ten for validation, two for the test, whatever is in them."""
    tile = Tile(make_tile(tmp_path / "T", h=20, w=50))
    then = data(block=10, val_share=0.11, test_share=0.2, buffer=0, shares_of="blocks")
    kinds = split_map(tile, then)[::10, ::10].ravel()
    assert kinds.tolist() == [2, 1, 0, 0, 0, 0, 0, 1, 2, 0]  # as computed before there was another rule
    assert not (split_map(tile, then.model_copy(update={"shares_of": "pixels"}))[::10, ::10].ravel() == kinds).all()


def test_a_tile_with_too_few_blocks_of_labels_is_trained_on(tmp_path):
    folder = make_tile(tmp_path / "T", h=20, w=20)
    labels = np.zeros((20, 20), np.uint8)
    labels[:10, :10] = 10
    np.save(folder / "labels.npy", labels)
    split = split_map(Tile(folder), LabelledData(**asked(block=10, val_share=0.2, test_share=0.2), legend={10: "a"}))
    assert (split == TRAIN).all()
    with pytest.raises(ZooError, match="has 1 spatial blocks, too few for all splits"):
        split_map(Tile(folder), data(block=20, val_share=0.2, test_share=0.2))


def test_fields_are_never_cut(tmp_path):
    folder = make_tile(tmp_path / "T", h=20, w=20)
    labels = np.random.default_rng(0).integers(0, 3, (5, 5)).repeat(4, 0).repeat(4, 1)
    fields = connected_fields([labels])
    np.save(folder / "blocks.npy", fields)
    split = split_map(Tile(folder), data(val_share=0.2, test_share=0.2))
    assert all(len(np.unique(split[fields == f])) == 1 for f in np.unique(fields))


def test_connected_fields_by_hand():
    layer = np.array([[1, 1, 2], [2, 1, 2], [2, 2, 1]])
    fields = connected_fields([layer])
    assert len(np.unique(fields)) == 4  # the 1 at the corner touches the other 1s at no side
    assert fields[0, 0] == fields[1, 1] != fields[2, 2]
    assert fields[1, 0] == fields[2, 1] != fields[0, 2]


def test_labels_keep_codes_apart_and_refuse_unknown_ones(tmp_path):
    folder = make_tile(tmp_path / "T", h=2, w=4)
    np.save(folder / "labels.npy", np.array([[0, 10, 90, 95], [100, 100, 0, 10]], np.uint8))
    settings = LabelledData()
    layer = class_layer(Tile(folder), settings)
    assert layer.tolist() == [[-1, 0, 8, 9], [10, 10, -1, 0]]
    assert class_names(settings)[8:] == ("Herbaceous wetland", "Mangroves", "Moss and lichen")
    assert class_values(settings) == (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
    crops = LabelledData(legend={1200: "maize", 7900: "other", 9120: "grass", 1201: "maize"}, no_label=(0, 10))
    assert class_names(crops) == ("maize", "other", "grass")
    assert class_values(crops) == (1, 2, 3)
    with pytest.raises(ZooError, match="holds code 90, 95, 100"):
        class_layer(Tile(folder), crops)


class Alone:
    """A Fabric of one process of several, on the CPU."""

    def __init__(self, rank=0, world=1):
        import torch

        self.global_rank, self.world_size, self.device = rank, world, torch.device("cpu")

    def to_device(self, batch):
        return batch


class Runtime:
    workers, devices = 0, 1


def pixels(tiles, settings, augment=None):
    bands = tuple(BandSurvey(name=name) for name in ("B02", "B08"))
    survey = PixelSurvey(bands=bands, sample_size=settings.sample_size, min_valid=settings.min_valid)
    return PixelSeries(PixelIndex(tiles, settings, None), survey, 7, augment or Augment(), 100)


def loader(tiles, settings, fabric, batch=8, workers=0):
    runtime = Runtime()
    runtime.workers = workers
    train = TrainSettings(batch_size=batch, seed=7)
    return Loader(Batched(pixels(tiles, settings)), train, runtime, fabric, as_is)


def numbers(made, epoch):
    return [np.array([draw.index for draw in draws]) for draws in made.draws(epoch)]


def test_batches_cover_all_tiles_once_and_mix_them(tmp_path):
    tiles = [Tile(make_tile(tmp_path / n, seed=s, t=t)) for n, s, t in (("A", 0, 12), ("B", 1, 20))]
    made, data_ = loader(tiles, data(), Alone(), 16), pixels(tiles, data())
    found = numbers(made, 0)
    assert len(np.unique(np.concatenate(found))) == 16 * len(found) > 0.8 * data_.draws
    border = int(data_.index._first[1])
    assert all(0 < (batch < border).sum() < 16 for batch in found)
    assert (found[0] != numbers(made, 1)[0]).any()


def test_an_order_is_a_permutation_however_it_is_sliced(tmp_path):
    order = pixels([Tile(make_tile(tmp_path / "T", h=20, w=20))], data()).order(7, 3)
    whole = order[: len(order)]
    assert sorted(whole.tolist()) == list(range(len(order)))
    for start in (0, 30, 7, 200, 5):  # forwards, and back to what is no longer kept
        assert (order[start : start + 8] == whole[start : start + 8]).all()
    assert order[11] == whole[11]


def test_views_hold_what_the_files_say(tmp_path):
    """Every value of a batch is found in bands.npy at its pixel, on a clear date with that day of year."""
    tiles = [Tile(make_tile(tmp_path / n, seed=s, t=t)) for n, s, t in (("A", 0, 12), ("B", 1, 20))]
    made, data_ = loader(tiles, data(), Alone()), pixels(tiles, data())
    draws = list(made.draws(3))[1]
    batch = data_.batch(draws)
    for tile, places, found in data_.index.groups(np.array([draw.index for draw in draws])):
        for place, pixel in zip(places, found, strict=True):
            row, col = divmod(int(pixel), 6)
            for view in (0, 1):
                at = [tiles[tile].doys.tolist().index(d) for d in batch["days"][place, view]]
                assert at == sorted(at)
                assert tiles[tile].masks[at, row, col].all()
                assert (batch["views"][place, view] == tiles[tile].bands[at, row, col][:, [0, 2]]).all()
    assert (batch["days"][:, 0] != batch["days"][:, 1]).any()


def test_workers_processes_and_restarts_change_nothing(tmp_path):
    tiles = [Tile(make_tile(tmp_path / n, seed=s)) for n, s in (("A", 0), ("B", 1))]

    def epoch(fabric=None, start=0, workers=0):
        return [b["views"].numpy() for b in loader(tiles, data(), fabric or Alone(), workers=workers).epoch(2, start)]

    whole = epoch()
    assert all((a == b).all() for a, b in zip(whole[3:], epoch(start=3), strict=True))
    assert all((a == b).all() for a, b in zip(whole, epoch(workers=2), strict=True))
    joined = [np.concatenate(pair) for pair in zip(epoch(Alone(0, 2)), epoch(Alone(1, 2)), strict=True)]
    assert all((a == b).all() for a, b in zip(whole, joined, strict=True))


def test_a_worker_receives_paths_not_pixels(tmp_path):
    """Where workers are not forked they get a pickle: it must be small, and make the same batches."""
    made = pixels([Tile(make_tile(tmp_path / "T", t=40, h=40, w=40))], data())
    content = pickle.dumps(made)
    assert len(content) < 20_000 < (tmp_path / "T" / "bands.npy").stat().st_size / 10
    assert (pickle.loads(content).items([2, 5])["views"] == made.items([2, 5])["views"]).all()


def test_what_is_scored_is_spread_over_all_pixels(tmp_path):
    made = pixels([Tile(make_tile(tmp_path / "T", h=20, w=20))], data())
    assert len(made) == 100 < made.draws
    assert (np.diff(made.scored) > 0).all()
    assert made.scored[-1] > 0.95 * made.draws
    assert (made.items([3])["views"][0] == made.item(3)["views"]).all()


def test_statistics_are_of_the_training_split_alone(tmp_path):
    """What validation and test blocks, or whole tiles kept apart, hold changes nothing."""
    tiles = [Tile(make_tile(tmp_path / n, h=20, w=20, seed=s)) for n, s in (("A", 0), ("B", 1))]
    divided = data(block=5, val_share=0.2, test_share=0.2)
    train = PixelIndex(tiles, divided, TRAIN)
    one = pixels(tiles, divided)
    one.index = train
    values = []
    for number, _, found in train.groups(np.arange(len(train))):
        series, clear = tiles[number].series(found)
        values.append(series[clear][:, [0, 2]])
    mean, std, count = one.statistics
    assert np.allclose(mean, np.concatenate(values).mean(axis=0))
    assert np.allclose(std, np.concatenate(values).std(axis=0))
    assert count == sum(map(len, values)) < sum(int(tile.counts.sum()) for tile in tiles)
    whole = pixels(tiles, data(val_share=0, test_share=0, val_tiles=("B",)))
    whole.divided, whole.elsewhere = False, ("B",)
    assert np.allclose(whole.statistics[0], tiles[0].statistics()[0][[0, 2]])


def test_pixels_with_few_clear_dates_are_left_out(tmp_path):
    tile = Tile(make_tile(tmp_path / "T"))
    index = PixelIndex([tile], data(min_valid=9), None)
    assert len(index) == (tile.counts > 9).sum()
    none = PixelIndex([tile], data(min_valid=12), None)
    assert len(none) == 0
    with pytest.raises(ZooError, match="0 usable training pixels are too few"):
        require_pixels(none, "train", tmp_path)


def test_settings_refuse_what_cannot_work():
    with pytest.raises(ValueError, match="without replacement"):
        PixelData(sample_size=16, min_valid=14)
    with pytest.raises(ValueError, match="nothing to train on"):
        PixelData(val_share=0.5, test_share=0.5)
    with pytest.raises(ValueError, match="in both"):
        PixelData(val_tiles=("A",), test_tiles=("A",))
