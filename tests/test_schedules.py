"""Learning-rate schedules against hand-worked values and against torch's own."""

import pytest
from eozoo_core import TrainSettings
from eozoo_core.checking import Findings, judge_schedule
from eozoo_core.errors import ZooError
from eozoo_core.settings import ScheduleSettings
from eozoo_core.train.schedule import (
    constant,
    cosine,
    linear,
    make_schedule,
    make_scheduler,
    multistep,
    plan_steps,
    triangular2,
    with_warmup,
)
from eozoo_core.train.timetable import Timetable
from hypothesis import given
from hypothesis import strategies as st


def chosen(name, rate=1.0, **changes):
    return TrainSettings(epochs=1000, learning_rate=rate, schedule=ScheduleSettings(name=name, **changes))


def rates(train, total, per_epoch=1000):
    """The learning rate of every step of a run, and of the one after it."""
    schedule = make_scheduler([], train.model_copy(update={"steps": total}), per_epoch)
    found = []
    for step in range(total + 1):
        schedule.apply(step)
        found.append(schedule.lr)
    return found


def test_cosine_by_hand():
    schedule = cosine(4)
    assert [schedule(s) for s in range(6)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466, 0, 0])


def test_linear_by_hand():
    schedule = linear(4)
    assert [schedule(s) for s in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]


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


HALF, THIRDS = 0.5**0.5, (0.75, 0.25)  # cosines of 45, and (1 + cos) / 2 of 60 and 120 degrees


