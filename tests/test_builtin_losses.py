import math

import pytest
import torch
from eozoo.builtin.losses import cross_entropy, dice, focal, gaussian_nll, huber, laplacian_nll, mae, mse
from eozoo_core.errors import ZooError
from eozoo_core.task.label_loss import LOG_VARIANCE_RANGE, MeanLoss, clamp_log_scale
from hypothesis import given
from hypothesis import strategies as st

NAN = float("nan")
ALL = {"gaussian_nll": gaussian_nll, "laplacian_nll": laplacian_nll, "mse": mse, "mae": mae}
# Errors 2 and -1 over labelled pixels, log-scales log 4 and 0; the third pixel has no label.
MEAN, LOG_SCALE, TARGET = [5.0, 1.0, 9.0], [math.log(4), 0.0, 3.0], [3.0, 2.0, NAN]


def maps(values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype).reshape(1, 1, 1, -1).requires_grad_()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 0.5 (4 / 4 + log 4 + log 2 pi) + 0.5 (1 / 1 + 0 + log 2 pi)
        ("gaussian_nll", 1 + math.log(2) + math.log(2 * math.pi)),
        # 2 / 4 + log 4 + log 2, then 1 / 1 + 0 + log 2
        ("laplacian_nll", 1.5 + 4 * math.log(2)),
        ("mse", 5.0),
        ("mae", 3.0),
    ],
)
def test_sums_by_hand(name, expected):
    total, count = ALL[name]()(maps(MEAN), maps(LOG_SCALE), maps(TARGET))
    assert total.shape == count.shape == ()
    assert count.item() == 2
    assert total.item() == pytest.approx(expected, rel=1e-6)


def test_likelihoods_are_those_of_torch():
    mean, scale, target = torch.randn(50), torch.randn(50), torch.randn(50)
    total, _ = gaussian_nll()(mean, scale, target)
    normal = torch.distributions.Normal(mean, torch.exp(scale / 2))
    torch.testing.assert_close(total, -normal.log_prob(target).sum())
    total, _ = laplacian_nll()(mean, scale, target)
    torch.testing.assert_close(total, -torch.distributions.Laplace(mean, scale.exp()).log_prob(target).sum())


def test_gradients_by_hand():
    mean, log_scale = maps(MEAN), maps(LOG_SCALE)
    gaussian_nll()(mean, log_scale, maps(TARGET))[0].backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.tensor([2 / 4, -1.0, 0.0]))  # error / v
    torch.testing.assert_close(log_scale.grad.flatten(), torch.tensor([0.0, 0.0, 0.0]))  # (1 - error^2 / v) / 2
    mean, log_scale = maps(MEAN), maps(LOG_SCALE)
    laplacian_nll()(mean, log_scale, maps(TARGET))[0].backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.tensor([0.25, -1.0, 0.0]))  # sign / b
    torch.testing.assert_close(log_scale.grad.flatten(), torch.tensor([0.5, 0.0, 0.0]))  # 1 - |error| / b


