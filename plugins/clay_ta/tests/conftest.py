"""Fixtures of the plugin's tests. The reference outputs lie beside the clone, not in it."""

from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def parity():
    """The folder of reference outputs, found by its place relative to the repository (or a worktree of it)."""
    for parent in Path(__file__).resolve().parents[3:7]:
        if (parent / "shared" / "parity").is_dir():
            return parent / "shared" / "parity"
    pytest.skip("no ../shared/parity beside the repository: the reference outputs are not on this machine")


@pytest.fixture(scope="session")
def tiny_reference(parity):
    """(state dict, arrays) of the small reference encoder."""
    arrays = np.load(parity / "clay_tiny.npz", allow_pickle=False)
    return torch.load(parity / "clay_tiny_state.pt", weights_only=True), {k: torch.as_tensor(arrays[k]) for k in arrays}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """10 scenes and 12 stations on 24 x 24 pixels, prepared: settings with its paths (do not change the files)."""
    from eozoo_clay_ta.demo.products import simulate
    from eozoo_clay_ta.demo.sample import sample_settings
    from eozoo_clay_ta.grid import KoGrid
    from eozoo_clay_ta.prepare.index import build_index
    from eozoo_clay_ta.prepare.patches import PatchBuilder
    from eozoo_clay_ta.settings import GridSettings, SimulateSettings

    root = tmp_path_factory.mktemp("prepared")
    part = GridSettings(width=24, height=24, left=-540_000.0, top=20_000.0)
    settings = sample_settings(root, part).model_copy(
        update={"model": sample_settings(root).model.model_copy(update={"encoder": "clay_micro", "hidden": 16})}
    )
    settings = settings.model_copy(
        update={"runtime": settings.runtime.model_copy(update={"tensorboard": False, "quiet": True, "device": "cpu"})}
    )
    grid = KoGrid(**part.model_dump())
    many = SimulateSettings(stations=12, every_days=36, days=10, hours=(3,), map_stamps=("202204040300",))
    simulate(root, many, grid)
    index = settings.prepare.build_index.model_copy(update={"block_days": 36, "pattern": "tttvttette"})
    patches = settings.prepare.build_patches.model_copy(update={"patch_chunk_rows": 30})
    prepare = settings.prepare.model_copy(update={"build_index": index, "build_patches": patches})
    settings = settings.model_copy(update={"prepare": prepare})
    build_index(index, root / "index", grid)
    PatchBuilder(settings).build()
    return settings
