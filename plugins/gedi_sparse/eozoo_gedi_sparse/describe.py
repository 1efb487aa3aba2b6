"""What the network of a run, or of settings alone, is: for cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.task import Network, Port
from eozoo_core.task.describe import count_parameters
from eozoo_core.task.load import read_trained

from eozoo_gedi_sparse.ensemble import member_runs
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS
from eozoo_gedi_sparse.training import make_loss, make_network

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.settings import GediSettings


def describe(settings: GediSettings, registry: Registry, units: dict[str, str], run: Run | None) -> Network:
    """Return all members as one network; see ``Task.network``. Member 0 speaks for the bands of all.

    ``units``: of every output, see ``Task.outputs``.
    """
    bands, mean, std, pretrained = DOCUMENTED_BANDS, (), (), None
    if run is not None:
        first = member_runs(run, settings)[0]
        state, info = read_trained(first, settings).state, first.info()
        mean, std = (tuple(state[f"input_{name}"].flatten().tolist()) for name in ("mean", "std"))
        bands = tuple(info.get("bands", [f"band_{i + 1}" for i in range(len(mean))]))
        pretrained = info.get("weights")
    loss = make_loss(settings, registry)
    one = count_parameters(lambda: make_network(settings, registry, loss, len(bands), fresh=False))
    members, name = settings.train.members, settings.model.name
    return Network(
        architecture=name if members == 1 else f"{members} x {name}",
        parameters=members * one,
        inputs=(Port("image", "B C H W", "that of the training files", bands, mean, std),),
        outputs=tuple(Port(output, "B H W", unit) for output, unit in units.items()),
        pretrained=pretrained,
    )
