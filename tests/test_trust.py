"""A file is read, and what it refers to only within its own folder: no /etc/passwd, no server, no other file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import read_whole

BAND = '<VRTRasterBand dataType="Byte" band="1"{kind}>{source}</VRTRasterBand>'
RAW = "<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>4</LineOffset>"


def vrt(path, source, relative=0, raw=False):
    name = f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>'
    inner = f"{name}{RAW}" if raw else f"<SimpleSource>{name}<SourceBand>1</SourceBand></SimpleSource>"
    band = BAND.format(kind=' subClass="VRTRawRasterBand"' if raw else "", source=inner)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<VRTDataset rasterXSize="4" rasterYSize="3">{band}</VRTDataset>')
    return path


@pytest.fixture
def tile(tmp_path):
    profile = {"driver": "GTiff", "count": 1, "height": 3, "width": 4, "dtype": "uint8"}
    (tmp_path / "a" / "tiles").mkdir(parents=True)
    with rasterio.open(tmp_path / "a" / "tiles" / "t.tif", "w", **profile, crs="EPSG:32632",
                       transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as out:  # fmt: skip
        out.write(np.arange(12, dtype="uint8").reshape(1, 3, 4))
    return tmp_path / "a" / "tiles" / "t.tif"


def test_sources_in_or_below_the_folder_are_read(tile, tmp_path, monkeypatch):
    below = vrt(tmp_path / "a" / "m.vrt", "tiles/t.tif", relative=1)
    assert read_whole(below).sum() == 66
    assert read_whole(vrt(tmp_path / "a" / "n.vrt", tile)).sum() == 66
    assert read_whole(vrt(tmp_path / "a" / "twice.vrt", "m.vrt", relative=1)).sum() == 66
    (tmp_path / "linked.vrt").symlink_to(below)
    monkeypatch.chdir(tmp_path)
    assert read_whole(Path("linked.vrt")).sum() == 66


@pytest.mark.parametrize(
    ("source", "relative", "raw"),
    [
        ("/etc/passwd", 0, True),
        ("../../../../../../../../etc/passwd", 1, True),
        ("/vsicurl/http://127.0.0.1:9/x.tif", 0, False),
        ("http://127.0.0.1:9/x.tif", 0, False),
        ("/vsimem/x.tif", 0, False),
        ("netcdf:/etc/x.nc:v", 0, False),
    ],
)
def test_sources_elsewhere_are_refused(tmp_path, source, relative, raw):
    file = vrt(tmp_path / "deep" / "m.vrt", source, relative, raw)
    with pytest.raises(ZooError, match=r"m\.vrt: refers to .*, which is outside its folder; give that file itself"):
        read_whole(file)
    nested = vrt(tmp_path / "deep" / "n.vrt", "m.vrt", relative=1)
    with pytest.raises(ZooError, match=r"m\.vrt: refers to"):
        read_whole(nested)


def test_a_vrt_that_refers_to_itself_or_is_damaged_is_one_line(tmp_path):
    with pytest.raises(ZooError, match="refers to itself"):
        read_whole(vrt(tmp_path / "m.vrt", "m.vrt", relative=1))
    (tmp_path / "bad.vrt").write_text('<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset><not closed>')
    with pytest.raises(ZooError, match=r"bad\.vrt: is no valid VRT"):
        read_whole(tmp_path / "bad.vrt")


def test_a_catalogue_that_would_fetch_is_no_raster(tmp_path):
    (tmp_path / "wms.xml").write_text(
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}.png</ServerUrl></Service></GDAL_WMS>'
    )
    with pytest.raises(ZooError, match=r"wms\.xml: cannot be read as a raster"):
        read_whole(tmp_path / "wms.xml")


@pytest.mark.parametrize("how", ["link", "external", "virtual"])
def test_variables_that_lie_in_another_file_are_refused(tmp_path, how):
    (tmp_path / "secret.bin").write_bytes(bytes(range(48)))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["v"] = np.ones((3, 4), "float32")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        if how == "link":
            file["v"] = h5py.ExternalLink("other.h5", "v")
        elif how == "external":
            file.create_dataset("v", (3, 4), "float32", external=[(str(tmp_path / "secret.bin"), 0, 48)])
        else:
            layout = h5py.VirtualLayout((3, 4), "float32")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "v", (3, 4))
            file.create_virtual_dataset("v", layout)
    with pytest.raises(ZooError, match=r"in\.h5: .*(link into other\.h5|stored in another file)"):
        read_whole(tmp_path / "in.h5")
    with pytest.raises(ZooError, match=r"in\.h5: .*(link into other\.h5|stored in another file)"):
        read_whole(Path(f"HDF5:{tmp_path}/in.h5://v"))
