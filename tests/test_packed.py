"""CF packing of HDF5 variables: values worked by hand, and packed by numpy and read back for many kinds."""

from io import BytesIO

import h5py
import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.raster.packed import UNWRITTEN, stored, unpack
from hypothesis import given, settings
from hypothesis import strategies as st


def variable(values, **attributes):
    """A variable of a file in memory."""
    file = h5py.File(BytesIO(), "w")
    found = file.create_dataset("v", data=values)
    for name, value in attributes.items():
        found.attrs[name] = value
    return found


NAN = np.nan


@pytest.mark.parametrize(
    ("values", "attributes", "expected"),
    [
        # temperature: 0.01 K steps from 273.15 K; -32768 was not seen
        (np.int16([-32768, 0, 2500]), {"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": np.int16(-32768)},
         [NAN, 273.15, 298.15]),
        (np.float32([-9999, 12.5, NAN]), {"_FillValue": np.float32(-9999)}, [NAN, 12.5, NAN]),
        (np.float32([-9999.9, 1]), {"_FillValue": -9999.9}, [NAN, 1]),  # a double for a float: compared as a float
        (np.uint16([0, 1, 9]), {"missing_value": np.uint16([0, 9])}, [NAN, 1, NAN]),
        (np.uint8([0, 200]), {"_FillValue": -9999}, [0, 200]),  # no byte is -9999
        (np.int16([-1, 0, 100, 101]), {"valid_range": np.int16([0, 100])}, [NAN, 0, 100, NAN]),
        (np.int16([-1, 0, 100]), {"valid_min": np.int16(0), "valid_max": np.int16(99)}, [NAN, 0, NAN]),
        # a range in the type of the physical values is in physical values; its ends are valid
        (np.int16([-1, 0, 1000, 1001]), {"scale_factor": 1e-3, "valid_range": [0.0, 1.0]}, [NAN, 0, 1, NAN]),
        (np.int16([-1, 0, 1000]), {"scale_factor": -1e-3, "valid_min": -0.5}, [0.001, 0, NAN]),
        # NetCDF classic has no unsigned types: 200 is stored as -56, the fill value 255 as -1
        (np.int8([-56, -1, 5]), {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5}, [100, NAN, 2.5]),
        (np.uint8([255]), {"_Unsigned": b"false"}, [-1]),
        (np.float64([UNWRITTEN, 1]), {}, [NAN, 1]),
        (np.float64([UNWRITTEN, 1]), {"_FillValue": 1.0}, [UNWRITTEN, NAN]),
        (np.int64([2**40 + 1]), {"scale_factor": np.float32([1.0])}, [2**40 + 1]),
        (np.uint8([1, 2]), {"scale_factor": "0.5", "missing_value": "2"}, [0.5, NAN]),
        (np.array([True, False]), {}, [1, 0]),
    ],
)  # fmt: skip
def test_by_hand(values, attributes, expected):
    found = unpack(variable(values, **attributes))
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert found.dtype == (np.float64 if values.dtype.itemsize > 4 else np.float32)


def test_a_part_is_read_and_the_scale_leaves_the_stored_type():
    v = variable(np.arange(12, dtype=np.int32).reshape(3, 4), scale_factor=0.1, _FillValue=np.int32(6))
    np.testing.assert_allclose(unpack(v, np.s_[1, 1:]), [0.5, NAN, 0.7])
    assert unpack(v, 0).dtype == np.float64
    assert stored(v, np.s_[:, 0]).tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    ("values", "attributes", "message"),
    [
        (np.array([b"a"]), {}, r"^variable /v: is \|S1, not numbers"),
        (np.int16([1]), {"scale_factor": 0.0}, "its scale_factor is 0.0, not one number"),
        (np.int16([1]), {"scale_factor": "none"}, "its scale_factor is 'none', not a number"),
        (np.int16([1]), {"add_offset": [1.0, 2.0]}, "its add_offset is .1. 2.., not one number"),
        (np.int16([1]), {"valid_range": np.int16([1])}, "its valid_range has 1 numbers instead of 2"),
    ],
)
def test_what_is_not_numbers_is_one_line(values, attributes, message):
    with pytest.raises(ZooError, match=message) as caught:
        unpack(variable(values, **attributes))
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_packed_values_come_back_and_missing_ones_stay_missing(data):
    kind = np.dtype(data.draw(st.sampled_from(["i1", "u1", "<i2", ">i2", "u2", "i4", ">u4", "i8", "f4", ">f8"])))
    info = np.iinfo(kind) if kind.kind in "iu" else np.iinfo("i2")
    whole = st.integers(max(info.min, -(2**52)), min(info.max, 2**52))
    packed = np.array(data.draw(st.lists(whole, min_size=1, max_size=8)), kind)
    scale = data.draw(st.sampled_from([1.0, 1e-4, 0.01, -2.5, 1000.0]))
    offset = data.draw(st.sampled_from([0.0, -0.1, 273.15]))
    fill, low = np.array(packed[0], kind), data.draw(whole)
    attributes = {"scale_factor": scale, "add_offset": offset, "_FillValue": fill}
    attributes["valid_min"] = np.array(low, kind)
    if kind.kind in "iu" and data.draw(st.booleans()):  # the same numbers, as a format without the other sign has them
        other = kind.str.replace(kind.kind, "i" if kind.kind == "u" else "u")
        attributes = {k: v.view(other) if getattr(v, "dtype", None) == kind else v for k, v in attributes.items()}
        attributes["_Unsigned"] = "true" if kind.kind == "u" else "false"
        packed_in_file = packed.view(other)
    else:
        packed_in_file = packed
    found = unpack(variable(packed_in_file, **attributes))
    hidden = np.array([p == fill or p < low for p in packed.tolist()])
    assert np.isnan(found).tolist() == hidden.tolist()
    expected = packed.astype(np.float64) * scale + offset
    np.testing.assert_allclose(found[~hidden], expected[~hidden], rtol=2e-7, atol=1e-12)
