"""One optimiser step: pooling, accumulation, clipping, optimisers, schedules."""

import pytest
import torch
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.schedule import Schedule
from eozoo_core.train.step import optimizer_step, pooled_step
from test_checkpoint import message
from toy_runs import settings_of


def test_accumulation_equals_the_large_batch_whatever_the_labels(train):
    """Every seventh label is missing, so micro-batches hold 1 or 2: a mean of means would differ."""
    plain = ("train.optimizer=sgd", "train.learning_rate=0.1")
    whole = train("whole", *plain)
    parts = train("parts", *plain, "train.batch_size=2", "train.accumulate=4")
    for name, weight in whole.load("current")["model"].items():
        assert torch.allclose(weight, parts.load("current")["model"][name], rtol=0, atol=1e-6), name
    for a, b in zip(whole.read_log(), parts.read_log(), strict=True):
        assert a["train"]["loss"] == pytest.approx(b["train"]["loss"], rel=1e-5)
        assert a["step"] == b["step"]


def test_a_step_is_the_mean_over_all_labels_by_hand(fabric):
    """Sum of w * x over 1, 2 and 9 in two micro-batches: the gradient is (1 + 2 + 9) / 3 = 4, times a rate of 0.5."""
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(net.weight)
    options = ("train.momentum=0", "train.learning_rate=0.5", "train.clip_norm=null")
    train = settings_of(".", "train.optimizer=sgd", *options).train
    model, optimizer = fabric.setup(net, make_optimizer(net.parameters(), train))

    def loss_sum(batch):
        total = model(torch.tensor(batch["x"])).sum()
        return total, {"loss": (total, batch["count"])}

    batches = [{"count": 2, "x": [[1.0], [2.0]]}, {"count": 1, "x": [[9.0]]}]
    logged = pooled_step(fabric, model, optimizer, train, batches, loss_sum)
    assert net.weight.item() == pytest.approx(1 - 0.5 * 4)
    assert (logged["loss"][0].item(), logged["loss"][1]) == (12.0, 3)
    assert pooled_step(fabric, model, optimizer, train, [{"count": 0, "x": [[5.0]]}], loss_sum) is None
    assert net.weight.item() == pytest.approx(-1)


@pytest.mark.parametrize(
    ("norm", "value", "expected"),
    [
        ("null", "null", (3.0, 4.0)),
        ("1", "null", (0.6, 0.8)),
        ("10", "null", (3.0, 4.0)),
        ("null", "2", (2.0, 2.0)),
        ("2.5", "1.8", (1.5, 1.8)),  # first by norm to (1.5, 2.0), then by value
    ],
)
def test_clipping_by_hand(fabric, norm, value, expected):
    net, other = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(net.weight)
    both = torch.nn.ModuleList([net, other])
    options = (f"train.clip_norm={norm}", f"train.clip_value={value}")
    train = settings_of(".", "train.optimizer=sgd", "train.momentum=0", "train.learning_rate=1", *options).train
    model, optimizer = fabric.setup(both, make_optimizer(net.parameters(), train))
    net.weight.grad = torch.tensor([[3.0, 4.0]])
    other.weight.grad = torch.tensor([[100.0]])  # not this optimiser's: it does not count in the norm
    optimizer_step(fabric, model, optimizer, train)
    assert net.weight.detach().tolist()[0] == pytest.approx([-v for v in expected], rel=1e-5)
    assert net.weight.grad is None


def test_optimisers_and_frozen_parameters(fabric):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    net[0].requires_grad_(False)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        train = settings_of(".", f"train.optimizer={name}", "train.weight_decay=0.25").train
        optimizer = make_optimizer(net.parameters(), train)
        assert type(optimizer) is kind
        (group,) = optimizer.param_groups
        assert (len(group["params"]), group["weight_decay"], group["lr"]) == (2, 0.25, 0.01)
        assert group.get("momentum", 0.9) == 0.9
    net.requires_grad_(False)
    slow = make_optimizer([torch.nn.Parameter(torch.ones(1))], train.model_copy(update={"precision": "fp16-mixed"}))
    assert slow.defaults["fused"] is None  # False would keep torch from its fastest other way on a GPU
    assert "no parameter is trainable" in message(make_optimizer, net.parameters(), train)


def test_schedule_sets_every_group_by_step():
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], "lr_scale": 0.1}]
    schedule = Schedule([torch.optim.SGD(groups, lr=1.0)], lambda step: 1 / (1 + step))
    schedule.apply(3)
    assert [g["lr"] for g in groups_of(schedule)] == [0.25, pytest.approx(0.025)]
    other = Schedule([torch.optim.SGD([torch.zeros(1)], lr=1.0)], lambda step: 2.0 + step)
    other.load_state_dict(schedule.state_dict())
    assert (other.step, other.lr) == (3, 5.0)  # the step is restored, the rate is what the settings say today


def groups_of(schedule):
    return schedule._optimizers[0].param_groups
