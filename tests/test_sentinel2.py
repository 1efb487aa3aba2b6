"""Digital numbers to reflectance: values worked by hand, every mixture of name, tags, XML, JSON, packing, setting."""

import json
from pathlib import Path

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.raster.sentinel2 import Source, scaling_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SAFE = "S2B_MSIL2A_20230615T105619_{}_R094_T31UDS_20230615T140000.SAFE"
NUMBERS = np.float32([0, 900, 1000, 1300, 11000])
HARMLESS = np.float32([np.nan, 0.09, 0.1, 0.13, 1.1])  # offset 0
SHIFTED = np.float32([np.nan, -0.01, 0, 0.03, 1.0])  # offset -1000


def decide(path, offset=None, **source):
    return scaling_of(Source(Path(path), **source), offset, "prepare.offset")


def mtd(folder, baseline="05.09", offsets=(-1000,) * 3, level="10000", head="", kind="2A"):
    """A product's metadata as ESA writes it, cut to what matters."""
    folder.mkdir(parents=True, exist_ok=True)
    values = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{v}</BOA_ADD_OFFSET>' for i, v in enumerate(offsets))
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<n1:Level-2A_User_Product xmlns:n1="https://psd-14.esa.int">'
        f"<n1:General_Info><Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
        f'<BOA_QUANTIFICATION_VALUE unit="none">{level}</BOA_QUANTIFICATION_VALUE>{values}'
        "</n1:General_Info></n1:Level-2A_User_Product>"
    )
    (folder / f"MTD_MSIL{kind}.xml").write_text(text.replace("BOA_ADD", "RADIO_ADD") if kind == "1C" else text)
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (SAFE.format("N0208"), HARMLESS),
        (SAFE.format("N0301"), HARMLESS),
        (SAFE.format("N0400"), SHIFTED),
        (SAFE.format("N0509"), SHIFTED),
        (SAFE.format("N0500").replace("2023", "2017"), SHIFTED),  # Collection 1: old dates, processed again
        ("S2A_OPER_MSI_L2A_DS_EPAE_20200604T094332_S20200604T054831_N02.14", HARMLESS),
        ("tile_N0450_E0100", None),  # a place, not a baseline
        (SAFE.format("N9999"), None),
        ("S2A_MSIL2A_20170617T113321_36_85", None),  # a date tells nothing: it may have been processed again
    ],
)
def test_the_name_of_file_or_folder(name, expected):
    for path in (f"/data/{name}/GRANULE/L2A_T31UDS/IMG_DATA/R10m/T31UDS_B04_10m.jp2", f"/data/{name}.tif"):
        if expected is None:
            with pytest.raises(ZooError, match=r"set prepare\.offset to -1000") as error:
                decide(path)
            assert "\n" not in str(error.value)
            assert ("99.99 in its name does not say" in str(error.value)) == ("N9999" in name)
        else:
            np.testing.assert_allclose(decide(path)(NUMBERS), expected, atol=1e-7)


def test_zero_is_data_in_hls_which_has_no_offset():
    found = decide("/d/HLS.S30.T10SEH.2020123T184919.v2.0.B02.tif")
    np.testing.assert_allclose(found(NUMBERS), [0, 0.09, 0.1, 0.13, 1.1], atol=1e-7)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PROCESSING_BASELINE": "02.08"}, HARMLESS),
        ({"processing_baseline": "N0509"}, SHIFTED),
        ({"s2:processing_baseline": 5.1}, SHIFTED),
        ({"PRODUCT_URI": SAFE.format("N0400")}, SHIFTED),
        ({"BOA_ADD_OFFSET_B02": "-1000", "PROCESSING_BASELINE": "99.99"}, SHIFTED),
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, HARMLESS),
        ({"TIFFTAG_SOFTWARE": "GDAL 3", "BASELINE": "12.50", "N": "_N0509_"}, None),
    ],
)
def test_tags_of_the_file_and_json_beside_it(tmp_path, tags, expected):
    (tmp_path / "a.json").write_text(json.dumps({"type": "Feature", "properties": tags}))
    for path, given_tags in (("/d/a.tif", tags), (tmp_path / "a.tif", {})):
        if expected is None:
            with pytest.raises(ZooError, match="neither name"):
                decide(path, tags=given_tags)
        else:
            np.testing.assert_allclose(decide(path, tags=given_tags)(NUMBERS), expected, atol=1e-7)


def test_metadata_of_the_product(tmp_path):
    image = "GRANULE/L2A_T31/IMG_DATA/R10m/T31_B04_10m.jp2"
    safe = mtd(tmp_path / "a.SAFE")
    np.testing.assert_allclose(decide(safe / image)(NUMBERS), SHIFTED, atol=1e-7)
    old = mtd(tmp_path / "b.SAFE", "02.08", ())
    np.testing.assert_allclose(decide(old / image)(NUMBERS), HARMLESS, atol=1e-7)
    # What is listed goes before what the baseline implies, and the quantification is the product's.
    own = mtd(tmp_path / "c.SAFE", "05.09", (0, 0), "20000", kind="1C")
    np.testing.assert_allclose(decide(own / image)(np.float32([1000])), [0.05], atol=1e-7)
    for_no_name = mtd(tmp_path / "d.SAFE", "99.99", ())
    with pytest.raises(ZooError, match=r"99.99 in MTD_MSIL2A.xml does not say"):
        decide(for_no_name / image)
    with pytest.raises(ZooError, match="not one number for all bands"):
        decide(mtd(tmp_path / "e.SAFE", offsets=(-1000, 0)) / image)


