"""A system: the network and what surrounds it, as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from eozoo_core.train.execution import PLAIN, laid_out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eozoo_core.spec import Port
    from eozoo_core.task.data import Data
    from eozoo_core.task.part import PartOfRun

Tensors = dict[str, torch.Tensor]
KEPT = "features."  # core puts it before the names of kept features in a batch
_SHARED = ("B", "H", "W")  # axes along which missing input means missing output


class System(nn.Module):
    """From arrays in physical units to outputs in physical units. Everything that was fitted lies in buffers.

    ``predict`` is ``finish(raw(stage(arrays)), arrays)``: maps, scores and exported graphs call it, the loss sees what
    ``raw`` gives. A checkpoint holds the state of this module, so scaling belongs into buffers.

    receipt:         what was loaded of published weights, "" where none were; it is noted in the run.
    inputs, outputs: Ports of ``predict``, set by core from ``Task.ports`` before any call.
    tolerant:        roles of inputs in which single values may be missing (a time series with cloudy dates); where too
                     many are, ``finish`` gives NaN. In all others NaN hides the pixel or sample in every output.
    memory_layout:   of images, set by core; see `eozoo_core.train.execution`.
    multiple:        of images; the network takes any height and width that are multiples of it (1 = any at all), and
                     maps choose windows that suit the scene. 0 = not known: it always gets ``infer.window`` pixels.
    """

    receipt: str = ""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    tolerant: tuple[str, ...] = ()
    memory_layout: str = PLAIN
    multiple: int = 0

    def stage(self, arrays: Tensors) -> Tensors:
        """Turn physical arrays (NaN = missing) into what the network takes, finite everywhere. The default: as is."""
        return arrays

    def raw(self, staged: Tensors) -> Tensors:
        """Run the network: finite numbers such as logits, log-scales or standardised values, by name."""
        raise NotImplementedError(f"{type(self).__name__} has no raw(staged)")

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn ``raw`` into the outputs that are declared as moments, deviations, probabilities or plain arrays.

        A class is left to core. More arrays may be added for scores alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no finish(raw, arrays)")

    # -- a system that has them -----------------------------------------------------------------------------------

    def frozen(self) -> set[str]:
        """Return the names of state tensors that training does not change, such as those of a published encoder.

        Core stores them once in the run, under their hash, and leaves them out of checkpoints. The names before `adapt`
        say what is stored, those after it what checkpoints leave out: quantised layers may have other names. See
        `untrained`. The default: what whole runs inside it (`eozoo_core.task.part`) keep so.
        """
        return {f"{where}.{name}" for where, part in self._runs() for name in part.frozen()}

    def adapt(self) -> None:
        """Turn the system of ``Task.system`` into the one that is trained, in place: quantise, add adapters and a head.

        Called on the CPU with the frozen tensors filled in. Tensors that came from the meta device hold any numbers:
        the checkpoint is loaded over them. To count parameters and memory core also calls it on the meta device. The
        default: whole runs inside it are adapted.
        """
        for _, part in self._runs():
            part.adapt()

    def _runs(self) -> list[tuple[str, PartOfRun]]:
        """Whole runs that are parts of this system, by name; not those inside them."""
        from eozoo_core.task.part import PartOfRun

        found = [(name, part) for name, part in self.named_modules() if isinstance(part, PartOfRun)]
        return [one for one in found if not any(one[0].startswith(f"{other}.") for other, _ in found)]

    def simplify(self, side: int) -> tuple[str, ...]:
        """Make of a trained system, in place, on the CPU, one that exported graphs can hold: plain float32 weights.

        Returns the axes whose size it fixes, ``side`` pixels for "H" and "W"; the default: none, it is as it is.
        """
        return ()

    def untrained(self, part: str) -> set[str]:
        """Return the names of the tensors of submodule ``part`` but those of parameters that are trained."""
        module = self.get_submodule(part)
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        return {f"{part}.{name}" for name in nn.Module.state_dict(module) if name not in trained}

    def features(self, staged: Tensors) -> Tensors:
        """Return what a frozen part says of the samples, by name, (B, ...), finite, float32.

        Core computes it once for every sample of a split and keeps it on disk, see `eozoo_core.task.features`; ``raw``
        then finds the arrays among ``staged``, and calls ``features`` where they are not (in maps and exported graphs).
        """
        raise NotImplementedError(f"{type(self).__name__} has no features(staged)")

    def features_key(self) -> dict[str, Any] | None:
        """Return the plain values that ``features`` depends on, besides frozen weights and data; None = keep nothing.

        None is the default, and right wherever the part is trained (adapters, unfrozen blocks).
        """
        return None

    def solve(self, data: Data) -> None:
        """Find the weights in closed form from the training split, in memory that does not grow with it.

        A system that has this method takes no optimiser steps: training logs what the solution gives. Every process
        solves for itself and must find the same.
        """

    @property
    def solves(self) -> bool:
        """Whether this system writes ``solve``."""
        return type(self).solve is not System.solve

    # -- what core calls ------------------------------------------------------------------------------------------

    def staged(self, batch: Tensors) -> Tensors:
        """Return what ``raw`` takes: ``stage(batch)``, and the kept features where the batch brings them."""
        kept = {name.removeprefix(KEPT): values for name, values in batch.items() if name.startswith(KEPT)}
        staged = self.stage(batch) | kept
        if self.memory_layout == PLAIN:
            return staged
        return {
            name: laid_out(v, self.memory_layout) if getattr(v, "ndim", 0) == 4 else v for name, v in staged.items()
        }

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return what checkpoints hold: all but `frozen`."""
        state, prefix = super().state_dict(*args, **options), options.get("prefix", "")
        for name in self.frozen():
            del state[prefix + name]
        return state

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` gave. ``strict``: all of it and nothing else, or RuntimeError."""
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = set(result.missing_keys) - self.frozen()
        if strict and (missing or result.unexpected_keys):
            raise RuntimeError(f"missing {sorted(missing)}, unexpected {result.unexpected_keys}")
        return result

    def forward(self, staged: Tensors) -> Tensors:
        """Call ``raw``: what training and ``compute_in`` wrap for mixed precision and several processes."""
        return self.raw(staged)

    def predict(self, arrays: Tensors) -> Tensors:
        """Return the outputs of ``finish`` as float32, NaN where an input is missing that may not be."""
        return self.hidden(self.finish(self(self.staged(arrays)), arrays), arrays)

    def hidden(self, found: Tensors, arrays: Tensors) -> Tensors:
        """Return what ``finish`` gave, NaN where an input is missing that may not be.

        Inputs that are not among ``arrays`` are not looked at: data that come staged are complete.
        """
        lenient = {*self.tolerant, *(port.role for port in self.inputs if port.optional)}
        known = [port for port in self.inputs if port.role in arrays and port.role not in lenient]
        strict = [port for port in known if port.dtype.startswith("float")]
        return hide(found, self.outputs, arrays, strict)


def hide(found: Tensors, outputs: Iterable[Port], arrays: Tensors, inputs: Iterable[Port]) -> Tensors:
    """Set outputs to NaN where any of ``inputs`` is missing: by pixel where both have rows and columns, else by sample.

    What is among ``found`` and no output (values that only scores need) is left as it is.
    """
    masks = [_missing(port, arrays[port.role]) for port in inputs]
    axes = {port.role: port.axes.split() for port in outputs}
    return {n: _hidden(values.float(), axes[n], masks) if n in axes else values for n, values in found.items()}


def _missing(port: Port, values: torch.Tensor) -> tuple[list[str], torch.Tensor]:
    """The axes of ``_SHARED`` that a port has, and where along them any value is missing."""
    names = port.axes.split()
    other = [i for i, name in enumerate(names) if name not in _SHARED]
    if other and values.device.type == "cpu" and not (torch.jit.is_tracing() or torch.compiler.is_compiling()):
        gaps = torch.isnan((values * 0).sum(dim=other))  # the same in an eighth of the time: 0 times infinity is NaN
    else:
        gaps = ~torch.isfinite(values)
        gaps = gaps.any(dim=other) if other else gaps
    return [name for name in names if name in _SHARED], gaps


def _hidden(values: torch.Tensor, axes: list[str], masks: list[tuple[list[str], torch.Tensor]]) -> torch.Tensor:
    for names, mask in masks:
        lost = [i for i, name in enumerate(names) if name not in axes]  # pixels of an input, one output per sample
        mask = mask.any(dim=lost) if lost else mask
        kept = [name for name in names if name in axes]
        shape = [mask.shape[kept.index(name)] if name in kept else 1 for name in axes]
        values = torch.where(mask.reshape(shape), torch.nan, values)
    return values
