"""The split designer: whole blocks, shares, classes, gaps, the same answer in any order, and what cannot be done."""

import re

import numpy as np
import pytest
from eozoo_core.checking.design import NEITHER, SPLITS, TEST, TRAIN, VAL, Units, blocks_of, design, kind_of
from eozoo_core.checking.division import Division
from eozoo_core.checking.near import clusters, distances
from eozoo_core.errors import ZooError
from eozoo_core.settings.splits import SplitSettings
from hypothesis import given, settings
from hypothesis import strategies as st

NONE = np.nan


def points(xs, ys=None, weight=None, **rest):
    x = np.array(xs, float)
    y = np.zeros(len(x)) if ys is None else np.array(ys, float)
    return Units(x, y, np.ones(len(x)) if weight is None else np.array(weight, float), **rest)


@st.composite
def worlds(draw, groups=False):
    """Up to 120 units of up to 4 classes on distinct places of 1 km, with different numbers of labels."""
    n, seed = draw(st.integers(12, 120)), draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    place = rng.choice(32 * 32, n, replace=False)
    counts = rng.integers(0, 30, (n, draw(st.integers(1, 4)))) * rng.integers(0, 2, (n, 1))
    counts[:6, 0] += 1  # six that do have labels
    group = rng.integers(0, draw(st.integers(6, 40)), n) if groups and draw(st.booleans()) else None
    if group is not None:
        group[:6] = np.arange(6)
    return Units(place // 32 * 31.0, place % 32 * 31.0, counts.sum(1), counts, group=group)


HOW = st.builds(
    SplitSettings,
    by=st.sampled_from(["blocks", "samples", "distance"]),
    block=st.sampled_from([None, 70.0, 200.0]),
    gap=st.sampled_from([35.0, 0.001]),
    val=st.sampled_from([0.0, 0.15, 0.3]),
    test=st.sampled_from([0.0, 0.2, 0.4]),
    stratify=st.booleans(),
    seed=st.integers(0, 5),
)


@settings(max_examples=50, deadline=None)
@given(worlds(groups=True), HOW, st.randoms(use_true_random=False))
def test_whole_blocks_near_their_shares_apart_and_the_same_in_any_order(units, how, random):
    try:
        split = design(units, how)
    except ZooError:  # too few blocks: see below
        return
    assert split.dtype == np.uint8
    assert (design(units, how) == split).all()
    turned = np.array(random.sample(range(len(split)), len(split)))
    again = {k: v if v is None or np.ndim(v) == 0 or isinstance(v, str) else v[turned] for k, v in vars(units).items()}
    assert (design(Units(**again), how) == split[turned]).all()

    close = split == NEITHER
    where = units.points
    between = np.abs(where[:, None] - where)
    apart = np.hypot(between[..., 0], between[..., 1])
    other = (split[:, None] != split) & ~close & ~close[:, None]
    assert apart[other].min(initial=np.inf) >= how.gap * 0.999

    block = blocks_of(units, how, kind_of(units, how))
    whole = design(units, how.model_copy(update={"gap": 0.0})) if how.by != "distance" else split
    for held in (block, units.group):
        if held is not None:
            assert all(len(set(whole[held == b])) == 1 for b in np.unique(held))
    assert NEITHER not in whole
    labels = np.bincount(block, units.weight)
    got = np.array([units.weight[whole == s].sum() for s in range(3)])
    asked = np.array(how.shares) * labels.sum()
    assert ((got > 0) == (asked > 0)).all()
    some = asked[asked > 0].min() >= labels.max()  # else a split that must not be empty takes more than its share
    assert not some or (np.abs(got - asked) <= labels.max() * 1.000001).all()


def test_six_equal_blocks_are_shared_exactly_and_classes_evenly():
    units = points(np.arange(6) * 100 + 50, counts=np.array([[4, 0]] * 3 + [[0, 4]] * 3), weight=[4] * 6)
    for seed in range(5):
        split = design(units, SplitSettings(block=100, val=1 / 3, test=1 / 3, seed=seed))
        assert sorted(split[:3]) == sorted(split[3:]) == [TRAIN, VAL, TEST]
    several = {tuple(design(units, SplitSettings(block=100, val=1 / 3, test=1 / 3, seed=s))) for s in range(8)}
    assert len(several) > 1


def test_shares_are_of_labels_not_of_blocks():
    """One field has as many labels as the ten others: it is half of the data, and goes where half was asked for."""
    units = points(range(11), weight=[100] + [10] * 10, group=np.arange(11))
    split = design(units, SplitSettings(by="samples", val=0.2, test=0.3))
    assert split[0] == TRAIN
    assert [(split[1:] == s).sum() for s in (TRAIN, VAL, TEST)] == [0, 4, 6]


def test_rare_classes_are_in_every_split_and_a_single_one_is_trained_on():
    counts = np.zeros((100, 3))
    counts[:, 0] = 1
    counts[[3, 40, 77]] = (0, 1, 0)
    counts[60] = (0, 0, 1)
    for seed in range(6):
        how = SplitSettings(by="samples", seed=seed)
        split = design(points([NONE] * 100, group=np.arange(100), weight=[1] * 100, counts=counts), how)
        assert sorted(split[[3, 40, 77]]) == [TRAIN, VAL, TEST]
        assert split[60] == TRAIN


def test_no_split_is_empty_however_small_its_share_is():
    units = points([NONE] * 3, group=np.arange(3))
    assert sorted(design(units, SplitSettings(by="samples", val=0.01, test=0.01))) == [TRAIN, VAL, TEST]


def test_classes_never_take_a_split_further_than_a_block_from_its_share():
    """Five fields of 20 labels, three of 5 and eight of 1: classes alone would train on 50 of 104."""
    kinds = np.array([0, 1, 1, 3, 1, 0, 1, 2, 3, 2, 3, 0, 3, 0, 2, 1])
    counts = np.eye(4)[kinds] * np.array([1, 1, 5, 20])
    units = points([NONE] * 16, group=np.arange(16), counts=counts, weight=counts.sum(axis=1))
    got = np.bincount(design(units, SplitSettings(by="samples")), units.weight)
    assert np.abs(got - [72.8, 15.6, 15.6]).max() <= 20


def test_numbers_are_shared_from_low_to_high():
    values = np.arange(200.0)
    means = []
    for seed in range(4):
        split = design(points([NONE] * 200, values=values), SplitSettings(seed=seed))
        means.append([values[split == s].mean() for s in range(3)])
    assert (
        np.abs(np.array(means) - 99.5).max() < 15
    )  # by chance alone: a standard error of 10, and 3 of them are common
    low = design(points([NONE] * 200, values=np.where(values < 190, 0.0, NONE)), SplitSettings())
    assert [(low == s).sum() for s in range(3)] == [140, 30, 30]


def test_a_gap_takes_out_training_and_then_validation():
    units = points([5, 15, 25, 35, 45, 55], group=np.arange(6))
    words = ["train", "train", "test", "val", "val", "train"]
    split = design(units, SplitSettings(column="kind", gap=11), words)
    assert split.tolist() == [TRAIN, NEITHER, TEST, NEITHER, VAL, NEITHER]
    squares = points([5, 15, 25, 36, 45, 55], size=10.0)
    assert design(squares, SplitSettings(column="kind", gap=1), words).tolist() == [0, NEITHER, TEST, VAL, VAL, NEITHER]


def test_columns_of_groups_and_of_words():
    farms = ["a", "a", "b", "c", "c", "d", "e", "f"]
    split = design(points(range(8)), SplitSettings(column="farm", val=0.25, test=0.25), farms)
    assert len({*zip(farms, split.tolist(), strict=True)}) == 6
    assert [(split == s).sum() for s in range(3)] == [4, 2, 2]
    words = ["Train", "test", "VALIDATION", "", "train"]
    assert design(points(range(5)), SplitSettings(column="kind"), words).tolist() == [0, 2, 1, NEITHER, 0]
    with pytest.raises(ZooError, match=r"'kind': holds tset beside 'train'; write train, val or test"):
        design(points(range(5)), SplitSettings(column="kind"), ["train", "tset", "val", "val", "train"])


def test_clusters_are_apart():
    split = design(points([0, 10, 100, 110, 200, 205]), SplitSettings(by="distance", gap=50, val=1 / 3, test=1 / 3))
    assert split[0] == split[1]
    assert split[2] == split[3]
    assert split[4] == split[5]
    assert sorted(split[::2]) == [TRAIN, VAL, TEST]
    chain = np.column_stack([np.arange(40) * 7.0, np.zeros(40)])
    assert set(clusters(chain, 7.0)) == {0}
    assert len(set(clusters(chain, 3.0))) == 40


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**20), st.sampled_from([3.0, 20.0, 500.0]), st.sampled_from([0.0, 5.0]))
def test_distances_are_those_of_all_pairs(n, seed, most, size):
    rng = np.random.default_rng(seed)
    one, two = rng.uniform(-100, 100, (n, 2)), rng.uniform(-100, 100, (rng.integers(1, 40), 2))
    between = np.maximum(np.abs(one[:, None] - two) - size, 0)
    true = np.hypot(between[..., 0], between[..., 1]).min(axis=1)
    assert np.allclose(distances(one, two, most, size), np.where(true <= most, true, np.inf))


