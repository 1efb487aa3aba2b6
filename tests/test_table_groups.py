"""Encoders of a table's columns: which column is what, what they are given, and how their units are told."""

import numpy as np
import pytest
import torch
from eozoo.builtin.scalar_regression import ScalarRegression
from eozoo.registry import Registry
from eozoo_core import Port, Spec, hookimpl
from eozoo_core.tables.groups import Group, places_of
from eozoo_core.tables.survey import TableSurvey
from eozoo_core.task.survey import BandSurvey

COLUMNS = ["B2_10", "lat", "vv_2", "B2_2", "B8A_2", "vv_10"]


@pytest.mark.parametrize(
    ("bands", "pattern", "places"),
    [
        (("B2", "vv"), "{band}_{t}", [[3, 2], [0, 5]]),  # date 2 before date 10
        (("nir08", "vh", "vv"), "{band}_{t}", [[4, -1, 2], [-1, -1, 5]]),
        (("lat", "lon"), "", [[1, -1]]),
        (("vv",), "{band}-{t}", np.zeros((0, 1), int).tolist()),
    ],
)
def test_places_of_bands_among_columns(bands, pattern, places):
    assert places_of(COLUMNS, bands, pattern).tolist() == places


def test_a_group_takes_values_and_gaps():
    columns, missing = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    values, gaps = Group(np.array([[2, 1], [-1, 0]]))(columns, missing)
    assert values.tolist() == [[[3.0, 0.0], [0.0, 1.0]]]
    assert gaps.tolist() == [[[False, True], [True, False]]]


class Seeing(torch.nn.Module):
    """Gives what it sees of the first column, and keeps what it was built and called with."""

    def __init__(self, columns):
        super().__init__()
        self.columns, self.given = columns, ()

    def forward(self, missing, columns):
        self.given = missing, columns
        return torch.stack([columns[:, 0], missing[:, 0], columns[:, 1]], dim=1)


def seeing(columns=()):
    return Seeing(columns)


def plugin():
    class Plugin:
        @hookimpl
        def eozoo_models(self):
            takes = (Port("missing", "B F"), Port("columns", "B F"))  # in an order of its own
            gives = (Port("embedding", "B 3"),)
            return [Spec("seeing", "test_table_groups:seeing", "For tests", takes=takes, gives=gives)]

    return Plugin()


def test_an_encoder_of_columns_gets_them_as_they_are_and_what_is_missing():
    registry = Registry.discover()
    registry.add(plugin, "eozoo-seeing 1.0")
    bands = (BandSurvey(name="t", unit="K", mean=280, std=5, count=9), BandSurvey(name="h", unit="m", std=2, count=9))
    survey = TableSurvey(bands=bands, target="y")
    settings = ScalarRegression.Settings(model={"name": "linear", "encoder": {"name": "seeing"}}, data={"unit": "1"})
    task = ScalarRegression(settings, registry)
    (port,) = task.ports(survey).inputs
    assert (port.unit, port.units, port.described) == ("", ("K", "m"), ("t [K]", "h [m]"))
    system = task.system(survey, True)
    assert system.encoder.columns == (("t", "K"), ("h", "m"))
    assert system.network.in_features == 3
    system.raw(system.stage({"features": torch.tensor([[290.0, torch.nan], [torch.inf, 1.0]])}))
    missing, columns = system.encoder.given
    assert columns.tolist() == [[290.0, 0.0], [0.0, 1.0]]
    assert missing.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_port_has_one_unit_or_one_for_each_band():
    for wrong in ({"unit": "m", "units": ("m", "K")}, {"units": ("m",)}):
        with pytest.raises(ValueError, match="one unit, or a unit for each of the 2 bands"):
            Port("x", "B 2", bands=("a", "b"), **wrong)
