"""Train runs in processes of their own: ``train_runs.py JOBS.json``; Fabric's launcher starts it once more.

JOBS.json: a list of {"run": folder, "config": settings}, trained one after the other.
"""

import json
import sys
from pathlib import Path

import torch
from eozoo.registry import Registry
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run
from eozoo_core.settings.config import build_settings

for job in json.loads(Path(sys.argv[1]).read_text()):
    settings = build_settings(ClayTa.Settings, job["config"])
    ClayTa(settings, Registry.discover()).train(Run.create(Path(job["run"]), "clay_ta", settings))
torch.distributed.barrier()  # the first process ends the others when it ends