def test_bombs_and_broken_metadata_are_one_line(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    with pytest.raises(ZooError, match="document type or entities"):
        decide(mtd(tmp_path / "a", head=bomb) / "x.tif")
    file = mtd(tmp_path / "b") / "MTD_MSIL2A.xml"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ZooError, match=r"MTD_MSIL2A.xml: cannot be read as XML") as error:
        decide(tmp_path / "b" / "x.tif")
    assert "\n" not in str(error.value)
    with file.open("r+b") as sparse:
        sparse.truncate(2**31)
    with pytest.raises(ZooError, match="2048 MiB, not a product's metadata"):
        decide(tmp_path / "b" / "x.tif")
    (tmp_path / "c.json").write_text("[" * 100_000)  # anybody's file
    with pytest.raises(ZooError, match="neither name"):
        decide(tmp_path / "c.tif")


def test_packing_is_never_applied_twice():
    """A reader gives 1300 x 1e-4 - 0.1 = 0.03 already; number 0 is then -0.1."""
    read = np.float32([-0.1, -0.01, 0.03, np.nan])
    for offset in (None, 0.0):
        found = scaling_of(Source(Path("/d/x_N0509_.tif"), {}, 1e-4, -0.1), offset, "prepare.offset")
        np.testing.assert_allclose(found(read), [np.nan, -0.01, 0.03, np.nan], atol=1e-7)
        assert found.offset == pytest.approx(-1000)
    with pytest.raises(ZooError, match="applied already; leave it unset"):
        scaling_of(Source(Path("/d/x.tif"), {}, 1e-4, -0.1), -1000, "prepare.offset")
    with pytest.raises(ZooError, match=r"02.08 in its name means 0; set prepare.offset to 0"):
        scaling_of(Source(Path("/d/x_N0208_.tif"), {}, 1e-4, -0.1), None, "prepare.offset")
    # A scale without an offset, where the name says -1000: the tags may have forgotten it.
    forgot = Source(Path("/d/x_N0509_.tif"), {}, 1e-4, 0.0)
    with pytest.raises(ZooError, match="-1000 if they forgot it"):
        scaling_of(forgot, None, "prepare.offset")
    np.testing.assert_allclose(scaling_of(forgot, -1000, "o")(np.float32([0, 0.13])), [np.nan, 0.03], atol=1e-7)
    np.testing.assert_allclose(scaling_of(forgot, 0, "o")(np.float32([0, 0.13])), [np.nan, 0.13], atol=1e-7)
    for scale, add in ((1e-4, -1000.0), (-1.0, 0.0), (10.0, 0.0)):
        with pytest.raises(ZooError, match="make no reflectance"):
            scaling_of(Source(Path("/d/x.tif"), {}, scale, add), None, "prepare.offset")


def test_floats_that_are_reflectance_stay_as_they_are():
    source = {"values": np.float32([0.02, 0.3, np.nan, 1.2]), "floats": True}
    found = decide("/d/x.tif", **source)
    np.testing.assert_array_equal(found(np.float32([0, 0.3])), np.float32([0, 0.3]))
    assert "0.02 to 1.2" in str(found)
    with pytest.raises(ZooError, match=r"are reflectance already, but prepare\.offset is -1000"):
        decide("/d/x.tif", -1000, **source)
    numbers = {"values": np.float32([200, 3000]), "floats": True}  # digital numbers that were stored as floats
    np.testing.assert_allclose(decide("/d/x_N0208_.tif", **numbers)(NUMBERS), HARMLESS, atol=1e-7)


def test_decisions_in_words():
    assert str(decide("/d/a_N0509_.tif")) == "reflectance = (number - 1000) / 10000: baseline 05.09 in its name"
    assert str(decide("/d/a_N0509_.tif", 0)) == (
        "reflectance = number / 10000: prepare.offset is set (though baseline 05.09 in its name means -1000)"
    )
    packed = scaling_of(Source(Path("/d/x.tif"), {}, 1e-4, -0.1), None, "prepare.offset")
    assert str(packed) == "reflectance = value: scale 0.0001 and offset -0.1 in its tags"


TOLD = st.sampled_from([None, 0.0, -1000.0])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TOLD, tag=TOLD, xml=TOLD, packing=TOLD, setting=TOLD)
def test_every_mixture_gives_the_right_value_or_one_line(tmp_path, name, tag, xml, packing, setting):
    """The rule, written once more: sources agree or a setting decides; packing is applied once; silence is asked."""
    baseline = {None: "", 0.0: "_N0208_", -1000.0: "_N0509_"}
    folder = tmp_path / f"xml{xml}"
    if xml is not None:
        mtd(folder, offsets=(xml,), baseline="99.99")
    tags = {} if tag is None else {"PROCESSING_BASELINE": "02.08" if tag == 0 else "05.09"}
    scale, add = (1.0, 0.0) if packing is None else (1e-4, packing * 1e-4)
    source = Source(folder / f"x{baseline[name]}.tif", tags, scale, add)
    told = {v for v in (name, tag, xml) if v is not None}
    everything = told if packing is None else told | {packing}
    if setting is None:
        right = everything.pop() if len(everything) == 1 else None
    elif setting == -1000.0 and (told == {0.0} or packing == -1000.0):
        right = None
    else:
        right = packing if packing else setting
    if right is None:
        with pytest.raises(ZooError, match=r"^[^\n]*prepare\.offset[^\n]*$"):
            scaling_of(source, setting, "prepare.offset")
        return
    found = scaling_of(source, setting, "prepare.offset")
    np.testing.assert_allclose(found(np.float32([0, 1300]) * np.float32(scale) + np.float32(add)),
                               [np.nan, (1300 + right) / 1e4], atol=1e-6)  # fmt: skip
    assert found.offset == pytest.approx(right)
