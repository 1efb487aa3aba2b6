"""Nothing in the product writes a file past core's one writer (``run/writing.py``, ``run/written.py``)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# the writer; a lease is linked into place with its content, and a read-only run is seen through a folder of links
WRITER = {
    "core/eozoo_core/run/writing.py",
    "core/eozoo_core/run/written.py",
    "core/eozoo_core/run/lease.py",
    "core/eozoo_core/run/read_only.py",
}
OPENS = {"open", "File", "ZipFile", "fdopen", "memmap", "load"}  # writes where its mode says so
ALWAYS = set(
    """
    write_text write_bytes save savez savez_compressed savetxt tofile open_memmap savefig imsave save_file
    dump copy copy2 copyfile copyfileobj copytree move rename renames symlink symlink_to link hardlink_to
    touch mkdir makedirs mkstemp mkdtemp NamedTemporaryFile TemporaryFile TemporaryDirectory
    SpooledTemporaryFile SummaryWriter export_chrome_trace to_csv to_parquet to_netcdf urlretrieve extractall
    truncate write_image connect RotatingFileHandler FileHandler
    """.split()  # noqa: SIM905
)
OURS = {"write_text", "write_bytes"}  # as functions; as methods they are Path's
# (file, call): why it may
EXCEPTIONS = {
    ("core/eozoo_core/raster/cog.py", "rasterio.open"): "GDAL writes by name: in a hidden folder, checked, published",
    ("core/eozoo_core/raster/cog.py", "rasterio.shutil.copy"): "the same",
    ("core/eozoo_core/raster/zarr_map.py", "self._before.replace"): "the store that was there comes back",
    ("core/eozoo_core/raster/zarr_map.py", "self.path.replace"): "a store is a folder: out of the way, then published",
    ("core/eozoo_core/task/crossval.py", "child.write_text"): "a run's own method",
    ("core/eozoo_core/task/maps.py", "TemporaryDirectory"): "parts of a map that nobody asked for",
    ("core/eozoo_core/task/xarrays.py", "given.rename"): "a variable of xarray gets another name",
    ("core/eozoo_core/run/beginning.py", "run.save"): "a run writes checkpoints through write_atomic",
    ("core/eozoo_core/run/checkpoint.py", "torch.save"): "into write_atomic's file",
    ("core/eozoo_core/run/frozen.py", "save_file"): "safetensors writes by name: in a hidden folder, published",
    ("core/eozoo_core/run/frozen.py", "os.link"): "a link is there or not; it takes no space",
    ("core/eozoo_core/score/quicklook.py", "inks.picture(sheet).save"): "into memory, then write_bytes",
    ("core/eozoo_core/task/members.py", "(child.path / 'train.txt').open"): "what another process prints",
    ("core/eozoo_core/train/loggers.py", "SummaryWriter"): "TensorBoard appends itself; left out where it cannot",
    ("core/eozoo_core/train/profile.py", "result.export_chrome_trace"): "torch writes by name: in a hidden folder",
    ("registry/eozoo/cli/verbs.py", "open"): "standard output",
    ("registry/eozoo/export_formats.py", "torch.export.save"): "into memory, then write_bytes",
    ("registry/eozoo/export_formats.py", "save_file"): "safetensors writes by name: in the hidden folder of `export`",
    (
        "plugins/barlow_twins/eozoo_barlow_twins/maps.py",
        "np.load",
    ): "goes on with a stopped map; all blocks are reserved",
    (
        "plugins/barlow_twins/eozoo_barlow_twins/prepare/write_tile.py",
        "path.open",
    ): "rows of an array in a hidden folder",
    ("plugins/gedi_sparse/eozoo_gedi_sparse/prepare/synthetic_granule.py", "zipfile.ZipFile"): "into memory",
    ("plugins/gedi_sparse/eozoo_gedi_sparse/prepare/table_files.py", "sqlite3.connect"): "read only: mode=ro",
}


def product():
    """Every Python file of the distributions but the conformance kit, which spoils files on purpose, and templates."""
    for root in (ROOT / "core" / "eozoo_core", ROOT / "registry" / "eozoo", *ROOT.glob("plugins/*/eozoo_*")):
        for file in sorted(root.rglob("*.py")):
            place = file.relative_to(ROOT).as_posix()
            templates = "/scaffold/" in place and not place.endswith("scaffold/__init__.py")
            if place not in WRITER and "/testing/" not in place and not templates:
                yield place, file.read_text()


def writing_calls(text):
    """Yield, as written, every call in a source text that writes a file by itself."""
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        method = isinstance(call.func, ast.Attribute)
        name = call.func.attr if method else getattr(call.func, "id", "")
        shown = ast.unparse(call.func)
        if name in OPENS:
            modes = [*call.args, *(k.value for k in call.keywords if k.arg in ("mode", "mmap_mode"))]
            texts = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
            writes = any(set(t) & set("wax+") for t in texts if 0 < len(t) < 5 and set(t) <= set("rwaxbt+"))
        elif name == "replace":  # Path.replace(target); text has two arguments, dataclasses names its own
            writes = method and not call.keywords and (len(call.args) == 1 or shown == "os.replace")
        elif name == "dump":
            writes = len(call.args) > 1
        else:
            writes = name in ALWAYS and (method or name not in OURS) and not _harmless(name, call, shown)
        if writes:
            yield shown


def _harmless(name, call, shown):
    """``x.copy()`` and ``copy(x)`` of arrays and objects, and a run's or an object's own ``save``."""
    if name in ("copy", "move", "link"):
        return len(call.args) != 2
    if name == "write_text":
        return shown.endswith("run.write_text") or shown == "self.write_text"
    if name in ("save", "rename"):
        return shown in ("self.run.save", "self.save", "save")
    return False


def test_nothing_writes_past_the_writer():
    found = {(place, shown) for place, text in product() for shown in writing_calls(text)}
    past = sorted(f"{place}: {shown}" for place, shown in found - set(EXCEPTIONS))
    assert past == [], "use eozoo_core.run.written or writing"
    assert set(EXCEPTIONS) - found == set()  # no exception outlives its reason


PAST = """
open(f, 'w') | path.open('ab') | path.open(mode='x') | os.fdopen(h, 'wb') | path.write_text(t)
p.write_bytes(b) | np.save(f, a) | np.savez(f, a=a) | np.savez_compressed(f)
np.lib.format.open_memmap(f, 'w+') | np.memmap(f, mode='w+') | np.load(f, mmap_mode='r+') | a.tofile(f)
rasterio.open(f, 'w', driver='GTiff') | rasterio.open(f, 'r+') | h5py.File(f, 'w') | h5py.File(f, 'a')
torch.save(x, f) | save_file(t, f) | figure.savefig(f) | imsave(f, a) | image.save(f)
shutil.copy2(a, b) | shutil.copyfile(a, b) | shutil.move(a, b) | shutil.copytree(a, b) | a.replace(b)
os.replace(a, b) | a.rename(b) | json.dump(a, f) | zipfile.ZipFile(f, 'w') | sqlite3.connect(f)
path.mkdir(parents=True) | tempfile.mkdtemp() | table.to_csv(f) | SummaryWriter(f) | path.touch()
prof.export_chrome_trace(f)
"""
FINE = """
open(f) | open(f, 'rb') | path.open() | np.load(f, mmap_mode='r') | rasterio.open(f)
h5py.File(f, 'r') | a.copy() | write_text(p, t) | written.write_array(p, a) | text.replace('a', 'b')
replace(port, role='w') | copy(x) | json.dumps(a)
"""


def planted(text):
    return [call.strip() for line in text.strip().splitlines() for call in line.split(" | ")]


@pytest.mark.parametrize("call", planted(PAST))
def test_it_would_be_found(call):
    assert list(writing_calls(f"def f():\n    return [lambda: {call}]")) != []


@pytest.mark.parametrize("call", planted(FINE))
def test_reading_and_the_writer_pass(call):
    assert list(writing_calls(call)) == []
