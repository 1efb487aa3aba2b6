"""The check of the plugin's light module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from eozoo.testing.shared_runs import Bench

# What costs a tenth of a second or more, or opens libraries; pydantic and yaml belong to the settings, not to the list.
HEAVY = (
    *("torch", "torchvision", "numpy", "scipy", "pandas", "xarray", "rasterio", "h5py", "netCDF4", "PIL", "matplotlib"),
    *("sklearn", "timm", "transformers", "peft", "bitsandbytes", "lightning_fabric", "lightning", "safetensors"),
    *("tensorboard", "wandb", "pydantic", "pytest", "stac_model", "pystac"),
)

_SCRIPT = """
import sys
from importlib.metadata import entry_points
from eozoo.registry import GROUP, Registry
registry = Registry()
for point in entry_points(group=GROUP):
    if f"{point.dist.name} {point.dist.version}" == sys.argv[1]:
        registry.add(point.load, sys.argv[1])
for problem in registry.problems:
    sys.exit(f"the plugin does not load: {problem.reason}")
registry.find("task", sys.argv[2])
print(" ".join(sorted(set(sys.argv[3:]) & set(sys.modules))))
"""


def listing_is_light(bench: Bench, folder: Path) -> None:
    """Finding the task by name, in a fresh interpreter, imports nothing heavy."""
    command = [sys.executable, "-P", "-c", _SCRIPT, bench.plugin, bench.name, *HEAVY]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{bench.plugin}: {result.stderr.strip()}"
    imported = result.stdout.split()
    assert not imported, (
        f"{bench.plugin}: listing imports {', '.join(imported)}; let the module that the entry point names, and the "
        "__init__.py of its package, import nothing but eozoo_core"
    )
