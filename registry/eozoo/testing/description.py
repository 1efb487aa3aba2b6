"""Checks of what a plugin tells a stranger: cards, and the description of the trained network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.spec import KINDS, blanks

from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    import numpy as np
    from eozoo_core import Port


def cards_are_complete(bench: Bench, folder: Path) -> None:
    """Everything that the task's plugin declares says what ``eozoo show`` should answer, and counts right."""
    from eozoo_core.task.describe import count_parameters

    for kind in KINDS:
        for entry in bench.registry.entries(kind):
            if entry.plugin == bench.plugin:
                empty = blanks(kind, entry.spec)
                assert not empty, f"{kind} {entry.spec.name}: its Spec and Card leave {', '.join(empty)} empty"
                if (said := entry.spec.parameters) is not None:
                    counted = count_parameters(bench.registry.get(kind, entry.spec.name))
                    assert said == counted, (
                        f"{kind} {entry.spec.name}: it has {counted} parameters, its Spec says {said}"
                    )


def network_is_described(bench: Bench, folder: Path) -> None:
    """``network`` says what ``predict`` takes and gives, for the default settings and for a trained run."""
    for task, run in (
        (bench.task_class(bench.task_class.Settings(), bench.registry), None),
        bench.open(bench.copy(bench.finished.path, folder)),
    ):
        try:
            network, units = task.network(run), task.outputs()
        except ZooError as error:
            raise AssertionError(str(error)) from None
        said = {port.role: port.unit for port in network.outputs}
        assert said == units, f"network() names the outputs {said}, outputs() {units}: they must be the same"
        assert network.parameters > 0, f"network() counts {network.parameters} parameters"
        assert network.architecture.strip(), "network() names no architecture"
    batch = bench.batch()
    for port in (port for port in network.inputs if port.role in batch or not port.optional):
        assert port.role in batch, f"network() takes {port.role!r}, Sample.batch has {', '.join(batch)}"
        if problem := _differs(port, batch[port.role]):
            raise AssertionError(f"network() takes {port}, Sample.batch has {batch[port.role].shape}: {problem}")


def _differs(port: Port, array: np.ndarray) -> str:
    """Say what is wrong with the axes, bands or statistics of ``port`` for ``array``; "" where all is well."""
    axes = port.axes.split()
    if len(axes) != array.ndim:
        return f"{len(axes)} axes against {array.ndim}"
    wrong = [axis for axis, size in zip(axes, array.shape) if axis.isdigit() and int(axis) != size]
    if wrong:
        return f"axis {wrong[0]} is another"
    if port.bands and len(port.bands) not in array.shape:
        return f"{len(port.bands)} bands fit no axis"
    bad: Any = [value for value in (*port.mean, *port.std) if not math.isfinite(value)]
    return f"its statistics hold {bad[0]}" if bad else ""
