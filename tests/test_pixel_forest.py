"""Forests as registered models: worked by hand, against numpy, trained, kept, damaged, mapped and exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo.builtin.networks import forest, quantile_forest
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.score.forest import grow_forest
from test_checkpoint import message

FOLDS = np.arange(200) // 40


def rows(seed=0):
    """200 rows of three features and labels, the first feature with noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 3)).astype(np.float32)
    return x, x[:, 0] + 0.3 * random.normal(size=200)


def stump(network, values):
    """One tree by hand: what feature 1 gives up to 0.5 goes to the first leaf, the rest to the second."""
    trees = {"roots": [0], "feature": [1, -1, -1], "threshold": [0.5, 0, 0], "right": [2, 0, 0]}
    state = network.state_dict() | {name: torch.tensor(value) for name, value in trees.items()}
    state["values"] = torch.tensor(values)
    network.take_sizes(state, Path("by_hand.pt"))
    network.load_state_dict(state)
    return network


IMAGE = torch.tensor([[[[9.0, 9.0]], [[0.5, 0.6]]]])  # two bands, one row, two columns


def test_one_tree_by_hand():
    found = stump(forest(2, 1, squares=()), [[-1.0], [3.0]])(IMAGE)
    assert found.tolist() == [[[[-1.0, 3.0]]]]


def test_a_deviation_is_that_of_the_labels_in_the_leaf():
    """Labels 1 and 5 lie in one leaf: mean 3, mean square 13, variance 4. One label alone keeps 0.1 of the residual."""
    found = stump(quantile_forest(2, 2, squares=()), [[3.0, 13.0], [2.0, 4.0]])(IMAGE)[0, :, 0]
    assert found[0].tolist() == [3, 2]
    assert found[1].exp().tolist() == pytest.approx([4, 0.01])


def test_the_scale_of_a_laplacian_is_its_own():
    network = stump(quantile_forest(2, 2, squares=()), [[3.0, 13.0], [2.0, 4.0]])
    network.power.fill_(1)
    assert network(IMAGE)[0, 1, 0, 0].exp().item() == pytest.approx(np.sqrt(4 / 2))  # variance = 2 b^2


def test_a_quantile_by_hand():
    """Of 50 levels 0..49 the leaf holds half its labels at 10, half at 40."""
    shares = torch.zeros(2, 50)
    shares[:, 10] = shares[:, 40] = 0.5
    values = torch.cat([torch.tensor([[25.0, 850.0]] * 2), shares], dim=1)
    for quantile, expected in [(0.2, 10), (0.7, 40), (0.99, 40)]:
        network = quantile_forest(2, 2, squares=(), quantile=quantile)
        network.levels.copy_(torch.arange(50.0))
        assert stump(network, values.tolist())(IMAGE)[0, 0, 0].tolist() == [expected] * 2


@pytest.mark.parametrize("make", [forest, quantile_forest])
def test_the_same_as_numpy_and_as_a_graph(make):
    (x, y), network = rows(), make(3, 2, trees=12, squares=()).eval()
    network.solve(x, y, FOLDS, 2)
    grown = grow_forest(x, y[:, None], FOLDS, False, size=(12, 3), seed=int(network.seed))
    image = torch.randn(2, 3, 5, 7)
    found = network(image)
    expected = grown.predict(image.movedim(1, -1).flatten(0, 2).numpy()).reshape(2, 5, 7)
    np.testing.assert_allclose(found[:, 0].detach(), expected, rtol=1e-5, atol=1e-6)
    graph = torch.export.export(network, (image,)).module()
    np.testing.assert_allclose(graph(image).detach(), found.detach(), rtol=1e-5, atol=1e-6)
    if make is forest:
        np.testing.assert_allclose(found[:, 1].detach().exp().sqrt(), grown.residual, rtol=1e-5)


def test_spread_of_a_quantile_forest_is_the_variance_of_the_labels_by_their_weights():
    """By Meinshausen's weights: a label counts 1 / (labels in the leaf) in every tree where it shares the leaf."""
    (x, y), network = rows(), quantile_forest(3, 2, trees=9, squares=(), quantile=0.5)
    network.solve(x, y, FOLDS, 2)
    grown = grow_forest(x, y[:, None], FOLDS, False, size=(9, 3), seed=int(network.seed))
    asked = rows(1)[0]
    weights = np.zeros((200, 200))
    for seen, at in zip(grown.leaves(x), grown.leaves(asked), strict=True):
        same = at[:, None] == seen[None]
        weights += same / same.sum(axis=1, keepdims=True) / 9
    mean = weights @ y
    found = network(torch.tensor(asked.T[None, :, :, None])).detach()[0, :, :, 0].numpy()
    np.testing.assert_allclose(np.exp(found[1]), weights @ y**2 - mean**2, rtol=1e-3)
    order = np.argsort(y)
    median = y[order][(weights[:, order].cumsum(axis=1) < 0.5).sum(axis=1)]
    assert np.abs(found[0] - median).max() < 0.5  # levels are 2 % of the labels each
    assert np.abs(found[0] - median).mean() < 0.03


def test_members_differ_and_the_same_seed_gives_the_same_trees():
    x, y = rows()
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        network = forest(3, 1, trees=3, squares=())
        network.solve(x, y, FOLDS, 2)
        made.append(network.state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert made[0]["threshold"].tolist() != made[2]["threshold"].tolist()


def test_a_checkpoint_says_the_sizes_and_nothing_but_trees_is_taken(tmp_path):
    (x, y), network = rows(), forest(3, 2, trees=3, squares=())
    network.solve(x, y, FOLDS, 2)
    state = network.state_dict()
    other = forest(3, 2, trees=3, squares=())
    file = tmp_path / "best.pt"
    file.touch()  # its hash goes into the receipt
    load_module(other, state, file)
    image = torch.randn(1, 3, 4, 4)
    assert torch.equal(other(image), network(image))
    endless = state["right"].clone()
    endless[0] = 0
    alien = torch.where(state["feature"] == 2, 12, state["feature"])  # 3 bands and their means in 3 squares: 0 to 11
    for damage in (
        {"feature": alien},
        {"right": endless},
        {"roots": state["roots"] + 1},
        {"values": state["values"][1:]},
    ):
        said = message(load_module, forest(3, 2, squares=()), state | damage, file)
        assert "best.pt" in said
        assert "holds no forest" in said
    with pytest.raises(ZooError, match="do not match"):
        load_module(quantile_forest(3, 2, squares=()), state, file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"outputs": 3}, "not classes"),
        ({"squares": (2,)}, "odd"),
        ({"trees": 0}, "trees"),
        ({"quantile": 1.0}, "quantile"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ZooError, match=said):
        quantile_forest(4, **options)
