"""The lazy description of one dataset, model, loss or task: a name is a string until it is used."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

from eozoo_core.errors import ZooError

KINDS = ("task", "model", "dataset", "loss")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Port:
    """One array that a model, loss or dataset takes or gives, so that two plugins' parts can be checked for a fit.

    role:  what it is, for example "image", "mean", "log_variance", "target".
    axes:  named axes in order, a letter or word each, for example "B C H W"; a number fixes a size ("B 1 H W").
    unit:  unit and range, for example "reflectance 0..1", "m"; "" where any unit passes through.
    """

    role: str
    axes: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.role} ({', '.join(self.axes.split())})" + (f" [{self.unit}]" if self.unit else "")


@dataclass(frozen=True)
class Card:
    """What a user would otherwise have to ask, each a sentence or more; "" where it is not known.

    purpose:  what it is for, and for whom.
    inputs:   bands in their order, units, resolution, statistics, how missing data are marked.
    weights:  which weights it starts from, where they come from and their licence.
    measured: memory and speed as measured, with the machine.
    limits:   known limits, one each.
    """

    purpose: str = ""
    inputs: str = ""
    weights: str = ""
    measured: str = ""
    limits: tuple[str, ...] = ()


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
    citation: paper, document or repository where the idea comes from.
    card:     more for ``eozoo show``.
    sources:  where weights of a model are published, for ``eozoo weights``.

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

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r}: a name is lower-case letters, digits and underscores")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(f"{self.name}: target {self.target!r} is not 'package.module:attribute'")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"{self.name}: the summary is one line")
        for field in ("takes", "gives"):
            ports = getattr(self, field)
            if not isinstance(ports, tuple) or not all(isinstance(port, Port) for port in ports):
                raise ValueError(f"{self.name}: {field} is {ports!r}, expected a tuple of Port")
        if not isinstance(self.needs, tuple) or not all(isinstance(n, tuple) and len(n) == 2 for n in self.needs):
            raise ValueError(f"{self.name}: needs is {self.needs!r}, expected ((module, requirement), ...)")

    def load(self) -> Any:
        """Import and return the target.

        Raises ZooError where an optional dependency is absent; an ImportError or AttributeError of the target itself
        passes through, because it is a bug of the plugin.
        """
        for module, requirement in self.needs:
            if not _installed(module):
                raise ZooError(f"{self.name} needs the module {module!r}: pip install '{requirement}'")
        module, _, attribute = self.target.partition(":")
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
