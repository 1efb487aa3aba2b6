"""Anybody's dataset as `Data`: what of it is used, and what is refused when it is opened."""

import re
from pathlib import Path

import numpy as np
import pytest
from eozoo_core import Port, Slot, Spec, ZooError
from eozoo_core.slots import misfit
from eozoo_core.task.data import Data
from eozoo_core.task.features import can_keep
from eozoo_core.task.registered import Registered
from eozoo_core.task.splits import root_of
from eozoo_core.train.loading import Draw

PORTS = (Port("image", "2 H W"), Port("target", "H W"), Port("time", "2", optional=True))


def sample(**more):
    return {"image": np.ones((2, 3, 4)), "target": np.zeros((3, 4), int), "place": "here", **more}


def test_a_list_of_dicts_is_data():
    data = Registered([sample(), sample(time=(2020, 7))], "data.x.name: list", PORTS)
    assert len(data) == data.draws == 2
    assert {name: getattr(array, "dtype", "str") for name, array in data.item(0).items()} == {
        **dict.fromkeys(("image", "target", "time"), np.float32),
        "place": "str",
    }
    assert np.isnan(data[0]["time"]).all()
    assert data.draw(Draw(1, 3))["time"].tolist() == [2020, 7]
    assert data.name(1) == "data.x.name: list, sample 1"
    assert (data.grid(0), data.files, root_of(data)) == (None, (), Path())


class Theirs(Data):
    files, skipped, what = ("a.npy",), ("b.npy: empty",), "patches"

    def __len__(self):
        return 3

    def item(self, index):
        return sample(place=index)

    def draw(self, draw):
        return sample(place=draw.epoch)

    def name(self, index):
        return f"patch {index}"


def test_of_data_its_names_files_and_draws_are_used():
    data = Registered(Theirs(), "data.x.name: theirs", PORTS)
    assert (data.files, data.skipped, data.what) == ([Path("a.npy")], ("b.npy: empty",), "patches")
    assert (data.item(2)["place"], data.draw(Draw(2, 7))["place"], data.name(2)) == (2, 7, "patch 2")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (object(), " is a object, not samples with a length"),
        ([], ": holds no sample; check its options"),
        ([3], ", sample 0: is a int, not a dict of arrays"),
        ([{"image": np.ones((2, 3, 4))}], ", sample 0: the array target (H, W) is missing; give all of image, target"),
        ([sample(image=np.ones((3, 3, 4)))], ", sample 0: axis 2 of image is 3, of the network 2"),
        ([sample(target=np.ones((3, 5)))], ", sample 0: axis W of target is 5, of image 4"),
        ([sample(target=np.array([["a"]]))], ", sample 0: target holds <U1, not numbers"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_opened(dataset, said):
    with pytest.raises(ZooError, match=re.escape(f"data.x.name: it{said}")):
        Registered(dataset, "data.x.name: it", PORTS)


def test_an_optional_port_of_a_slot_may_be_left_out_but_not_be_another():
    slot = Slot("dataset", wants=PORTS)
    spec = lambda *gives: Spec("d", "a:b", "A dataset.", gives=gives)  # noqa: E731
    assert misfit(slot, spec(*PORTS[:2])) is None
    assert "axis 3 is 3, not 2" in misfit(slot, spec(*PORTS[:2], Port("time", "3")))
    assert "the task needs target (H, W)" in misfit(slot, spec(PORTS[0]))


def test_features_are_kept_only_where_files_name_them():
    system = type("Frozen", (), {"features_key": lambda self: {}})()
    data = Theirs()
    assert not can_keep(system, data)  # its draws vary
    data.repeats = True
    assert can_keep(system, data)
    data.files = ()
    assert not can_keep(system, data)
