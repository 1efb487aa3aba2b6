"""How draws combine, numbers by hand; dropout passes; what predict refuses."""

import numpy as np
import pytest
import torch
from eozoo_core import Port, ZooError
from eozoo_core.task.ensemble import with_dropout
from eozoo_core.task.predict import check_arrays
from eozoo_core.task.spread import combine, output_ports, present
from eozoo_core.task.system import System
from eozoo_core.train.precision import compute_in
from test_checkpoint import message

MEAN, STD = Port("mean", "B", "m", spread="moments"), Port("std", "B", "m", spread="deviation", of="mean")
SHARES = Port("shares", "B C", spread="probabilities")
LABEL = Port("label", "B", spread="class", of="shares", legend=((10, "tree"), (20, "water")))
ANY = Port("code", "B")


def shown(draws, ports, factor=1.0):
    parts = [{name: torch.tensor(values) for name, values in draw.items()} for draw in draws]
    return {name: values.tolist() for name, values in present(combine(parts, ports, factor), ports).items()}


def names(ports, draws):
    return [port.role for port in output_ports(ports, draws)]


def test_members_that_agree_and_do_not_by_hand():
    """Means 1, 4, 7: variance 6. Deviations 1, 2, 4: mean variance 7. Together 13."""
    draws = [{"mean": [m], "std": [s]} for m, s in ((1.0, 1.0), (4.0, 2.0), (7.0, 4.0))]
    found = shown(draws, [MEAN, STD])
    assert found["mean"] == [4]
    assert found["aleatoric_std"] == pytest.approx([7**0.5])
    assert found["epistemic_std"] == pytest.approx([6**0.5])
    assert found["std"] == pytest.approx([13**0.5])
    assert list(found) == names([MEAN, STD], 3)
    wider = shown(draws, [MEAN, STD], factor=4.0)
    assert wider["mean"] == [4]
    for name in ("std", "aleatoric_std", "epistemic_std"):
        assert wider[name] == pytest.approx([2 * found[name][0]])


def test_one_draw_has_no_parts_and_means_alone_tell_what_they_disagree_about():
    assert shown([{"mean": [3.0], "std": [2.0]}], [MEAN, STD]) == {"mean": [3.0], "std": [2.0]}
    assert names([MEAN, STD], 1) == ["mean", "std"]
    assert shown([{"mean": [1.0]}, {"mean": [5.0]}], [MEAN]) == {"mean": [3.0], "epistemic_std": [2.0]}
    assert names([MEAN], 2) == ["mean", "epistemic_std"]


def test_probabilities_are_averaged_before_a_class_is_chosen():
    """Two draws are a little for water, one is very much for tree: 0.4, 0.4, 0.9 average to 0.57 for tree."""
    draws = [{"shares": [[tree, 1 - tree]]} for tree in (0.4, 0.4, 0.9)]
    found = shown(draws, [SHARES, LABEL])
    assert found["label"] == [10]
    assert found["shares"][0] == pytest.approx([1.7 / 3, 1.3 / 3])
    variance = (2 * (0.4 - 1.7 / 3) ** 2 + (0.9 - 1.7 / 3) ** 2) / 3
    assert found["epistemic_shares_std"][0] == pytest.approx([variance**0.5] * 2)
    assert names([SHARES, LABEL], 3) == list(found) == ["shares", "epistemic_shares_std", "label"]


def test_missing_stays_missing():
    nan = float("nan")
    found = shown([{"mean": [nan, 1.0], "std": [1.0, 1.0]}] * 2, [MEAN, STD])
    np.testing.assert_array_equal(found["mean"], [nan, 1])
    assert np.isnan(found["epistemic_std"][0])
    assert found["epistemic_std"][1] == 0
    np.testing.assert_array_equal(shown([{"shares": [[nan, nan], [0.2, 0.8]]}], [SHARES, LABEL])["label"], [nan, 20])


def test_an_output_that_does_not_combine_is_one_draw_only():
    assert shown([{"code": [7.0]}], [ANY]) == {"code": [7.0]}
    assert "output 'code' does not say how members combine" in message(shown, [{"code": [7.0]}] * 2, [ANY])


