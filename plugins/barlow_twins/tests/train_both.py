"""Trains what jobs.json lists, one after the other: Fabric starts this script once more for each further process."""

import json
import sys
from pathlib import Path

from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings

if __name__ == "__main__":
    registry = Registry.discover()
    for job in json.loads(Path(sys.argv[1]).read_text()):
        cls = registry.get("task", job["task"])
        settings = load_settings(cls.Settings, Path(job["config"]), job["set"])
        cls(settings, registry).train(Run.create(Path(job["run"]), job["task"], settings))