def test_beta_weighs_by_variance_held_constant():
    mean, log_scale = maps(MEAN), maps(LOG_SCALE)
    total, _ = gaussian_nll(beta=1.0)(mean, log_scale, maps(TARGET))
    constant = math.log(2 * math.pi)
    assert total.item() == pytest.approx(4 * 0.5 * (1 + math.log(4) + constant) + 0.5 * (1 + constant), rel=1e-6)
    total.backward()
    torch.testing.assert_close(mean.grad.flatten(), torch.tensor([2.0, -1.0, 0.0]))  # the plain error at beta = 1
    torch.testing.assert_close(log_scale.grad.flatten(), torch.zeros(3))  # v^beta (1 - error^2 / v) / 2
    with pytest.raises(ZooError, match="beta"):
        gaussian_nll(beta=1.5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_label_at_all_gives_exact_zeros(name, dtype):
    mean, log_scale = maps([1.0, 2.0], dtype), maps([NAN, 500.0], dtype)
    total, count = ALL[name]()(mean, log_scale, maps([NAN, float("inf")]))
    total.backward()
    assert total.item() == count.item() == 0
    assert (mean.grad == 0).all()
    assert log_scale.grad is None or (log_scale.grad == 0).all()


@given(
    st.sampled_from(["gaussian_nll", "laplacian_nll"]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.sampled_from([-3e4, -200.0, -10.0, -9.5, 0.0, 13.9, 14.0, 200.0, 3e4]),
    st.floats(-1000, 1000),
)
def test_any_log_scale_stays_finite(name, dtype, raw, error):
    loss = ALL[name]()
    mean, log_scale = maps([error], dtype), maps([raw], dtype)
    total, _ = loss(mean, log_scale, maps([0.0]))
    total.backward()
    assert total.dtype == torch.float32
    assert torch.isfinite(total)
    assert (
        torch.isfinite(mean.grad).all() or dtype == torch.float16
    )  # fp16 ends at 65504; there the loss scaler steps in
    std = loss.std(log_scale.detach())
    assert std.dtype == torch.float32
    assert 0 < std.item() < float("inf")


@pytest.mark.parametrize(("power", "low", "high"), [(2, -10.0, 14.0), (1, -5.0, 7.0)])
def test_clamp_lets_the_way_back_open(power, low, high):
    assert LOG_VARIANCE_RANGE == (-10.0, 14.0)
    x = torch.tensor([low - 5, low - 5, 0.5, high + 5, high + 5], requires_grad=True)
    out = clamp_log_scale(x, power)
    assert out.tolist() == [low, low, 0.5, high, high]
    out.backward(torch.tensor([-1.0, 1.0, 1.0, 1.0, -1.0]))
    assert x.grad.tolist() == [-1.0, 0.0, 1.0, 1.0, 0.0]  # descent: -gradient must point into the range


def test_std_by_hand():
    torch.testing.assert_close(gaussian_nll().std(torch.tensor(2 * math.log(3))), torch.tensor(3.0))
    torch.testing.assert_close(laplacian_nll().std(torch.tensor(math.log(3))), torch.tensor(3 * math.sqrt(2)))
    torch.testing.assert_close(gaussian_nll().std(torch.tensor(99.0)), torch.tensor(math.exp(7.0)))


def test_std_is_that_of_the_distribution():
    torch.testing.assert_close(
        laplacian_nll().std(torch.tensor(0.3)), torch.distributions.Laplace(0.0, math.exp(0.3)).stddev
    )


def test_losses_without_variance_say_so():
    assert [ALL[n]().trains_variance for n in ALL] == [True, True, False, False]
    for loss in (mse(), mae()):
        assert loss(maps(MEAN), None, maps(TARGET))[1] == 2
        with pytest.raises(ValueError, match="no variance"):
            loss.std(torch.zeros(1))
    with pytest.raises(ValueError, match="outputs=2"):
        gaussian_nll()(maps(MEAN), None, maps(TARGET))


def test_a_batch_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    mean, log_scale, target = torch.randn(3, 4, 1, 8, 8).unbind(0)
    target[torch.rand_like(target) < 0.9] = NAN
    for make in ALL.values():
        total, count = make()(mean, log_scale, target)
        parts = [make()(mean[i : i + 1], log_scale[i : i + 1], target[i : i + 1]) for i in range(4)]
        torch.testing.assert_close(total, sum(p[0] for p in parts))
        assert count == sum(p[1] for p in parts)


def test_losses_of_the_mean_are_called_as_their_ports_say():
    mean, target = torch.tensor([[[[1.0, 4.0, 9.0]]]]), torch.tensor([[[[2.0, 2.0, float("nan")]]]])
    for loss, total in ((mse(), 1.0 + 4.0), (mae(), 1.0 + 2.0)):
        assert [float(v) for v in loss(mean, target)] == [total, 2.0]
        assert [float(v) for v in loss(mean, None, target)] == [total, 2.0]


def test_another_plugins_loss_gets_mean_and_target():
    loss = MeanLoss(lambda mean, target: (mean - target, 7))
    assert loss(3.0, "log-scale", 1.0) == (2.0, 7)
    assert not loss.trains_variance
    with pytest.raises(ZooError, match="must take mean and target, no more"):
        MeanLoss(lambda mean, log_scale, target: None)


def test_huber_by_hand():
    # errors 2 and -0.5 with delta 1: 1 * (2 - 0.5) + 0.25 / 2; the third has no label
    mean = maps([5.0, 1.5, 9.0])
    total, count = huber()(mean, maps([3.0, 2.0, NAN]))
    total.backward()
    assert (total.item(), count.item()) == (1.625, 2)
    assert mean.grad.flatten().tolist() == [1.0, -0.5, 0.0]
    with pytest.raises(ZooError, match="delta"):
        huber(delta=0.0)


def test_values_of_rows_are_values_of_pixels():
    for make in (mse, mae, huber):
        assert [float(v) for v in make()(torch.tensor([5.0, 1.0, 9.0]), torch.tensor([3.0, 2.0, NAN]))][1] == 2.0
    with pytest.raises(ValueError, match="one shape"):
        mse()(torch.zeros(3, 1), torch.zeros(3))  # they would broadcast to 3 x 3


# Two classes, probabilities of class 1: 0.5, 0.8, 0.1, and a pixel without label whose logits are far off.
LOGITS = torch.tensor([[[[0.0, 0.0, math.log(9), 90.0]], [[0.0, math.log(4), 0.0, -90.0]]]])
CLASSES = torch.tensor([[[[1.0, 1.0, 1.0, NAN]]]])
LOGS = [math.log(2), math.log(1.25), math.log(10)]  # -log p of the label


def shapes_of(logits, classes):
    """The same labels as an image, as rows of a table, and as rows with codes below 0 for no label."""
    rows = logits[0, :, 0].T.contiguous()
    flat = classes.flatten()
    return [(logits, classes), (rows, flat), (rows, torch.where(flat.isnan(), -1, flat).long())]


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (cross_entropy(), sum(LOGS)),
        (cross_entropy(weights=[5.0, 0.5]), 0.5 * sum(LOGS)),
        # 0.8 of the label, and 0.1 of each class's -log p
        (
            cross_entropy(label_smoothing=0.2),
            0.8 * sum(LOGS) + 0.1 * (sum(LOGS) + math.log(2) + math.log(5) + math.log(10 / 9)),
        ),
        (focal(), 0.25 * LOGS[0] + 0.04 * LOGS[1] + 0.81 * LOGS[2]),
        (focal(gamma=0.0, weights=[1.0, 2.0]), 2 * sum(LOGS)),
    ],
)
def test_class_losses_by_hand(loss, expected, case):
    logits, classes = shapes_of(LOGITS, CLASSES)[case]
    logits = logits.clone().requires_grad_()
    total, count = loss(logits, classes)
    assert total.shape == count.shape == ()
    assert count.item() == 3
    assert total.item() == pytest.approx(expected, rel=1e-5)
    total.backward()
    assert torch.isfinite(logits.grad).all()
    unlabelled = logits.grad[..., -1] if case == 0 else logits.grad[-1]
    assert (unlabelled == 0).all()


