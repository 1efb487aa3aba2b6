"""Galileo on the bands of anybody's images: units, dates, gaps, place, and squares that do not show in a map."""

import json
import os
from pathlib import Path

import pytest
import torch
from eozoo.testing import parametrize_with_checks
from eozoo_core import ZooError
from eozoo_pretrained.galileo import SPACE, SPACE_TIME, STATIC, TIME
from eozoo_pretrained.galileo_bands import Bands
from eozoo_pretrained.galileo_dense import galileo_nano
from eozoo_pretrained.galileo_scales import SCALES

ROOT = Path(__file__).parents[4]  # the folder in which the repository and shared/ lie
KNOWN = Path(os.environ.get("EOZOO_WEIGHTS", ROOT / "shared" / "weights")) / "galileo_normalization.json"
S2 = [(name, "reflectance x 10000") for name in ("B2", "B3", "B4", "B8")]


def normal(name, value):
    mean, std = SCALES[name]
    return pytest.approx((value - mean + 2 * std) / (4 * std), rel=1e-5)


def image(*values, size=4):
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None].expand(1, -1, size, size).clone()


@pytest.mark.skipif(not KNOWN.exists(), reason="no published statistics at hand")
def test_statistics_are_the_published_ones():
    known = json.loads(KNOWN.read_text())
    for count, groups in {"13": SPACE_TIME, "16": SPACE, "6": TIME, "18": STATIC}.items():
        names = [name for of in groups.values() for name in of]
        for kind, number in (("mean", 0), ("std", 1)):
            assert [SCALES[name][number] for name in names] == pytest.approx(known[count][kind], rel=1e-6)


def test_values_are_read_in_their_units_and_an_index_is_made_of_them():
    """Reflectance 0.1 is 1000; NDVI (3000 - 1000) / 4000; VV alone is no group; dB as (dB + 30) / 30."""
    bands = [("B02", "reflectance 0..1"), ("B03", ""), ("red", ""), ("nir", ""), ("VV", "dB"), ("VH", ""), ("DEM", "m")]
    units = {"S2": "reflectance 0..1", "VH": "(dB + 30) / 30"}
    given, gaps = Bands(bands, units)(image(0.05, 0.08, 0.1, 0.3, -10, 0.5, 700), torch.zeros(1, 7, 4, 4))
    assert list(given) == ["S1", "S2_RGB", "S2_NIR_10m", "NDVI"]
    assert given["S1"][0, 0, :, 0, 0].tolist() == [normal("VV", -10), normal("VH", -15)]
    assert given["S2_RGB"][0, 0, :, 3, 3].tolist() == [normal("B2", 500), normal("B3", 800), normal("B4", 1000)]
    assert given["NDVI"][0, 0, :, 0, 0].tolist() == [normal("NDVI", 0.5)]
    assert given["NDVI"].shape == (1, 1, 1, 4, 4)
    assert not any(gap.any() for gap in gaps.values())


def test_dates_are_those_of_names_and_what_a_date_lacks_is_masked():
    """May has no VH, the pixel (0, 1) no NIR in June: no index there either; terrain has no date."""
    names = [
        "20200531_VV",
        "20200601_VV",
        "20200601_VH",
        "20200531_B8",
        "20200601_B8",
        "20200531_NDVI",
        "20200601_NDVI",
    ]
    bands = [(name, {"V": "dB", "B": "reflectance x 10000"}.get(name[9], "")) for name in names]
    reader, missing = Bands(bands, {}), torch.zeros(1, 7, 2, 2)
    missing[0, 4, 0, 1] = 1
    given, gaps = reader(image(-9, -10, -16, 2000, 3000, 0.2, 0.4, size=2), missing)
    assert reader.months.tolist() == [[4, 5]]
    assert given["S1"].shape == (1, 2, 2, 2, 2)
    assert given["S1"][0, 1, :, 0, 0].tolist() == [normal("VV", -10), normal("VH", -16)]
    assert gaps["S1"].tolist() == [[[[True] * 2] * 2, [[False] * 2] * 2]]
    assert gaps["S2_NIR_10m"].nonzero().tolist() == [[0, 1, 0, 1]]
    assert not gaps["NDVI"].any()
    assert Bands(bands, {}, month=2).months.tolist() == [[1, 1]]
    assert Bands(S2, {}).months.tolist() == [[12]]


def test_place_is_that_of_the_setting_or_of_bands():
    """0 N 90 E is y = 1; a band says the same, where it is not missing."""
    wanted = [normal("x", 0), normal("y", 1), normal("z", 0)]
    given, gaps = Bands(S2, {}, place=(0, 90))(image(1, 1, 1, 1), torch.zeros(1, 4, 4, 4))
    assert given["location"][0].tolist() == [pytest.approx(a.expected, abs=1e-6) for a in wanted]
    values, missing = image(1, 1, 1, 1, 0, 90), torch.zeros(1, 6, 4, 4)
    values[0, 4:, 0], missing[0, 5, 0] = 0, 1
    given, gaps = Bands([*S2, ("lat", "degree"), ("lon", "degree")], {})(values, missing)
    assert given["location"][0].tolist() == [pytest.approx(a.expected, abs=1e-6) for a in wanted]
    assert gaps["location"].tolist() == [False]


