"""Mix and match: whether a model or loss of one plugin fits the place that another plugin's task has for it."""

from __future__ import annotations

from dataclasses import dataclass

from eozoo_core.spec import Port, Spec


@dataclass(frozen=True)
class Slot:
    """A place in a task's settings, a ``Named`` part, into which any registered name may go that fits.

    kind:  "model", "loss" or "dataset".
    feeds: what the task gives to the part, in the order of a call.
    wants: what the task needs from it, but for what is optional; a part may give more.
    after: the settings path of another slot whose part feeds this one too: a loss gets what the model gives.
    options: what the task builds the part with beside the options that the settings name; a part has to have those.
    also:  settings ("key=value") that have to go with a name in this slot.

    The same letter means the same size throughout a slot: a model that is fed ``B C H W`` and of which ``B 1 H W`` is
    wanted may not give ``B 1 h w``. A part whose axes end in ``...`` takes any further ones: pixels as well as rows.
    """

    kind: str
    feeds: tuple[Port, ...] = ()
    wants: tuple[Port, ...] = ()
    after: str = ""
    options: tuple[str, ...] = ("in_channels", "outputs")
    also: tuple[str, ...] = ()


def misfit(slot: Slot, spec: Spec, fed: tuple[Port, ...] = ()) -> str | None:
    """Return in one line why ``spec`` does not fit into ``slot``, None where it does.

    ``fed`` are the Ports of the slot that this one comes ``after``. Roles and numbers of axes must be equal, a number
    meets the same number or a letter, units are equal or one of the two is "".
    """
    if (slot.feeds or fed) and not spec.takes:
        return "it does not declare what it takes"
    sizes: dict[str, str] = {}  # axis letter of the part -> size or letter of the slot
    feeds = [*fed, *slot.feeds]
    for port in spec.takes:
        match = next((feed for feed in feeds if feed.role == port.role), None)
        if match is None:
            return f"it takes {port}, which the task does not give; it gives {_listed(feeds)}"
        feeds.remove(match)  # two views of one role are two Ports
        if problem := _differs(port, match, sizes, fixed=True):
            return f"it takes {port}, the task gives {match}: {problem}"
    for want in slot.wants:
        found = next((port for port in spec.gives if port.role == want.role), None)
        if found is None and not want.optional:
            return f"it gives {_listed(spec.gives)}, the task needs {want}"
        if found is not None and (problem := _differs(found, want, sizes, fixed=False)):
            return f"it gives {found}, the task needs {want}: {problem}"
    return None


def _differs(port: Port, other: Port, sizes: dict[str, str], fixed: bool) -> str | None:
    """Compare the part's ``port`` with the slot's ``other``; ``fixed``: the part's new letters get their size here."""
    mine, theirs = port.axes.split(), other.axes.split()
    if mine[-1:] == ["..."]:
        mine, theirs = mine[:-1], theirs[: len(mine) - 1]
    if len(mine) != len(theirs):
        return f"{len(mine)} axes against {len(theirs)}"
    for a, b in zip(mine, theirs):
        if not a.isdigit() and fixed:
            sizes.setdefault(a, b)
        size = a if a.isdigit() else sizes.get(a)
        numbers = size is not None and size.isdigit() and b.isdigit()
        letters = size is not None and not size.isdigit() and not b.isdigit()
        # A letter of the slot that no input had is free: the task takes any size there.
        known = b in sizes.values()
        if (numbers or (letters and (fixed or known))) and size != b:
            return f"axis {a} is {size}, not {b}"
        if size is None and not b.isdigit() and known:
            return f"axis {a} is not the {b} of the input"
    if port.unit and other.unit and port.unit != other.unit:
        return f"unit {port.unit!r} against {other.unit!r}"
    return None


def _listed(ports: list[Port] | tuple[Port, ...]) -> str:
    return ", ".join(map(str, ports)) or "nothing"