@pytest.mark.parametrize(
    ("units", "how", "message"),
    [
        (points([1, 2, 3]), {"block": 50}, "the labels of 3 samples lie in 1 square, and 3 splits need one each; "
         "set a smaller data.split.block, or set data.split.val or test to 0"),
        (points([1, 2, 3]), {"by": "distance", "gap": 50}, "in 1 cluster, and 3 splits need one each; set a smaller "
         "data.split.gap, or data.split.by: blocks"),
        (points([1, 2, 3], group=np.zeros(3, int)), {"by": "samples"}, "in 1 group, and 3 splits need one each"),
        (points([1, 2, 3], group=np.zeros(3, int)), {"column": "farm"}, "in 1 group, and 3 splits need one each; ch"),
        (points([1, 2, 3]), {"column": "farm"}, "data.split.column 'farm': these samples have no such column"),
        (points([1, 2, 3], weight=[0, 0, 0]), {}, "none of 3 samples has a label"),
        (points([1, NONE, 3]), {}, "1 of 3 samples have no place on the ground; leave them out, or set data.split.by"),
        (points([1, 2, 3]), {"block": 1, "gap": 5}, "leaves out 2 samples, and train has no label; set a smaller gap"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_said_in_one_line(units, how, message):
    with pytest.raises(ZooError, match=re.escape(message)) as error:
        design(units, SplitSettings(**how))
    assert "\n" not in str(error.value)


def test_settings_refuse_what_cannot_be_asked():
    for wrong, message in (
        ({"val": 0.5, "test": 0.5}, "nothing to train on"),
        ({"by": "column"}, "needs 'column'"),
        ({"by": "distance"}, "needs 'gap'"),
    ):
        with pytest.raises(ValueError, match=message):
            SplitSettings(**wrong)
    assert SplitSettings().shares == pytest.approx((0.7, 0.15, 0.15))
    assert SPLITS == ("train", "val", "test")


def test_what_stays_together_does_so_whatever_the_column_says():
    farms, years = np.arange(60) // 4, np.where(np.arange(60) == 11, 1, np.arange(60) // 12)
    for seed in range(4):
        split = design(points(range(60), group=farms), SplitSettings(column="year", seed=seed), years)
        for names in (farms, years):
            assert all(len(set(split[names == name])) == 1 for name in set(names.tolist()))


def test_what_has_no_label_takes_none_out_and_is_not_near():
    units = points(np.arange(30) * 10.0, weight=np.arange(30) % 5 == 0)
    split = design(units, SplitSettings(by="blocks", block=10, gap=30, val=0.2, test=0.2))
    assert (split[::5] != NEITHER).all()
    assert Division(units, split, SplitSettings()).nearest == {"train": 50, "val": 50, "test": 50}


def test_gaps_are_between_shapes_and_between_rectangles_along_both_axes():
    shapely = pytest.importorskip("shapely")
    shapes = np.array([shapely.box(0, 0, 90, 1), shapely.box(100, 0, 101, 1), shapely.box(200, 0, 201, 1)])
    words, how = ["train", "test", "val"], SplitSettings(column="kind", gap=50)
    assert design(points([1, 100.5, 200.5], shapes=shapes), SplitSettings(column="kind", gap=10), words)[0] == TRAIN
    with pytest.raises(ZooError, match="train has no label"):
        design(points([1, 100.5, 200.5], shapes=shapes), how, words)
    wide = points([0, 0, 100, 0], [0, 30, 0, 100], size=(60.0, 20.0))
    split = design(wide, SplitSettings(column="kind", gap=15), ["test", "train", "train", "train"])
    assert split.tolist() == [TEST, NEITHER, TRAIN, TRAIN]