@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        ([("VV", "dB")], {}, "no group of its bands .* is whole among VV"),
        ([("VV", "dB"), ("VH", "")], {}, "VH has no unit, 'dB' is needed; say it: model.options.units={S1: dB}"),
        ([("elevation", "ft"), ("slope", "degree")], {}, "elevation is in 'ft', 'm' is needed; .*units={elevation: m}"),
        (S2, {"patch": 9}, "patch 9 is 1 to 8 px"),
        (S2, {"names": ["B2"]}, "names: 1 names for 4 bands"),
        (S2, {"window": 2}, "window 2 more than twice margin 1"),
        ([(f"NDVI_{t}", "") for t in range(25)], {"pattern": "{band}_{t}"}, "25 dates by options.pattern"),
    ],
)
def test_what_cannot_be_read_is_one_line(bands, options, message):
    with pytest.raises(ZooError, match=message):
        galileo_nano(in_channels=len(bands), bands=bands, **options)


@pytest.mark.parametrize("size", [(17, 9), (8, 24)])
def test_squares_do_not_show(size):
    """Features of a patch are the same wherever the image is cut, and of the size of the image; gaps stay local."""
    torch.manual_seed(0)
    network = galileo_nano(in_channels=4, bands=S2, outputs=2).eval()
    values, missing = torch.rand(2, 4, *size) * 3000, torch.zeros(2, 4, *size)
    with torch.no_grad():
        found = network.features(values, missing)
        assert found.shape[2:] == (-(-size[0] // 4), -(-size[1] // 4))
        assert network(values / 1000, values, missing).shape == (2, 2, *size)
        part = network.features(values[:, :, 4:], missing[:, :, 4:])
        assert torch.allclose(part[:, :, 1:], found[:, :, 2:], atol=1e-5)
        assert not torch.allclose(part[:, :, 0], found[:, :, 1], atol=1e-5)  # its context was cut off
        missing[0, 1, 0, 0] = 1
        other = network.features(values, missing)
        assert torch.allclose(other[0, :, 2:], found[0, :, 2:], atol=1e-5)
        assert torch.allclose(other[1], found[1], atol=1e-5)
        assert not torch.allclose(other[0, :, 0, 0], found[0, :, 0, 0], atol=1e-5)
    wide = galileo_nano(in_channels=4, bands=S2, window=5, margin=1, patch=2).eval()
    assert wide.features(values, missing).shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))


def test_beyond_the_image_is_missing():
    """Features of an image are those of the same with a frame of missing pixels around it."""
    torch.manual_seed(0)
    network = galileo_nano(in_channels=4, bands=S2).eval()
    values, missing, frame = torch.rand(1, 4, 8, 12) * 3000, torch.zeros(1, 4, 8, 12), (4, 4, 4, 4)
    pad = torch.nn.functional.pad
    with torch.no_grad():
        framed = network.features(pad(values, frame), pad(missing, frame, value=1.0))
        assert torch.allclose(framed[:, :, 1:-1, 1:-1], network.features(values, missing), atol=1e-5)


def test_what_is_encoded_again_for_its_gradient_learns_the_same(monkeypatch):
    """Seven squares at once, or two."""
    torch.manual_seed(0)
    network = galileo_nano(in_channels=4, bands=S2, patch=8)
    values, missing = torch.rand(1, 4, 8, 56) * 3000, torch.zeros(1, 4, 8, 56)

    def gradient():
        network.zero_grad()
        network(values / 1000, values, missing).square().sum().backward()
        return network.encoder.blocks[0].mlp["fc1"].weight.grad.clone()

    wanted = gradient()
    monkeypatch.setattr("eozoo_pretrained.galileo_dense._CHUNK", 2)
    assert torch.allclose(gradient(), wanted, atol=1e-6 * wanted.abs().max())
    learned = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learned == {name for name, p in network.named_parameters() if p.grad is not None}
    assert not any("S1" in name or "static" in name for name in learned)
    frozen = galileo_nano(in_channels=4, bands=S2, patch=8, freeze=True)
    assert not any(p.requires_grad for p in frozen.encoder.parameters())
    assert all(p.requires_grad for p in frozen.head.parameters())


OPTIONS = "{names: [B2, B3, B4, B8], units: {S2: reflectance 0..1}, width: 4, patch: 8, window: 4}"


@pytest.mark.slow
@parametrize_with_checks("pixelwise_regression", overrides=[f"model={{name: galileo_nano, options: {OPTIONS}}}"])
def test_conformance(check, tmp_path):
    """The checks of every task of images, with this network."""
    check(tmp_path)


def test_what_a_run_gives_is_known_without_its_bands():
    """Names of 15 bands in the options, and a task that does not know yet how many there are."""
    from eozoo.registry import Registry
    from eozoo_core.settings.config import load_settings

    registry = Registry.discover()
    task = registry.get("task", "gedi_sparse")
    given = [
        "train.members=1",
        "model.name=galileo_nano",
        f"model.options={{names: [{', '.join(f'B{i}' for i in range(15))}]}}",
    ]
    assert task(load_settings(task.Settings, None, given), registry).outputs() == {"mean": "m", "std": "m"}
