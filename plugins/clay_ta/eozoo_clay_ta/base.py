"""The encoder of a run: where its weights come from, and the one file in which the run keeps the frozen ones."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core import ZooError
from eozoo_core.checkpoint import load_module, load_weights, sha256, write_atomic
from eozoo_core.run import is_first_process

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_clay_ta.clay import ClayEncoder
    from eozoo_clay_ta.settings import ClayModel

RANDOM = "random encoder"  # stands on every result that was made without published weights


def first_encoder(run: Run, options: ClayModel) -> ClayEncoder | None:
    """Return the encoder that training begins with: the run's own, the published weights, or random ones.

    The first process writes the base file and notes the receipt in run.json and prints it.
    """
    from eozoo_clay_ta.clay_weights import load_clay
    from eozoo_clay_ta.model import build_encoder

    if options.type == "clay_transfer" and "encoder" in run.info():
        return saved_encoder(run, options)
    encoder = build_encoder(options)
    if encoder is None:
        run.note("encoder", {"name": "none", "weights": "none"})
        return None
    weights, receipt = RANDOM, None
    if options.clay_ckpt_path:
        receipt = load_clay(encoder, options.clay_ckpt_path)
        weights = str(receipt)
    say(f"{options.encoder}: {weights}")
    if is_first_process():
        file = save_base(run, encoder)
        note = {"name": options.encoder, "weights": weights, "base": file.name}
        run.note("encoder", note | ({"receipt": receipt.asdict()} if receipt else {}))
    return encoder


def saved_encoder(run: Run, options: ClayModel) -> ClayEncoder | None:
    """Return the encoder of a trained run as training began with it. Raises ZooError where its file changed."""
    from eozoo_clay_ta.model import build_encoder

    encoder = build_encoder(options)
    if encoder is None:
        return None
    file = run.path / run.info().get("encoder", {}).get("base", "base")
    if not file.exists():
        raise ZooError(f"{file}: the frozen encoder of this run is missing; copy the whole run directory")
    if sha256(file) != file.stem.removeprefix("base-"):
        raise ZooError(f"{file}: its content does not match its name; copy the run directory again")
    load_module(encoder, load_weights(file), file)
    return encoder


def save_base(run: Run, encoder: ClayEncoder) -> Path:
    """Write the encoder once, as ``base-<sha256>.safetensors``; checkpoints hold only what is trained."""
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()})
    path = run.path / f"base-{hashlib.sha256(content).hexdigest()}.safetensors"
    if not path.exists():
        write_atomic(path, lambda file: file.write(content))
    return path


def encoder_label(run: Run) -> str:
    """Return what stands on results: the encoder's name and where its weights come from."""
    info = run.info().get("encoder", {})
    if info.get("name", "none") == "none":
        return "no encoder"
    weights = "published weights" if info.get("weights") != RANDOM else RANDOM
    return f"{info['name']}, {weights}"


def say(text: str) -> None:
    """Print a line beside the results, from the first process."""
    if is_first_process():
        print(text, file=sys.stderr)
