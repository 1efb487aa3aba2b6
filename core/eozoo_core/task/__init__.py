"""The contract between the command line and a task, and what its verbs give."""

from eozoo_core.spec import Port
from eozoo_core.task.contract import Arrays, Predictor, Registry, Sample, Scores, Task
from eozoo_core.task.describe import Network
from eozoo_core.task.graph import Graph
from eozoo_core.task.plan import Plan

__all__ = [
    "Arrays",
    "Graph",
    "Network",
    "Plan",
    "Port",
    "Predictor",
    "Registry",
    "Sample",
    "Scores",
    "Task",
]