@pytest.mark.parametrize(
    ("settings", "total", "expected"),
    [
        (chosen("constant", 2.0), 3, [2, 2, 2, 2]),
        (chosen("constant", warmup_steps=2), 10, [0.5] + [1] * 10),
        (chosen("constant", hold_steps=50), 3, [1] * 4),  # it holds anyway
        (chosen("cosine", 2.0), 4, [2, 1 + HALF, 1, 1 - HALF, 0]),
        (chosen("cosine", warmup_steps=1), 5, [1, 1, 0.5 + HALF / 2, 0.5, 0.5 - HALF / 2, 0]),
        (chosen("cosine", warmup_steps=2, hold_steps=5), 10, [0.5, 1, 1, 1, 1, 1, 1, 1, *THIRDS, 0]),
        (chosen("linear", 2.0), 4, [2, 1.5, 1, 0.5, 0]),
        (chosen("linear", warmup_steps=2, hold_steps=4), 10, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]),
        (chosen("linear", hold_steps=2), 3, [1, 1, 1, 0]),  # one step to fall in: the last has the full rate
        (chosen("multistep", milestones=(3, 5)), 6, [1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        (chosen("multistep", milestones=(4,), gamma=0.5, warmup_steps=2), 10, [0.5, 1, 1, 1] + [0.5] * 7),
        (chosen("triangular2", max_learning_rate=5.0, half_cycle_epochs=0.5), 8, [1, 3, 5, 3, 1, 2, 3, 2, 1]),
    ],
)
def test_rates_of_a_run_by_hand(settings, total, expected):
    assert rates(settings, total, per_epoch=4) == pytest.approx(expected, abs=1e-15)


NAMES = ("constant", "cosine", "linear", "multistep", "triangular2")


@st.composite
def runs(draw):
    """Legal settings of a run of at most 500 steps, and its timetable."""
    name, batches = draw(st.sampled_from(NAMES)), draw(st.integers(1, 100))
    ends = {"steps": draw(st.integers(1, 500)), "epochs": draw(st.sampled_from([None, 1, 2, 3, 1000]))}
    train = TrainSettings(accumulate=draw(st.integers(1, 3)), learning_rate=0.01, **ends)
    times = Timetable(batches, train)
    assert times.total == min(train.steps, (train.epochs or 10**9) * -(-batches // train.accumulate))
    changes = {"milestones": (times.total // 2 + 1, times.total + 3)}
    if name != "triangular2":
        changes["warmup_steps"] = draw(st.integers(0, 1000))
    if name in ("cosine", "linear"):
        warmup = min(changes["warmup_steps"], times.total // 5)
        changes["hold_steps"] = draw(st.integers(0, times.total - warmup - 1))
    return train.model_copy(update={"schedule": ScheduleSettings(name=name, **changes)}), times


@given(runs())
def test_every_step_learns_and_the_run_ends_where_it_should(run):
    train, times = run
    schedule = make_schedule(train, times)
    factors = [schedule(step) for step in range(times.total + 2)]
    during, after = factors[:-2], factors[-2:]
    assert min(during) > 0
    highest = 10 if train.schedule.name == "triangular2" else 1  # the peak is 0.1 on a base of 0.01
    assert max(factors) <= highest + 1e-9
    assert factors == [schedule(step) for step in range(times.total + 2)]  # no state
    rising = next((step for step, factor in enumerate(during) if factor == 1), 0)
    if train.schedule.name != "triangular2":
        assert rising <= max(0, times.total // 5 - 1)  # the last step of the warm-up has the full rate
        assert all(later <= earlier for earlier, later in zip(factors[rising:], factors[rising + 1 :]))
    if train.schedule.name in ("cosine", "linear"):
        assert after == [0, 0]
        assert during.count(1) >= train.schedule.hold_steps
    if train.schedule.name == "constant":
        assert after == [1, 1]


def test_half_cycles_are_whole_steps():
    times = Timetable(39, chosen("triangular2", 1e-3, half_cycle_epochs=0.2))  # 7.8 steps
    assert make_schedule(chosen("triangular2", 1e-3, half_cycle_epochs=0.2), times)(7) * 1e-3 == pytest.approx(0.1)
    few = chosen("triangular2", 1e-3, half_cycle_epochs=0.2)
    assert make_schedule(few, Timetable(1, few))(1) * 1e-3 == pytest.approx(0.1)  # none would be a division by zero


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (chosen("multistep"), "milestones"),
        (chosen("multistep", milestones=(5, 3)), "milestones"),
        (chosen("multistep", milestones=(5,), hold_steps=1), "hold_steps"),
        (chosen("triangular2", warmup_steps=5), "warmup_steps"),
        (chosen("triangular2", hold_steps=5), "hold_steps"),
        (chosen("triangular2", max_learning_rate=1e-9), "peak"),
        (chosen("cosine", hold_steps=100), "hold_steps 100"),
        (chosen("linear", warmup_steps=20, hold_steps=80), "hold_steps 80"),
    ],
)
def test_an_impossible_schedule_is_an_error_before_training(settings, field):
    """Of 100 steps: 400 samples in batches of 4."""
    settings = settings.model_copy(update={"steps": 100, "batch_size": 4})
    with pytest.raises(ZooError, match=field):
        plan_steps(settings, 400)
    with pytest.raises(ZooError, match=field):
        make_scheduler([], settings, 100)
    judge_schedule(findings := Findings(), settings, 400)
    assert [(f.level, f.subject) for f in findings.found] == [("error", "schedule")]
    assert field in findings.found[0].measured


@pytest.mark.parametrize(
    ("samples", "options", "per_epoch", "total"),
    [
        (64, {"epochs": 3}, 8, 24),
        (71, {"epochs": 3}, 8, 24),  # the smaller batch is left out
        (5, {"epochs": 3}, 1, 3),  # unless it is the only one
        (64, {"epochs": 3, "steps": 10}, 8, 10),
        (64, {"epochs": 3, "steps": 100}, 8, 24),
        (64, {"epochs": None, "steps": 100}, 8, 100),
        (64, {"epochs": 3, "accumulate": 3}, 3, 9),
    ],
)
def test_planned_and_checked_steps(samples, options, per_epoch, total):
    train = TrainSettings(batch_size=8, schedule=ScheduleSettings(warmup_steps=50), **options)
    times = plan_steps(train, samples)
    assert (times.per_epoch, times.total) == (per_epoch, total)
    judge_schedule(findings := Findings(), train, samples)
    numbers = {"total_steps": total, "steps_per_epoch": per_epoch, "warmup_steps": min(50, total // 5)}
    assert [(f.level, f.numbers) for f in findings.found] == [("ok", numbers)]


def test_steps_that_nobody_counted():
    judge_schedule(findings := Findings(), TrainSettings(), None)
    judge_schedule(findings, TrainSettings(), 0)  # no samples: a finding of its own says so
    assert [f.level for f in findings.found] == ["unknown"]
