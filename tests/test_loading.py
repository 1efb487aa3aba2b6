"""Batches are a function of seed, epoch and position: any number of processes, workers and interruptions alike."""

from types import SimpleNamespace

import pytest
import torch
from eozoo_core import RuntimeSettings, TrainSettings, ZooError
from eozoo_core.train.launch import loader_workers
from eozoo_core.train.loading import Draw, Loader, epoch_order, share_of
from hypothesis import given
from hypothesis import strategies as st


class Draws:
    """A data set whose samples say how they were drawn."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, draw):
        assert isinstance(draw, Draw)
        return torch.tensor(draw)


def fabric(rank=0, world=1):
    return SimpleNamespace(
        global_rank=rank, world_size=world, device=torch.device("cpu"), to_device=lambda batch: batch
    )


def loader(size, batch, rank=0, world=1, workers=0, seed=0):
    train = TrainSettings(batch_size=batch, seed=seed)
    return Loader(Draws(size), train, RuntimeSettings(workers=workers), fabric(rank, world))


@given(
    world=st.integers(1, 4),
    share=st.integers(1, 5),
    size=st.integers(4, 60),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_processes_share_the_batches_of_one(world, share, size, seed, epoch):
    batch = share * world
    alone = list(loader(size, batch, seed=seed).draws(epoch)) if size >= batch else None
    shares = [loader(size, batch, rank, world, seed=seed) for rank in range(world)]
    draws = [list(one.draws(epoch)) for one in shares]
    assert {len(d) for d in draws} == {len(shares[0])} == {max(1, size // batch)}
    joined = [[draw for rank in range(world) for draw in draws[rank][b]] for b in range(len(shares[0]))]
    if alone is not None:
        assert joined == alone
    seen = [draw.index for batch_ in joined for draw in batch_]
    assert len(seen) == len(set(seen))  # no sample twice
    assert set(seen) <= set(range(size))
    assert len(seen) == (size - size % batch or size - size % world)
    assert all(draw.epoch == epoch for batch_ in joined for draw in batch_)
    assert len({len(d) for rank in draws for d in rank}) == 1  # every process has as many in every batch


def test_a_set_smaller_than_a_batch_is_one_batch():
    assert len(loader(5, 8)) == 1
    assert len(next(iter(loader(5, 8).draws(0)))) == 5
    with pytest.raises(ZooError, match="1 training samples cannot be shared by 2 processes"):
        loader(1, 8, world=2)
    with pytest.raises(ZooError, match="0 training samples"):
        loader(0, 8)


def test_epochs_and_seeds_shuffle_differently():
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert epoch_order(50, 1, 1) == list(orders[3])


@pytest.mark.parametrize("workers", [0, 2])
def test_starts_anywhere_and_draws_nothing_from_the_global_generator(workers):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = [b.tolist() for b in loader(20, 4, workers=workers).epoch(3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert whole == [[list(d) for d in batch] for batch in loader(20, 4).draws(3)]
    assert [b.tolist() for b in loader(20, 4, workers=workers).epoch(3, start=2)] == whole[2:]


@given(samples=st.integers(0, 50), world=st.integers(1, 5))
def test_evaluation_shares_hold_every_sample_once(samples, world):
    shares = [list(share_of(samples, fabric(rank, world))) for rank in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(samples))


def test_workers_by_device():
    assert loader_workers(RuntimeSettings(workers=3), "cpu") == 3
    assert loader_workers(RuntimeSettings(), "cpu") == 0
    assert 1 <= loader_workers(RuntimeSettings(), "cuda:0") <= 8
