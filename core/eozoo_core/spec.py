"""The lazy description of one dataset, model, loss or task: a name is a string until it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from eozoo_core.errors import ZooError

KINDS = ("task", "model", "dataset", "loss")


@dataclass(frozen=True)
class Port:
    """One array that a model, loss or dataset takes or gives, so that two plugins' parts can be checked for a fit.

    role:  what it is, for example "image", "mean", "log_variance", "target".
    axes:  named axes in order, a letter or word each, for example "B C H W"; a number fixes a size ("B 1 H W").
    unit:  unit and range, for example "reflectance 0..1", "m"; "" where any unit passes through.
    bands: names along the axis C (or the number that stands for it), in order; () where any bands do.
    units: of each of the bands, where they differ (dB, K, m); ``unit`` is then "".
    mean, std: per band, what the values are standardised with: (value - mean) / std. () where nothing is, or where
               it is not known before training. A task does it itself; who calls a bare model does it before.
    dtype: "float32", "int64" ...
    spread: outputs only, how the draws of an ensemble combine: "moments" (their mean, and the variance between them),
           "probabilities" (their mean), "deviation" (the standard deviation of output ``of``, from the variances of
           the draws), "class" (the likeliest class of output ``of``); "" where draws cannot be combined.
    of:    the role of the output that a "deviation" or "class" belongs to.
    legend: of an output of classes, (code, name) of each class in the order of ``of``.
    quantity: of an output, what is measured in words ("canopy height"), for names of bands and tags of maps.
    least: of an output, the smallest value that there can be (0 m of a height): maps are floored there, not scores.
    optional: of float numbers only: it may be left out, which is the same as NaN. As an input it hides no output.
    """

    role: str
    axes: str
    unit: str = ""
    bands: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: str = "float32"
    spread: str = ""
    of: str = ""
    legend: tuple[tuple[int, str], ...] = ()
    quantity: str = ""
    optional: bool = False
    least: float | None = None
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.optional and not self.dtype.startswith("float"):
            raise ValueError(f"{self.role}: what is left out is NaN, which {self.dtype} has not")
        if self.spread not in ("", "moments", "probabilities", "deviation", "class"):
            raise ValueError(f"{self.role}: spread {self.spread!r} is none of moments, probabilities, deviation, class")
        if bool(self.of) != (self.spread in ("deviation", "class")):
            raise ValueError(f"{self.role}: a deviation or class names the output that it is of, others name none")
        if len(self.mean) != len(self.std) or (self.bands and self.mean and len(self.bands) != len(self.mean)):
            raise ValueError(
                f"{self.role}: {len(self.bands)} bands, {len(self.mean)} means, {len(self.std)} deviations"
            )

        if self.units and (self.unit or len(self.units) != len(self.bands)):
            raise ValueError(f"{self.role}: one unit, or a unit for each of the {len(self.bands)} bands")

    @property
    def described(self) -> tuple[str, ...]:
        """The names of the bands, with their units where these differ."""
        pairs = zip(self.bands, self.units or ("",) * len(self.bands), strict=True)
        return tuple(f"{band} [{unit}]" if unit else band for band, unit in pairs)

    def __str__(self) -> str:
        return f"{self.role} ({', '.join(self.axes.split())})" + (f" [{self.unit}]" if self.unit else "")


@dataclass(frozen=True)
class Card:
    """What a user would otherwise have to ask, each a sentence or more; "" where nobody wrote it yet.

    purpose:  what it is for, and for whom.
    inputs:   bands in their order, units, resolution, statistics, how missing data are marked.
    outputs:  what comes out, in which unit, and where it is NaN.
    weights:  tasks and models: which weights it starts from, where they come from and their licence.
    measured: memory and speed as measured, with the machine; "Not measured." where nobody did.
    limits:   known limits, one each.
    architecture: tasks and models: the common name of the network, for example "U-Net".
    kinds:    tasks and models: what it does in the words of STAC's machine-learning extension, for example
              "regression", "classification", "semantic-segmentation", "similarity-search" (features), "generative".
    """

    purpose: str = ""
    inputs: str = ""
    outputs: str = ""
    weights: str = ""
    measured: str = ""
    limits: tuple[str, ...] = ()
    architecture: str = ""
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            many = field in ("limits", "kinds")
            if many and not (isinstance(value, tuple) and all(isinstance(text, str) for text in value)):
                raise ValueError(f"card: {field} is {value!r}, expected a tuple of strings")
            if not many and not isinstance(value, str):
                raise ValueError(f"card: {field} is {value!r}, expected a string")


def blanks(kind: str, spec: Spec) -> list[str]:
    """Return the fields that a complete card of this ``kind`` has and ``spec`` leaves empty."""
    wanted = ["purpose", "inputs", "outputs", "measured", "limits"]
    wanted += ["weights", "architecture", "kinds"] if kind in ("task", "model") else []
    ports = {"task": (), "model": ("takes", "gives"), "loss": ("takes",), "dataset": ("gives",)}[kind]
    empty = [name for name in wanted if not getattr(spec.card, name)]
    ports = () if spec.ports_of else ports
    return empty + [name for name in (*ports, "licence", "citation") if not getattr(spec, name)]


@dataclass(frozen=True)
class Source:
    """Where weights of a model are published. None where no source can be cited: shown as "unknown".

    url:      of the file itself; file: the name it is kept under; revision: commit or tag that the URL means.
    bytes, sha256: of the file; licence: SPDX name of the weights' licence.
    """

    url: str
    file: str
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class Spec:
    """A name and where to find the object behind it. Holding one imports nothing.

    name:     what users type: lower-case letters, digits and underscores, unique in its kind among installed plugins.
    target:   "package.module:attribute", imported by ``load`` only.
    summary:  one line for ``eozoo list``.
    needs:    modules that the target imports and that are no hard dependency, each with its pip requirement:
              ``(("timm", "timm>=1.0"),)``.
    takes:    what it consumes (models, losses), as Ports.
    gives:    what it produces (models, losses, datasets), as Ports.
    licence:  SPDX name of the code's licence.
    citation: paper, document or repository where the idea comes from; "none: ..." where it is your own.
    card:     more for ``eozoo show``.
    sources:  where weights of a model or task are published: ``eozoo weights`` and `eozoo_core.run.published`.
    ports_of: "package.module:function" of a part whose Ports its options decide: called with (registry, spec, slot,
              options) it returns the Spec with ``takes`` and ``gives``, or raises ZooError. "" = they are as declared.
    parameters: of a model, how many it has with its default options, so that ``eozoo show`` need not build it; the
              conformance kit compares. None = it is built and counted.

    Raises ValueError at construction where a name, target, summary, need or Port is malformed.
    """

    name: str
    target: str
    summary: str
    needs: tuple[tuple[str, str], ...] = ()
    takes: tuple[Port, ...] = ()
    gives: tuple[Port, ...] = ()
    licence: str = "Apache-2.0"
    citation: str = ""
    card: Card = Card()
    sources: tuple[Source, ...] = ()
    parameters: int | None = None
    ports_of: str = ""

    def __post_init__(self) -> None:
        if not (_is_word(self.name) and self.name == self.name.lower() and self.name[0] != "_"):
            raise ValueError(f"{self.name!r}: a name is lower-case letters, digits and underscores")
        for target in (self.target, *([self.ports_of] if self.ports_of else [])):
            module, _, attribute = target.partition(":")
            if not all(map(_is_word, [*module.split("."), *attribute.split(".")])):
                raise ValueError(f"{self.name}: target {target!r} is not 'package.module:attribute'")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"{self.name}: the summary is one line")
        for field in ("takes", "gives"):
            ports = getattr(self, field)
            if not isinstance(ports, tuple) or not all(isinstance(port, Port) for port in ports):
                raise ValueError(f"{self.name}: {field} is {ports!r}, expected a tuple of Port")
        if not isinstance(self.needs, tuple) or not all(isinstance(n, tuple) and len(n) == 2 for n in self.needs):
            raise ValueError(f"{self.name}: needs is {self.needs!r}, expected ((module, requirement), ...)")

    def lacking(self) -> str | None:
        """Return the first optional dependency that is absent, with the command that installs it; None = all there."""
        absent = ((module, requirement) for module, requirement in self.needs if not _installed(module))
        return next((f"the module {module!r}: pip install '{requirement}'" for module, requirement in absent), None)

    def load(self) -> Any:
        """Import and return the target.

        Raises ZooError where an optional dependency is absent; an ImportError or AttributeError of the target itself
        passes through, because it is a bug of the plugin.
        """
        if lacking := self.lacking():
            raise ZooError(f"{self.name} needs {lacking}")
        return _imported(self.target)

    def with_options(self, registry: Any, slot: Any, options: dict[str, Any]) -> Spec:
        """Return the Spec for a slot and options: the same, but where ``ports_of`` decides."""
        return _imported(self.ports_of)(registry, self, slot, options) if self.ports_of else self


def _is_word(text: str) -> bool:
    return text.isascii() and text.isidentifier()


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is not there
        return False
    except ValueError:  # imported already, by hand
        return True
