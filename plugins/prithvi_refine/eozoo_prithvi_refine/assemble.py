"""Putting the model together: for training, with the base written into the run; for use, from the run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from eozoo_core.errors import ZooError
from eozoo_core.run.frozen import keep_base, load_base
from eozoo_core.run.rank import is_first_process
from eozoo_core.task.load import Trained, load_trained

from eozoo_prithvi_refine.adapters import TARGETS, adapt
from eozoo_prithvi_refine.encoder import PrithviEncoder, build_encoder
from eozoo_prithvi_refine.positions import position_table
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import ModelSettings
from eozoo_prithvi_refine.weights import load_prithvi

if TYPE_CHECKING:
    from eozoo_core import Run
    from lightning_fabric import Fabric

    from eozoo_prithvi_refine.settings import PrithviSettings


def model_to_train(run: Run, settings: PrithviSettings, fabric: Fabric) -> tuple[PrithviRefiner, str | None]:
    """Build the model and return it with the hash of its frozen base (None where nothing is frozen).

    The encoder's weights come from the run's base where it has one, else from ``model.weights``, else from the seed.
    Their frozen part is written into the run before it is quantised.
    """
    if settings.model.encoder == "none":
        return PrithviRefiner(settings.model, None), None
    base = load_base(run) if is_first_process() else None
    fabric.barrier()  # the first process may have linked the file into the run
    base = base if is_first_process() else load_base(run)
    first = base is None
    # Blocks that are trained are not in the base: before the first checkpoint they begin as they began the first time.
    if first or (settings.model.unfreeze_last_n_blocks > 0 and not run.has("current")):
        encoder, origin = _beginning(settings)
    else:
        encoder, origin = _empty_encoder(settings.model.encoder), None
    if first:
        run.note("weights", origin)
        if settings.model.weights is not None and is_first_process() and not settings.runtime.quiet:
            print(origin)
    else:
        _fill(encoder, settings.model, base)
        del base  # what is left of the mapped file
    if first and settings.model.freeze_base:
        fabric.barrier()  # all have seen that there is none
        if is_first_process():
            names = set(frozen_names(encoder, settings.model))
            keep_base(run, {name: tensor for name, tensor in encoder.state_dict().items() if name in names})
        fabric.barrier()
    adapt(encoder, settings.model)
    return PrithviRefiner(settings.model, encoder), run.info()["base"] if settings.model.freeze_base else None


def _beginning(settings: PrithviSettings) -> tuple[PrithviEncoder, str]:
    """The encoder that a run begins with, from ``model.weights`` or at random, and what is to be said of it.

    Random weights have a generator of their own: what is drawn after them (adapters, head) is the same where the run
    takes them from its base instead.
    """
    if settings.model.weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((torch.initial_seed() + 1) % 2**63)
            return build_encoder(settings.model.encoder), "random: model.weights was not given"
    encoder = _empty_encoder(settings.model.encoder).to_empty(device="cpu")
    encoder.pos_embed.copy_(position_table(encoder.variant.embed_dim, *encoder.grid))
    return encoder, str(load_prithvi(encoder, settings.model.weights))


def load_model(
    run: Run, settings: PrithviSettings, scope: str | None, device: str | None = None
) -> tuple[PrithviRefiner, torch.device]:
    """Load best.pt, every tensor matched, in eval mode, on ``device`` (None = ``runtime.device``).

    ``scope``: "eval" or "infer", whose precision it computes in; None = fp32.
    """
    return load_trained(run, settings, _empty_refiner, scope, device)


def _empty_refiner(trained: Trained[PrithviSettings]) -> PrithviRefiner:
    """The refiner of a checkpoint with its frozen base in it."""
    options = trained.settings.model
    if options.encoder == "none":
        return PrithviRefiner(options, None)
    encoder = _empty_encoder(options.encoder)
    if options.freeze_base:
        _fill(encoder, options, trained.base())
    else:
        encoder.to_empty(device="cpu")
    adapt(encoder, options)
    return PrithviRefiner(options, encoder)


def frozen_names(encoder: PrithviEncoder, settings: ModelSettings) -> list[str]:
    """Names of the tensors of a plain encoder that training leaves alone: all but the last unfrozen blocks."""
    first_free = len(encoder.blocks) - settings.unfreeze_last_n_blocks
    free = tuple(f"blocks.{i}." for i in range(first_free, len(encoder.blocks)))
    return [name for name in encoder.state_dict() if not name.startswith(free)] if free else list(encoder.state_dict())


def _empty_encoder(name: str) -> PrithviEncoder:
    """An encoder that holds shapes alone (on the meta device): neither memory nor time is spent on random numbers."""
    with torch.device("meta"):
        return build_encoder(name)


def _fill(encoder: PrithviEncoder, settings: ModelSettings, base: dict[str, torch.Tensor]) -> None:
    """Put the base into an encoder, in memory or of shapes alone; blocks that the base has not are left as they are,
    empty where they were shapes.

    Weights that `adapt` is to quantise stay in the mapped file until then, so that the model is never whole in memory.
    """
    expected = frozen_names(encoder, settings)
    shapes = {name: value.shape for name, value in encoder.state_dict().items()}
    wrong = [n for n in {*expected, *base} if n not in base or n not in expected or base[n].shape != shapes[n]]
    if wrong:
        raise ZooError(
            f"the run's base does not fit model.encoder {settings.encoder} with unfreeze_last_n_blocks "
            f"{settings.unfreeze_last_n_blocks}: {len(wrong)} tensors differ ({sorted(wrong)[0]})"
        )
    quantised = tuple(f"{target}.weight" for target in TARGETS) if settings.quantization != "none" else ()
    tensors = {n: t if quantised and n.endswith(quantised) else t.clone() for n, t in base.items()}
    encoder.load_state_dict(tensors, strict=False, assign=True)
    for block in encoder.blocks[len(encoder.blocks) - settings.unfreeze_last_n_blocks :]:
        if any(p.is_meta for p in block.parameters()):
            block.to_empty(device="cpu")
