"""The encoder of a run: where its weights come from, and the one file in which the run keeps the frozen ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.run.checkpoint import load_module
from eozoo_core.run.frozen import base_file, keep_base, load_base
from eozoo_core.run.progress import print_message
from eozoo_core.run.rank import is_first_process

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_clay_ta.clay import ClayEncoder
    from eozoo_clay_ta.settings import ClayModel

RANDOM = "random encoder"  # stands on every result that was made without published weights


def first_encoder(run: Run, options: ClayModel) -> ClayEncoder | None:
    """Return the encoder that training begins with: the run's own, the published weights, or random ones.

    The run's own is also that of the checkpoint named by --resume or --init-from. The first process writes the base
    file, notes the receipt in run.json and prints it.
    """
    from eozoo_clay_ta.clay_weights import load_clay
    from eozoo_clay_ta.model import build_encoder

    encoder, kept = build_encoder(options), None
    if encoder is None:
        run.note("encoder", {"name": "none", "weights": "none"})
        return None
    if (kept := load_base(run)) is not None:
        load_module(encoder, kept, base_file(run.path, run.info()["base"]))
        if "encoder" not in run.info():
            run.note("encoder", _inherited_note(run, options))
        return encoder
    weights, receipt = RANDOM, None
    if options.weights:
        receipt = load_clay(encoder, options.weights)
        weights = str(receipt)
    print_message(f"{options.encoder}: {weights}")
    if is_first_process():
        keep_base(run, encoder.state_dict())
        note = {"name": options.encoder, "weights": weights}
        run.note("encoder", note | ({"receipt": receipt.asdict()} if receipt else {}))
    return encoder


def _inherited_note(run: Run, options: ClayModel) -> dict:
    """What the run that the weights come from says about them."""
    start = run.info().get("resumed_from") or run.info()["init_from"]
    file = Path(start["file"]).parent / "run.json"
    origin = json.loads(file.read_text()).get("encoder", {}) if file.exists() else {}
    return {"name": options.encoder, "weights": origin.get("weights", f"from {start['file']}")}


def encoder_label(run: Run) -> str:
    """Return what stands on results: the encoder's name and where its weights come from."""
    info = run.info().get("encoder", {})
    if info.get("name", "none") == "none":
        return "no encoder"
    weights = "published weights" if info.get("weights") != RANDOM else RANDOM
    return f"{info['name']}, {weights}"
