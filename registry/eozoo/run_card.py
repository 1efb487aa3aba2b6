"""What a run directory says about itself, for its card: versions, device, place, files with their hashes, scores."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo_core import Run


def trained_facts(run: Run, pretrained: str | None) -> dict[str, Any]:
    """Return the facts as plain values; None for what the run does not say. An ensemble's are those of member 0.

    when:  the begin of the last training command (UTC), from run.json.
    pretrained: the checkpoint that --init-from named, else what the task says (``Network.pretrained``).
    data:  what is said about the data: that they are synthetic, for a demo's run.
    area:  [west, south, east, north] in degrees of the training data.
    files: every best.pt and frozen base, with size and sha256.
    Raises ZooError where nothing was trained yet.
    """
    from eozoo_core.run.continuity import run_info
    from eozoo_core.run.frozen import require_base
    from eozoo_core.run.manifest import quick_sha256, require_known
    from eozoo_core.settings import FIXED_SCOPES
    from eozoo_core.settings.config import to_dict

    files = [*sorted(run.path.rglob("best.pt")), *sorted(run.path.rglob("base-*.safetensors"))]
    if not any(file.name == "best.pt" for file in files):
        raise ZooError(f"{run.path}: has no best.pt; train it first with 'eozoo train {run.task} --run {run.path}'")
    for file in files:
        is_base = file.suffix == ".safetensors"
        require_base(file) if is_base else require_known(partial(run_info, file.parent), file)
    info = {**run_info(files[0].parent), **run.info()}
    last = (info.get("history") or [{}])[-1]
    settings = to_dict(run.settings)
    return {
        "path": str(run.path),
        "when": last.get("when"),
        "versions": {name: last[name] for name in ("eozoo", "torch", "python") if name in last},
        "device": info.get("device"),
        "seed": info.get("seed"),
        "pretrained": (info.get("init_from") or {}).get("receipt") or pretrained,
        "area": info.get("area"),
        "data": info.get("data"),
        "data_fingerprint": info.get("data_fingerprint"),
        "files": [{"path": str(file), "bytes": file.stat().st_size, "sha256": quick_sha256(file)} for file in files],
        "scores": _scores(run.path),
        "settings": {scope: settings.get(scope) or {} for scope in FIXED_SCOPES},
        "batch_size": settings.get("infer", {}).get("batch_size"),
    }


def _scores(folder: Path) -> dict[str, Any]:
    found = {}
    for file in sorted(folder.glob("eval_*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found[content["split"]] = content["scores"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ZooError(f"{file}: cannot be read as scores ({error}); score again with 'eozoo eval'") from None
    return found
