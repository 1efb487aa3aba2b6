"""What a system is, for ``eozoo show`` and ``eozoo card``; with a run, as trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from eozoo_core.task.build import shapes_alone, sketch
from eozoo_core.task.contract import Contract
from eozoo_core.task.ensemble import draw_count, member_count, member_runs
from eozoo_core.task.load import read_trained
from eozoo_core.task.predict import load_survey
from eozoo_core.task.results import Network
from eozoo_core.task.spread import output_ports

if TYPE_CHECKING:
    import torch

    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port
    from eozoo_core.task.survey import Survey


def describe(task: Contract, run: Run | None) -> Network:
    """Describe the network for these settings; see ``Task.network``. Member 0 speaks for the bands of all."""
    survey, pretrained = task.Survey(), None
    if run is not None:
        first = member_runs(run, task.settings)[0]
        survey, pretrained = load_survey(task, read_trained(first, first.settings)), first.info().get("weights")
    ports, members = task.ports(survey), member_count(task.settings)
    name = task.architecture
    return Network(
        architecture=name if members == 1 else f"{members} x {name}",
        parameters=members * sketch(task, survey)[1],
        inputs=ports.inputs,
        outputs=outputs_of(task, survey),
        classes={code: name for port in ports.outputs for code, name in port.legend},
        pretrained=None if pretrained is None or pretrained.startswith("random") else pretrained,
    )


def outputs_of(task: Contract, survey: Survey) -> tuple[Port, ...]:
    """Return the ports of what ``predict`` gives; no network is built."""
    return output_ports(task.ports(survey).outputs, draw_count(task.settings, task.settings.infer))


def count_parameters(build: Callable[[], torch.nn.Module]) -> int:
    """Return the number of parameters of what ``build()`` returns, trained and frozen ones, buffers not."""
    return sum(p.numel() for p in shapes_alone(build).parameters())