class Wide(System):
    """The sum of 64 values, with dropout between."""

    outputs = (MEAN,)

    def __init__(self, share=0.5):
        super().__init__()
        self.drop, self.sum = torch.nn.Dropout(share), torch.nn.Linear(64, 1, bias=False)
        torch.nn.init.ones_(self.sum.weight)

    def raw(self, staged):
        return {"mean": self.sum(self.drop(staged["x"]))[:, 0]}

    def finish(self, raw, arrays):
        return raw


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_dropout_passes_differ_and_repeat_in_every_precision(precision):
    x = {"x": torch.full((2, 64), 1.003)}  # 1 in bf16
    one = 1 if precision == "bf16-mixed" else 1.003
    system = compute_in(precision, Wide().eval(), "cpu")
    passes = [draw.predict(x)["mean"].tolist() for draw in with_dropout(system, 0, 3).values()]
    kept = [values[0] / (2 * one) for values in passes]
    assert kept == pytest.approx([round(number) for number in kept], abs=1e-4)
    assert len(set(kept)) > 1
    assert all(a == pytest.approx(b) for a, b in passes)  # the same channels for every sample
    assert passes == [draw.predict(x)["mean"].tolist() for draw in with_dropout(system, 0, 3).values()]
    assert system.predict(x)["mean"].tolist() == pytest.approx([64 * one] * 2)  # the member itself drops nothing
    assert "needs a network with dropout" in message(with_dropout, Wide(0.0), 0, 3)


IMAGE = Port("image", "B C H W", "reflectance", bands=("red", "nir"))
DATE = Port("date", "B", dtype="int64")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": None}, "the array date (B) is missing; give all of image, date"),
        ({"imag": np.zeros(1)}, "no array 'imag' is asked for. Did you mean 'image'?"),
        ({"image": np.zeros((3, 1, 4, 4))}, "image has 1 bands, the run needs 2: red, nir"),
        ({"image": np.zeros((3, 2, 4))}, "image has 3 axes (3, 2, 4), not 4: B C H W"),
        ({"date": np.zeros(2)}, "axis B of date is 2, of image 3"),
        ({"date": np.full(3, 0.5)}, "date holds whole numbers"),
        ({"date": np.full(3, np.nan)}, "date holds whole numbers"),
        ({"image": np.full((3, 2, 4, 4), "a")}, "image holds <U1, not numbers"),
        ({"image": np.ones((3, 2, 0, 4))}, "image is empty, (3, 2, 0, 4)"),
    ],
)
def test_predict_refuses_arrays_that_do_not_fit(change, words):
    arrays = {"image": np.zeros((3, 2, 4, 4)), "date": np.arange(3.0)} | change
    arrays = {name: values for name, values in arrays.items() if values is not None}
    with pytest.raises(ZooError) as error:
        check_arrays(arrays, [IMAGE, DATE])
    assert words in str(error.value)


def test_arrays_get_the_types_of_their_ports():
    found = check_arrays({"image": np.zeros((3, 2, 4, 4)), "date": np.arange(3.0)}, [IMAGE, DATE])
    assert (found["image"].dtype, found["date"].dtype) == (np.float32, np.int64)


def test_what_a_masked_array_hides_is_missing():
    for kind, hidden in (("int16", -9999), ("float32", 0.5)):
        image = np.ones((3, 2, 4, 4), kind)
        image[0, 1, 2, 3] = hidden
        found = check_arrays({"image": np.ma.masked_equal(image, hidden), "date": np.arange(3.0)}, [IMAGE, DATE])
        assert np.argwhere(np.isnan(found["image"])).tolist() == [[0, 1, 2, 3]]


def test_features_are_left_out_where_several_networks_predict():
    ports = (Port("mean", "B", spread="moments"), Port("features", "B 2"))
    draws = [{"mean": torch.tensor([m]), "features": torch.zeros(1, 2)} for m in (1.0, 3.0)]
    assert set(combine(draws[:1], ports)) == {"mean", "features"}
    found = present(combine(draws, ports), ports)
    assert {name: values.tolist() for name, values in found.items()} == {"mean": [2.0], "epistemic_std": [1.0]}
    assert [port.role for port in output_ports(ports, 2)] == ["mean", "epistemic_std"]
    assert output_ports(ports, 1) == ports


def test_what_may_be_left_out_is_nan():
    ports = (Port("x", "B 3"), Port("time", "B 2", optional=True))
    given = {"x": np.ones((4, 3), "float32")}
    found = check_arrays(given, ports)
    assert found["time"].shape == (4, 2)
    assert np.isnan(found["time"]).all()
    with pytest.raises(ZooError, match=r"the array x .* is missing; give all of x$"):
        check_arrays({}, ports)
    with pytest.raises(ValueError, match="what is left out is NaN, which int64 has not"):
        Port("code", "B", dtype="int64", optional=True)
