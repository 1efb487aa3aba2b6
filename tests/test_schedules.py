"""Learning-rate schedules against hand-worked values and against torch's own."""

from types import SimpleNamespace

import pytest
from eozoo_core.errors import ZooError
from eozoo_core.train.schedule import constant, cosine, make_schedule, multistep, triangular2, with_warmup
from hypothesis import given
from hypothesis import strategies as st


def chosen(name, **changes):
    fields = {"warmup_steps": 0, "milestones": (), "gamma": 0.1, "max_learning_rate": 0.1, "half_cycle_epochs": 2.0}
    return SimpleNamespace(name=name, **(fields | changes))


def test_cosine_by_hand():
    schedule = cosine(4)
    assert [schedule(s) for s in range(6)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466, 0, 0])


def test_warmup_by_hand():
    schedule = with_warmup(cosine(4), 2)
    assert [schedule(s) for s in range(5)] == pytest.approx([0.5, 1, 1, 0.8535534, 0.5])
    assert with_warmup(constant, 0)(0) == 1


def test_multistep_by_hand():
    schedule = multistep([3, 5], 0.1)
    assert [schedule(s) for s in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_triangular2_by_hand():
    """Base 1, peak 5, two steps up: 1 3 5 3, then half the height 1 2 3 2, then a quarter 1 1.5 2 1.5."""
    schedule = triangular2(1.0, 5.0, 2)
    assert [schedule(s) for s in range(12)] == pytest.approx([1, 3, 5, 3, 1, 2, 3, 2, 1, 1.5, 2, 1.5])


def test_documented_cycle():
    """1e-7 to 0.1 with 2,125 steps up: the peak of each cycle halves its height above the base."""
    schedule = triangular2(1e-7, 0.1, 2125)
    rates = [1e-7 * schedule(s) for s in (0, 2125, 4250, 4250 + 2125, 8500 + 2125)]
    assert rates == pytest.approx([1e-7, 0.1, 1e-7, 1e-7 + 0.0999999 / 2, 1e-7 + 0.0999999 / 4], rel=1e-12)


@pytest.mark.parametrize("up", [0, -3, 1])
def test_no_step_up_is_one_step_up(up):
    assert [triangular2(1.0, 3.0, up)(s) for s in range(4)] == [1, 3, 1, 2]


def test_triangular2_equals_torch():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 1e-3, 0.05, step_size_up=7, mode="triangular2", cycle_momentum=False
    )
    ours = triangular2(1e-3, 0.05, 7)
    for step in range(50):
        assert 1e-3 * ours(step) == pytest.approx(cyclic.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        cyclic.step()


@given(st.integers(1, 500), st.integers(0, 499), st.sampled_from(["constant", "cosine", "multistep", "triangular2"]))
def test_factors_stay_positive_and_bounded(total, warmup, name):
    warmup = 0 if name == "triangular2" else min(warmup, total - 1)
    schedule = make_schedule(chosen(name, warmup_steps=warmup, milestones=(warmup + 5,)), 0.01, total, 10.5)
    factors = [schedule(s) for s in range(total)]
    assert min(factors) > 0  # every step learns
    assert max(factors) <= (10 if name == "triangular2" else 1) + 1e-9
    assert factors == [schedule(s) for s in range(total)]  # no state


def test_from_settings():
    assert make_schedule(chosen("multistep", milestones=(6,), warmup_steps=2), 1, 10, 5)(5) == 1
    assert make_schedule(chosen("multistep", milestones=(6,), warmup_steps=2), 1, 10, 5)(6) == pytest.approx(0.1)
    assert make_schedule(chosen("triangular2"), 1e-3, 100, 3.9)(7) * 1e-3 == pytest.approx(0.1)  # int(2 x 3.9) = 7
    assert make_schedule(chosen("triangular2"), 1e-3, 100, 0.2)(1) * 1e-3 == pytest.approx(0.1)  # guarded


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (chosen("cosin"), "cosine"),
        (chosen("multistep"), "milestones"),
        (chosen("multistep", milestones=(5, 3)), "milestones"),
        (chosen("triangular2", warmup_steps=5), "warmup_steps"),
        (chosen("triangular2", max_learning_rate=1e-9), "peak"),
    ],
)
def test_impossible_settings_say_which_field(settings, word):
    with pytest.raises(ZooError, match=word):
        make_schedule(settings, 1e-3, 100, 10)


def test_warmup_takes_at_most_a_fifth_of_a_short_run():
    factor = make_schedule(chosen("cosine", warmup_steps=100), 1, 10, 5)
    assert [factor(step) for step in (0, 1, 2)] == pytest.approx([0.5, 1.0, 1.0])