def test_dice_by_hand():
    # Class 1: 3 labels, sum of p 1.4: dice (2 * 1.4 + 1) / (1.4 + 3 + 1). Class 0: none, 1.6: (0 + 1) / (1.6 + 0 + 1).
    expected = 3 * ((1 - 3.8 / 5.4) + (1 - 1 / 2.6)) / 2
    total, count = dice()(LOGITS, CLASSES)
    assert (total.item(), count.item()) == (pytest.approx(expected, rel=1e-5), 3)
    total, _ = dice(weights=[0.0, 4.0])(LOGITS, CLASSES)
    assert total.item() == pytest.approx(3 * (1 - 3.8 / 5.4), rel=1e-5)
    empty, none = dice()(LOGITS, torch.full_like(CLASSES, NAN))
    assert (empty.item(), none.item()) == (0, 0)


def test_sums_of_classes_add_up_over_batches():
    torch.manual_seed(0)
    logits, target = torch.randn(4, 3, 5, 5), torch.randint(0, 3, (4, 1, 5, 5)).float()
    target[torch.rand_like(target) < 0.5] = NAN
    for loss in (cross_entropy([1.0, 2.0, 0.5], 0.1), focal(), dice()):
        total, count = loss(logits, target)
        parts = [loss(logits[i : i + 1], target[i : i + 1]) for i in range(4)]
        torch.testing.assert_close(total, sum(p[0] for p in parts))
        assert count == sum(p[1] for p in parts)


def test_a_sure_focal_loss_has_a_gradient():
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    total, _ = focal(gamma=0.5)(logits, torch.tensor([0.0, 0.0]))
    total.backward()
    assert torch.isfinite(logits.grad).all()
    assert total.item() == pytest.approx(160.0, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (cross_entropy, {"label_smoothing": 1.0}, "label_smoothing"),
        (focal, {"gamma": -1.0}, "gamma"),
        (dice, {"smooth": 0.0}, "smooth"),
        (dice, {"weights": [1.0, -1.0]}, "weights"),
    ],
)
def test_options_out_of_range(make, options, message):
    with pytest.raises(ZooError, match=message):
        make(**options)
    with pytest.raises(ValueError, match="3 class weights for 2 classes"):
        cross_entropy(weights=[1.0, 1.0, 1.0])(LOGITS, CLASSES)
